"""A user's notification channels: list, create, test, confirm, remove."""

from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from common.errors import FillcastError, InvalidInputError
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from events import confirmation
from events.models import Channel
from events.selectors import Waiting, channels_of, waiting_of
from events.services import send_test
from portal.channel_forms import FORMS
from portal.pages import current_user, run_action, with_security_headers
from portal.views.channel_page import own_channel
from portal.views.keys import own_page, signed_in_only
from users.tenancy import for_all_tenants, on_behalf_of


@signed_in_only
def channels(request: HttpRequest) -> HttpResponse:
    """List the user's channels, each with its last error."""
    mine = list(channels_of(_my_id(request)))
    waiting = waiting_of(mine)
    return own_page(
        request, "channels.html", channels=[_row(one, waiting.get(one.pk)) for one in mine]
    )


@signed_in_only
def choose(request: HttpRequest) -> HttpResponse:
    """Choose the service of a new channel."""
    return own_page(request, "channel_choose.html", services=list(FORMS.items()))


@signed_in_only
def create(request: HttpRequest, *, service: str) -> HttpResponse:
    """Create a channel. An e-mail address must be confirmed before notifications go there."""
    if service not in FORMS:
        raise Http404
    form = FORMS[service](request.POST or None)
    form.user_agent = request.headers.get("User-Agent", "")
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                made, secret = form.create(_my_id(request))
        except FillcastError as error:
            add_form_error(form, error)
        else:
            if secret:
                return own_page(
                    request, "webhook_secret.html", channel=made, secret=secret, is_new=True
                )
            text = f"“{made.name}” gets notifications from now on. Send a test message."
            if made.is_mail:
                text = f"We sent a message to the address of “{made.name}”. Open the link in it."
            back = reverse("security:channel", args=[made.pk])
            return run_action(request, lambda: text, back=back)
    status = 422 if form.errors else 200
    return own_page(request, form.template, status=status, form=form, service=service)


@signed_in_only
def test(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Send a test message to a channel."""
    channel = own_channel(request, pk)

    def act() -> str:
        send_test(channel_id=channel.pk)
        return f"A test message is being sent to “{channel.name}”."

    return run_action(request, act, back=reverse("security:channel", args=[pk]))


@signed_in_only
def resend(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Send a new confirmation link."""
    channel = own_channel(request, pk)

    def act() -> str:
        confirmation.request_confirmation(channel.pk)
        return f"We sent a new message to the address of “{channel.name}”. Open the link in it."

    return run_action(request, act, back=reverse("security:channels"))


@signed_in_only
def remove(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Confirm, then remove a channel and its unsent messages."""
    channel, back = own_channel(request, pk), reverse("security:channels")
    if request.method == "POST":

        def act() -> str:
            channel.delete()
            return f"“{channel.name}” was removed."

        return run_action(request, act, back=back)
    points = [
        Consequence(
            "cancelled", "Nothing more is sent there, including messages that are still waiting."
        ),
        Consequence("safe", "Your inbox and other channels do not change."),
    ]
    title = f"Remove the channel “{channel.name}”?"
    question = ConfirmationPage(title, points, "Remove it", back, decline_label="Keep it")
    return own_page(request, "key_revoke.html", question=question)


def confirm(request: HttpRequest, *, pk: int, code: str) -> HttpResponse:
    """Confirm an address by the link that was sent there, signed in or not.

    A GET changes nothing: mail servers open links too.
    """
    with for_all_tenants():  # the reader of the e-mail need not be signed in
        channel = Channel.objects.select_related("user").filter(pk=pk).first()
    is_valid = channel is not None and channel.user.is_active
    if channel is None or not is_valid or not confirmation.matches(channel, code):
        return with_security_headers(render(request, "portal/channel_confirm.html", status=404))
    facts = {"channel": channel, "owner": channel.user.get_username()}
    if request.method == "POST":
        with on_behalf_of(channel.user):
            try:
                facts["channel"] = confirmation.confirm(pk, code)
            except InvalidInputError:  # meanwhile a newer link was sent, or the channel removed
                return with_security_headers(
                    render(request, "portal/channel_confirm.html", status=404)
                )
    return with_security_headers(render(request, "portal/channel_confirm.html", facts))


def _row(channel: Channel, waiting: Waiting | None) -> dict[str, Any]:
    requested_at = channel.confirmation_requested_at
    return {
        "channel": channel,
        "waiting": waiting,
        "is_confirmed": channel.confirmed_at is not None,
        "link_until": requested_at + confirmation.LINK_LIFE if requested_at else None,
        "still_sends": channel.confirm_by is not None and channel.confirm_by > timezone.now(),
    }


def _my_id(request: HttpRequest) -> int:
    return int(current_user(request).pk)
