"""Creating and revoking secrets that are shown once: feed tokens and API keys."""

from datetime import datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.errors import FillcastError
from common.form_fields import WholeNumberInput
from common.names import one_line
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from console.pages.page_helpers import View, confirm, page, require_permission, run_action
from signals.feeds import services as feeds
from signals.models import Feed, FeedToken
from users import services
from users.forms import ApiKeyForm
from users.keys.setups import SetUp, set_up_with
from users.lookups import named
from users.models import ApiKey, User


class TokenForm(forms.Form):
    """A new token for the alerts of a feed."""

    name = forms.CharField(label="Name", max_length=100, initial="alerts", validators=[one_line])
    signed = forms.BooleanField(
        label="Alerts must be signed", required=False,
        help_text="With X-Fillcast-Signature. The address alone, read in a log, is then of no use.",
    )  # fmt: skip


class RotateForm(forms.Form):
    """How long the old token works beside the new one."""

    hours = WholeNumberInput(
        label="The old address works for", min_value=0, max_value=720, initial=24,
        help_text="Hours, at most 720 (30 days). 0: it ends at once, since others may know it.",
    )  # fmt: skip

    def end_of(self, token: FeedToken) -> datetime | None:
        """Return when the old token ends, by this form or its own end; None: at once."""
        return feeds.end_of_old_token(token, self.cleaned_data["hours"])


class KeyForm(ApiKeyForm):
    """A new API key and its user."""

    user = forms.CharField(label="User", max_length=150, help_text="The user's name.")
    field_order = ("user",)

    def clean_user(self) -> User:
        user = named(self.cleaned_data["user"]).filter(is_active=True).first()
        if user is None:
            raise forms.ValidationError("There is no active user with this name.")
        return user


def create_token(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Create a token for alerts and show its address once."""
    require_permission(request, Right.FEEDS)
    feed = get_object_or_404(Feed, pk=pk)
    back = reverse("admin:signals_feed_change", args=[pk])
    form = TokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            token, secret = feeds.create_feed_token(
                feed, form.cleaned_data["name"], signed=form.cleaned_data["signed"]
            )
        except FillcastError as error:
            add_form_error(form, error)
        else:
            title = f"Token “{token.name}” of {feed.name}"
            return show_once(request, title, _secrets_of(request, feed, token, secret), back)
    points = [
        Consequence("safe", "The address is shown once, on the next page. Only its hash is stored.")
    ]
    title = f"New token for {feed.name}"
    return confirm(
        request, ConfirmationPage(title, points, "Create the token", back, False, form, "Not now")
    )


def _secrets_of(
    request: HttpRequest, feed: Feed, token: FeedToken, secret: str
) -> list[tuple[str, str]]:
    path = f"/hooks/tradingview/{feed.slug}/{secret}/"
    secrets = [("Post alerts to this address", request.build_absolute_uri(path))]
    if token.signing_key:
        secrets.append(("Key for the signature", token.signing_key))
    return secrets


def rotate_token(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Create a token that replaces this one, and show its address once."""
    require_permission(request, Right.FEEDS)
    old = get_object_or_404(FeedToken.objects.select_related("feed"), pk=pk)
    back = reverse("admin:signals_feedtoken_changelist")
    form = RotateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        by: Any = request.user
        try:
            token, secret = feeds.rotate_feed_token(old.pk, old_ends_at=form.end_of(old), by=by)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            title = f"New address for “{token.name}” of {old.feed.name}"
            return show_once(request, title, _secrets_of(request, old.feed, token, secret), back)
    points = [
        Consequence("safe", "Alerts to the old address are accepted until its end."),
        Consequence("cancelled", "From then on they are refused. Change its senders before."),
    ]
    title = f"Replace the token “{old.name}” of {old.feed.name}?"
    return confirm(
        request,
        ConfirmationPage(title, points, "Create the new address", back, False, form, "Not now"),
    )


def revoke_token(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then revoke a token."""
    require_permission(request, Right.FEEDS)
    token = get_object_or_404(FeedToken.objects.select_related("feed"), pk=pk)
    back = reverse("admin:signals_feedtoken_changelist")
    if request.method == "POST":
        return run_action(request, lambda: _revoke(token), back=back)
    points = [
        Consequence(
            "cancelled", "Alerts with this token are refused from now on. This cannot be undone."
        )
    ]
    title = f"Revoke the token “{token.name}” of {token.feed.name}?"
    return confirm(
        request, ConfirmationPage(title, points, "Revoke it", back, decline_label="Keep it")
    )


def _revoke(token: FeedToken) -> str:
    done = feeds.revoke_feed_token(token.pk)
    return f"“{token.name}” is revoked." if done else f"“{token.name}” was already revoked."


def create_key(request: HttpRequest, **_: Any) -> HttpResponse:
    """Create an API key and show it once."""
    require_permission(request, Right.API_KEYS)
    back = reverse("admin:users_apikey_changelist")
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        by: Any = request.user
        user = form.cleaned_data["user"]
        try:
            key, secret = form.create(user, by=by)
        except FillcastError as error:  # such as: the user has more rights than the operator
            add_form_error(form, error)
        else:
            shown = [("Send it as Authorization: Bearer …", secret)]
            return show_once(request, f"API key “{key.name}” of {user.get_username()}", shown, back)
    points = [
        Consequence("safe", "The key is shown once, on the next page. Only its hash is stored.")
    ]
    question = ConfirmationPage(
        "New API key", points, "Create the key", back, False, form, "Not now"
    )
    return confirm(request, question)


def revoke_key(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then revoke a key."""
    require_permission(request, Right.API_KEYS)
    key = get_object_or_404(ApiKey.objects.select_related("user"), pk=pk)
    back = reverse("admin:users_apikey_changelist")
    if key.revoked_at:
        return HttpResponseRedirect(back)
    if request.method == "POST":
        return run_action(request, lambda: _revoke_key(key, request), back=back)
    points = [
        Consequence(
            "cancelled",
            "Requests with this key, and with keys that were made with it, are refused from now on."
            " This cannot be undone.",
        ),
        *(_set_up(one) for one in set_up_with(key.pk)),
    ]
    title = f"Revoke the key “{key.name}” of {key.user.get_username()}?"
    return confirm(
        request, ConfirmationPage(title, points, "Revoke it", back, decline_label="Keep it")
    )


def _set_up(one: SetUp) -> Consequence:
    """Return what becomes of something that a key set up."""
    if one.ends_with_key:
        return Consequence("cancelled", f"It set up the {one}, which ends with it.")
    text = f"It added the {one}, which stays on until its owner switches it off."
    return Consequence("attention", text)


def _revoke_key(key: ApiKey, request: HttpRequest) -> str:
    by: Any = request.user
    services.revoke_api_key(key.pk, by=by)
    return f"“{key.name}” is revoked."


def show_once(
    request: HttpRequest, title: str, secrets: list[tuple[str, str]], back: str
) -> HttpResponse:
    """Show secrets that cannot be read again."""
    response = page(request, "secret.html", title, secrets=secrets, back=back)
    response["Cache-Control"] = "no-store"
    return response


TOKEN_URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/token/", "signals_feed_token", create_token),
)
REVOKE_URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/revoke/", "signals_feedtoken_revoke", revoke_token),
    ("<int:pk>/rotate/", "signals_feedtoken_rotate", rotate_token),
)
KEY_URLS: tuple[tuple[str, str, View], ...] = (
    ("create/", "users_apikey_create", create_key),
    ("<int:pk>/revoke/", "users_apikey_revoke", revoke_key),
)
