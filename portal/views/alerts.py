"""A feed's alerts, for its owner: addresses, messages to paste, a test, and the mapping."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from alerts.platform_messages import TEMPLATES
from alerts.preview import preview_alert
from common.errors import FillcastError
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from portal.alert_forms import AddressForm, AlertTestForm, MappingForm, ReplaceForm, name_of
from portal.pages import confirm, current_user, page, tenants_only
from portal.selectors.alerts import addresses_of
from portal.selectors.publishing import own_feed
from portal.selectors.telegram import bot_of
from signals.feeds import services as feeds
from signals.models import Feed, FeedToken


def _back(feed: Feed) -> str:
    return reverse("portal:alerts", args=[feed.slug])


@tenants_only
def alerts(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show where alerts are sent and what to paste; read a pasted text without publishing it."""
    feed = own_feed(current_user(request), slug)
    form = AlertTestForm(request.POST or None)
    shown, status = None, 200
    if request.method == "POST":
        if form.is_valid():
            shown = preview_alert(feed, form.cleaned_data["text"].encode())
        else:
            status = 422
    return page(
        request, "alerts.html", status=status, feed=feed, form=form, shown=shown,
        addresses=addresses_of(feed), templates=TEMPLATES, telegram=bot_of(feed),
        address=request.build_absolute_uri(f"/hooks/tradingview/{feed.slug}/"),
    )  # fmt: skip


@tenants_only
def new_address(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Create an address and show it once."""
    feed = own_feed(current_user(request), slug)
    form = AddressForm(request.POST or None)
    points = [
        Consequence("validated", f"A sender who has the address can send signals to {feed.name}."),
        Consequence("attention", "It is shown once and cannot be recovered."),
    ]
    question = ConfirmationPage(
        f"New address for alerts to {feed.name}", points, "Create it", _back(feed), False, form,
        "Not now",
    )  # fmt: skip
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            token, secret = feeds.create_feed_token(
                feed, data["name"], signed=data["signed"], by=current_user(request)
            )
            return _shown_once(request, feed, token, secret)
        except FillcastError as error:
            add_form_error(form, error)
    status = 422 if form.errors else 200
    return page(request, "confirm.html", status=status, question=question)


def _shown_once(request: HttpRequest, feed: Feed, token: FeedToken, secret: str) -> HttpResponse:
    address = request.build_absolute_uri(f"/hooks/tradingview/{feed.slug}/{secret}/")
    return page(
        request, "alert_address.html", feed=feed, token=token, address=address, templates=TEMPLATES
    )


def _find_token(feed: Feed, pk: int) -> FeedToken:
    found: FeedToken = get_object_or_404(feed.tokens, pk=pk)
    return found


@tenants_only
def replace_address(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Create an address in place of another, which works on for a while."""
    feed = own_feed(current_user(request), slug)
    token = _find_token(feed, pk)
    form = ReplaceForm(request.POST or None)
    points = [
        Consequence("validated", "The new address works at once and is shown once."),
        Consequence("attention", "Change the address of each alert before the old one ends."),
    ]
    title = f"Replace the address {name_of(token)}?"
    question = ConfirmationPage(title, points, "Replace it", _back(feed), False, form, "Keep it")
    if request.method == "POST" and form.is_valid():
        try:
            created, secret = feeds.rotate_feed_token(
                token.pk, old_ends_at=form.end_of(token), by=current_user(request)
            )
            return _shown_once(request, feed, created, secret)
        except FillcastError as error:
            add_form_error(form, error)
    status = 422 if form.errors else 200
    return page(request, "confirm.html", status=status, question=question)


@tenants_only
def revoke_address(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Confirm, then end an address at once."""
    feed = own_feed(current_user(request), slug)
    token = _find_token(feed, pk)
    points = [
        Consequence("cancelled", "Alerts to this address are refused from now on, for good."),
        Consequence("validated", "Published signals and open trades do not change."),
    ]
    title = f"Revoke the address {name_of(token)}?"
    question = ConfirmationPage(title, points, "Revoke it", _back(feed), decline_label="Keep it")

    def act() -> str:
        done_now = feeds.revoke_feed_token(token.pk)
        return f"{token.name} is revoked." if done_now else f"{token.name} was already revoked."

    return confirm(request, question, act)


@tenants_only
def mapping(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Change what the feed's own words and JSON fields mean."""
    user = current_user(request)
    feed = own_feed(user, slug)
    form = MappingForm(feed.alert_mapping, request.POST or None)
    points = [
        Consequence("validated", "Applies from the next alert on. Test one afterwards."),
        Consequence("denied", "What could mean two things is refused as before."),
    ]
    question = ConfirmationPage(
        f"How alerts of {feed.name} are read", points, "Save", _back(feed), False, form
    )

    def act() -> str:
        feeds.update_feed(feed.pk, by=user, alert_mapping=form.cleaned_data["mapping"])
        return "Saved. It applies from the next alert on."

    return confirm(request, question, act)
