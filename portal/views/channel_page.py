"""One channel: its test, when it is quiet, and of a signed webhook the secret and the log."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.errors import FillcastError
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from events.channel_rules import kinds_from_pairs, kinds_of, set_kinds, set_rules
from events.messages.labels import kind_label
from events.models import ON_REQUEST, URGENT, Channel, WebhookMessage
from events.selectors import channels_of, messages_of, test_result, waiting_of
from events.webhook_services import OVERLAP, resend, rotate_secret
from portal.channel_forms import RulesForm, grouped_kinds, rules_of
from portal.pages import current_user, run_action
from portal.views.keys import own_page, signed_in_only

MESSAGES = 20  # of the log on the page; the API has all
REFRESH_SECONDS, RESTING_SECONDS = 2, 15


@signed_in_only
def channel(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One channel with the result of its test."""
    return _page(request, own_channel(request, pk))


@signed_in_only
def rules(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Set quiet hours, digest, and whether the channel is on."""
    mine = own_channel(request, pk)
    back = reverse("security:channel", args=[pk])
    if request.method != "POST":
        return HttpResponseRedirect(back)
    form = RulesForm(request.POST, zone=current_user(request).time_zone)
    if form.is_valid():
        try:
            with transaction.atomic():
                set_rules(mine.pk, **form.cleaned_data)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            messages.success(request, f"“{mine.name}” was changed.")
            return HttpResponseRedirect(back)
    return _page(request, mine, form=form, status=422)


@signed_in_only
def kinds(request: HttpRequest) -> HttpResponse:
    """Choose which kinds go to which channel, in one table."""
    user = current_user(request)
    mine = list(channels_of(user.pk))
    groups = grouped_kinds(with_installation=user.is_staff)
    error = ""
    chosen = {one.pk: kinds_of(one) for one in mine}
    if request.method == "POST":
        shown = {kind for _, listed in groups for kind in listed}
        sent = kinds_from_pairs(request.POST.getlist("kind"), [one.pk for one in mine])
        chosen = {pk: frozenset(sent[pk]) | (before - shown) for pk, before in chosen.items()}
        try:
            with transaction.atomic():
                changed = set_kinds(chosen, user_id=user.pk)
        except FillcastError as refused:
            error = refused.detail
        else:
            saved = "1 channel" if changed == 1 else f"{changed} channels"
            messages.success(request, f"Saved: {saved} changed.")
            return HttpResponseRedirect(reverse("security:channels"))
    table = [
        (name, [(kind, kind_label(kind), kind in URGENT, kind in ON_REQUEST,
                 [(one, kind in chosen[one.pk]) for one in mine]) for kind in listed])
        for name, listed in groups
    ]  # fmt: skip
    return own_page(
        request, "channel_kinds.html", status=422 if error else 200, channels=mine, table=table,
        error=error,
    )  # fmt: skip


@signed_in_only
def secret(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Confirm, then replace the secret of a signed webhook, and show the new one once."""
    mine = own_channel(request, pk)
    back = reverse("security:channel", args=[pk])
    if not mine.is_signed:
        return HttpResponseRedirect(back)
    if request.method == "POST":
        with transaction.atomic():
            made = rotate_secret(mine.pk)
        return own_page(request, "webhook_secret.html", channel=mine, secret=made, is_new=False)
    hours = f"{OVERLAP.total_seconds() / 3600:.0f}"
    points = [
        Consequence(
            "safe",
            f"For {hours} hours each message is signed with both secrets, so that your program can"
            " change over without a gap.",
        ),
        Consequence("cancelled", "Then the old secret ends. A still older one ends at once."),
    ]
    title = f"Replace the secret of “{mine.name}”?"
    question = ConfirmationPage(
        title, points, "Make a new secret", back, danger=False, decline_label="Keep it"
    )
    return own_page(request, "key_revoke.html", question=question)


@signed_in_only
def send_again(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Send a message of the delivery log again."""
    found = WebhookMessage.objects.filter(pk=pk, channel__user=current_user(request)).first()
    if found is None:
        raise Http404

    def act() -> str:
        resend(found.pk)
        return "The message is being sent again, with its id."

    return run_action(request, act, back=reverse("security:channel", args=[found.channel_id]))


def own_channel(request: HttpRequest, pk: int) -> Channel:
    """Return the user's own channel. Raises Http404 for any other."""
    found = channels_of(current_user(request).pk).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


def _page(
    request: HttpRequest, mine: Channel, *, form: RulesForm | None = None, status: int = 200
) -> HttpResponse:
    tested = test_result(mine)
    zone = current_user(request).time_zone
    is_moving = tested is not None and not tested.is_over and not tested.error
    facts: dict[str, Any] = {
        "channel": mine,
        "test": tested,
        "waiting": waiting_of([mine]).get(mine.pk),
        "form": form or RulesForm(initial=rules_of(mine), zone=zone),
        "log": list(messages_of(mine)[:MESSAGES]) if mine.has_log else [],
        "refresh_seconds": REFRESH_SECONDS if is_moving else RESTING_SECONDS,
    }
    return own_page(request, "channel.html", status=status, **facts)
