"""Feeds, and the subscriptions of the tenant's accounts to them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.subscription_texts import live_lines
from analytics.records.figures import FEWEST
from analytics.what_if.preset_use import uses_of_subscription
from analytics.what_if.route_preview import preview_route
from common.stop_rules import RULE_FIELDS
from common.web.confirmation import ConfirmationPage, Consequence
from connections import services
from connections.forms import RouteForm, route_points
from connections.models import Subscription
from connections.services import routable_accounts
from portal.forms import LimitsForm, SubscribeForm, TakeForm
from portal.pages import confirm, current_user, page, run_action, tenants_only
from portal.preset_texts import term_lines, use_lines
from portal.selectors.accounts import accounts_of
from portal.selectors.feeds import (
    SORTS,
    feed_options,
    feed_page,
    subscribable_feeds,
    subscriptions_of,
)
from portal.selectors.halts import halts_affecting
from users.models import User

SAVED = "Saved. It applies to each entry that is decided from now on."
SUBSCRIBE_CHOICES = ("account", "multiplier", "directions")  # of a preflight


@tenants_only
def feeds(request: HttpRequest) -> HttpResponse:
    """List the feeds that the tenant may subscribe to, with their records and subscriptions."""
    user = current_user(request)
    accounts, found = accounts_of(user), feed_page(user, request.GET)
    offers = feed_options(user, accounts, found.feeds)
    return page(
        request, "feeds.html", accounts=accounts, one_page=found.one_page, filters=request.GET,
        sort=found.sort, sorts=SORTS, fewest=FEWEST,
        options=[(offer, found.figures.get(offer.feed.pk)) for offer in offers],
    )  # fmt: skip


@tenants_only
def subscribe(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Ask for account, size, directions, priority, end, symbols and a stop rule, then subscribe."""
    user = current_user(request)
    feed = get_object_or_404(subscribable_feeds(user), slug=slug, archived_at=None)
    (offer,) = feed_options(user, accounts_of(user), [feed])
    chosen = {name: request.GET[name] for name in SUBSCRIBE_CHOICES if name in request.GET}
    form = SubscribeForm(offer.free, request.POST or None, initial=chosen)
    points = [
        Consequence(
            "submitted",
            f"The account takes every signal of {feed.name} from the next one on, sized by its own "
            "preset. Earlier signals are not executed.",
        ),
        Consequence(
            "denied", "Your limits apply: an order that breaks one is denied with a reason."
        ),
    ]
    if halts_affecting(user):
        points.append(Consequence("paused", "While trading is paused, its signals are skipped."))
    question = ConfirmationPage(
        f"Subscribe to {feed.name}?", points, "Subscribe", reverse("portal:feeds"), False, form,
        "Not now",
    )  # fmt: skip

    def act() -> str:
        data = form.cleaned_data
        services.subscribe(
            connection_id=UUID(data["account"]), feed_id=feed.pk, by=user,
            multiplier=data["multiplier"], directions=data["directions"],
            priority=data["priority"], expires_at=data["expires_at"],
            symbol_map=data["symbol_map"], **form.stop_rule,
        )  # fmt: skip
        return f"Subscribed to {feed.name} from its next signal on."

    return confirm(request, question, act)


def _find(request: HttpRequest, pk: int) -> Subscription:
    found: Subscription = get_object_or_404(subscriptions_of(current_user(request)), pk=pk)
    return found


@tenants_only
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change size, directions, priority, end, symbols and stop rule of a subscription."""
    user, subscription = current_user(request), _find(request, pk)
    names = ("multiplier", "directions", "priority", "expires_at", "symbol_map", *RULE_FIELDS)
    before = {name: getattr(subscription, name) for name in names}
    form = TakeForm(request.POST or None, initial=before)
    points = term_lines(uses_of_subscription(subscription))
    title = f"Change the subscription of {subscription.connection.name} to {subscription.feed.name}"
    question = ConfirmationPage(title, points, "Save", reverse("portal:feeds"), False, form)

    return confirm(request, question, lambda: _change(pk, form.changes(), user))


def _change(pk: int, changes: Mapping[str, Any], user: User) -> str:
    """Change a subscription; return a sentence about it."""
    changed = services.update_subscription(pk, by=user, **changes)
    return SAVED if changed else "Nothing was changed."


@tenants_only
def limits(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change the limits of a subscription."""
    user, subscription = current_user(request), _find(request, pk)
    form = LimitsForm(subscription, request.POST or None)
    points = [
        *use_lines(uses_of_subscription(subscription)),
        Consequence(
            "denied",
            "The tighter one of these limits and those of the account’s preset applies. What the "
            "whole account holds and sends is counted. Exits are never limited.",
        ),
    ]
    title = f"Limits of {subscription.connection.name} for {subscription.feed.name}"
    question = ConfirmationPage(title, points, "Save", reverse("portal:feeds"), False, form)

    return confirm(request, question, lambda: _change(pk, form.changes(), user))


@tenants_only
def route(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Choose the accounts of which one executes each signal, and show which one would now."""
    user, subscription = current_user(request), _find(request, pk)
    form = RouteForm(subscription, routable_accounts(subscription), request.POST or None)
    title = f"Route of {subscription.connection.name} for {subscription.feed.name}"
    back = reverse("portal:feeds")
    question = ConfirmationPage(title, route_points(), "Save", back, False, form)

    def act() -> str:
        changed = services.set_route(pk, by=user, **form.route())
        return "Saved. It applies from the next signal on." if changed else "Nothing was changed."

    return confirm(
        request, question, act, template="subscription_route.html",
        route=preview_route(subscription, request.GET),
    )  # fmt: skip


@tenants_only
def pause(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Pause a subscription without a question: one click resumes it."""
    user, subscription = current_user(request), _find(request, pk)

    def act() -> str:
        services.pause_subscription(pk, by=user)
        name = subscription.connection.name
        live = " ".join(line.text for line in live_lines(subscription, ends=False))
        return f"{name} skips {subscription.feed.name} until you resume it. {live}"

    return run_action(request, act, back=reverse("portal:feeds"))


@tenants_only
def resume(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Resume a paused subscription."""
    user, subscription = current_user(request), _find(request, pk)

    def act() -> str:
        services.resume_subscription(pk, by=user)
        name = subscription.connection.name
        return f"{name} trades {subscription.feed.name} from its next signal on."

    return run_action(request, act, back=reverse("portal:feeds"))


@tenants_only
def end(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Confirm, then end a subscription."""
    user, subscription = current_user(request), _find(request, pk)
    name = subscription.connection.name
    points = [
        Consequence("cancelled", f"{name} takes no more signals of {subscription.feed.name}."),
        *live_lines(subscription, ends=True),
        Consequence("validated", "You can subscribe again at any time."),
    ]
    title = f"Unsubscribe {name} from {subscription.feed.name}?"
    question = ConfirmationPage(
        title, points, "Unsubscribe", reverse("portal:feeds"), decline_label="Stay subscribed"
    )

    def act() -> str:
        won = services.unsubscribe(pk, by=user)
        if won:
            return f"{name} is unsubscribed from {subscription.feed.name}."
        return "It was already unsubscribed."

    return confirm(request, question, act)
