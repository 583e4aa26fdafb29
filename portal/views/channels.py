"""A user's notification channels: list, create, test, confirm, remove."""

from typing import Any

from django import forms
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from common.confirmation import ConfirmationPage, Consequence, add_form_error
from common.errors import FillcastError, InvalidInputError
from events import confirmation
from events.models import Channel, EventKind
from events.selectors import channels_of
from events.services import KINDS, create_channel, send_test
from portal.pages import current_user, run_action, with_security_headers
from portal.views.keys import own_page, signed_in_only
from users.tenancy import for_all_tenants, on_behalf_of

LABELS = {EventKind.ORDER_PLACED: "order.placed (only if you choose it)"}


class NewChannelForm(forms.Form):
    """A new notification channel."""

    name = forms.CharField(max_length=100, help_text="Such as “phone” or “team chat”.")
    url = forms.CharField(
        label="Address",
        max_length=500,
        help_text="mailto:name@example.com, a webhook https://…, or an apprise URL (Discord, Slack,"
        " Telegram, Teams …). It is stored encrypted and never shown again.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    kinds = forms.MultipleChoiceField(
        label="Only these events",
        required=False,
        choices=[(str(kind), LABELS.get(EventKind(kind), str(kind))) for kind in sorted(KINDS)],
        widget=forms.CheckboxSelectMultiple,
        help_text="If you choose none: all except order.placed.",
    )


@signed_in_only
def channels(request: HttpRequest) -> HttpResponse:
    """List the user's channels, each with its last error."""
    return own_page(
        request, "channels.html", channels=[_row(one) for one in channels_of(_my_id(request))]
    )


@signed_in_only
def create(request: HttpRequest) -> HttpResponse:
    """Create a channel. An e-mail address must be confirmed before notifications go there."""
    form = NewChannelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data

        def act() -> str:
            made = create_channel(user_id=_my_id(request), **data)
            if made.is_mail:
                return f"We sent a message to the address of “{made.name}”. Open the link in it."
            return f"“{made.name}” gets notifications from now on. Send a test message."

        try:
            with transaction.atomic():
                text = act()
        except FillcastError as error:
            add_form_error(form, error)
        else:
            return run_action(request, lambda: text, back=reverse("security:channels"))
    status = 422 if form.errors else 200
    return own_page(request, "channel_new.html", status=status, form=form)


@signed_in_only
def test(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Send a test message to a channel."""
    channel = _mine(request, pk)

    def act() -> str:
        send_test(channel_id=channel.pk)
        return f"A test message is being sent to “{channel.name}”. Reload to see the result."

    return run_action(request, act, back=reverse("security:channels"))


@signed_in_only
def resend(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Send a new confirmation link."""
    channel = _mine(request, pk)

    def act() -> str:
        confirmation.request_confirmation(channel.pk)
        return f"We sent a new message to the address of “{channel.name}”. Open the link in it."

    return run_action(request, act, back=reverse("security:channels"))


@signed_in_only
def remove(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Confirm, then remove a channel and its unsent messages."""
    channel, back = _mine(request, pk), reverse("security:channels")
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


def _row(channel: Channel) -> dict[str, Any]:
    requested_at = channel.confirmation_requested_at
    return {
        "channel": channel,
        "is_confirmed": channel.confirmed_at is not None,
        "link_until": requested_at + confirmation.LINK_LIFE if requested_at else None,
        "still_sends": channel.confirm_by is not None and channel.confirm_by > timezone.now(),
    }


def _mine(request: HttpRequest, pk: int) -> Channel:
    """Return the user's own channel. Raises Http404 for any other."""
    channel = channels_of(_my_id(request)).filter(pk=pk).first()
    if channel is None:
        raise Http404
    return channel


def _my_id(request: HttpRequest) -> int:
    return int(current_user(request).pk)
