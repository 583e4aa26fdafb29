"""The paper twin of a subscription: run it, compare it with the live account, stop it."""

from functools import partial
from typing import Any

from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from analytics.compare.twin_parts import Difference
from analytics.compare.twins import Comparison, compare, csv_rows, own_subscription, twins_of
from common.currencies import money_places
from common.web.confirmation import ConfirmationPage, Consequence
from common.web.formatting import amount, gain
from connections import services, tasks
from connections.models import AccountSnapshot, Subscription, SubscriptionTwin
from execution.tasks import enqueue_twin_endings_on_commit
from portal.files import csv_file
from portal.pages import confirm, current_user, page, run_action, tenants_only
from portal.twin_chart import twin_chart
from users.models import User

A_PAGE = 25
PART_TEXTS = {
    "entry": ("Entry prices", "The live account entered at other prices, at the twin’s size."),
    "exit": (
        "Exit prices",
        "The live account left at other prices, or at another rate of its currency.",
    ),
    "size": ("Sizes", "The live quantity was larger or smaller than the twin’s."),
    "costs": ("Commission and fees", "Paper accounts pay none, unless operators have set one."),
    "only_live": ("Only the live account traded", "Signals that the twin skipped or was denied."),
    "only_twin": ("Only the twin traded", "Signals that the live account skipped or was denied."),
    "open": ("Not closed on both", "What such trades have made so far."),
}


def find(request: HttpRequest, pk: int) -> Subscription:
    """Return the tenant's own subscription, also one that has ended. Raises Http404."""
    found = own_subscription(current_user(request), pk)
    if found is None:
        raise Http404
    return found


def address(pk: int) -> str:
    """Return the address of the page of a subscription's twin."""
    return reverse("portal:subscription_twin", args=[pk])


@tenants_only
def twin(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Compare the live subscription with its newest twin, or with the one of the address."""
    user, subscription = current_user(request), find(request, pk)
    links = list(twins_of(user).filter(subscription=subscription))
    link = _chosen(links, request.GET.get("twin", ""))
    account = AccountSnapshot.objects.filter(connection=subscription.connection_id).first()
    obstacle = services.twin_obstacle(subscription)
    context: dict[str, Any] = {"comparison": None}
    if link is not None:
        context = _context(compare(link), request.GET.get("page"))
    return page(
        request, "twin.html", subscription=subscription, link=link,
        others=[one for one in links if one != link],
        can_start=not obstacle and not any(one.ended_at is None for one in links),
        obstacle=obstacle,
        account=account, equity_places=money_places(account.currency) if account else 2,
        **context,
    )  # fmt: skip


@tenants_only
def start(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Run a twin without a question: nothing is sent to the live broker; again changes nothing."""
    user, subscription = current_user(request), find(request, pk)
    return run_action(request, lambda: _start(subscription, user), back=address(pk))


def _start(subscription: Subscription, user: User) -> str:
    link, is_new = services.start_twin(subscription.pk, by=user)
    if not is_new:
        return "Its paper twin runs already."
    transaction.on_commit(partial(tasks.enqueue_test, link.connection_id))
    return f"{link.connection.name} takes every signal of {subscription.feed.name} from now on."


@tenants_only
def stop(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Confirm, then stop the running twin."""
    user, subscription = current_user(request), find(request, pk)
    points = [
        Consequence("cancelled", "The paper account takes no more signals."),
        Consequence("submitted", "Its paper positions are closed at the prices of now."),
        Consequence("ok", "The comparison so far and its history stay."),
        Consequence("ok", f"Nothing is sent to {subscription.connection.name}."),
    ]
    question = ConfirmationPage(
        "Stop the paper twin?", points, "Stop the twin", address(pk), True,
        decline_label="Let it run",
    )  # fmt: skip

    def act() -> str:
        if services.stop_twin(subscription.pk, by=user) is None:
            return "No paper twin runs beside it."
        enqueue_twin_endings_on_commit()
        return "The paper twin is stopped. Its positions are being closed."

    return confirm(request, question, act)


@tenants_only
def export(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Download the comparison, one line for each signal; without a twin only the header."""
    user, subscription = current_user(request), find(request, pk)
    links = list(twins_of(user).filter(subscription=subscription))
    link = _chosen(links, request.GET.get("twin", ""))
    return csv_file(csv_rows(link.pk if link else None, user), name="paper-twin")


def _chosen(links: list[SubscriptionTwin], wanted: str) -> SubscriptionTwin | None:
    """Return the twin of the address, else the newest."""
    return next((one for one in links if str(one.pk) == wanted), links[0] if links else None)


def _context(found: Comparison, number: str | None) -> dict[str, Any]:
    currency = found.link.currency
    description = (
        f"Equity from {amount(found.link.opening_balance, currency)}: live "
        f"{gain(found.difference.live, currency)}, paper twin "
        f"{gain(found.difference.twin, currency)}."
    )
    return {
        "comparison": found,
        "places": money_places(currency),
        "difference": found.difference,
        "parts": _parts(found.difference),
        "chart": twin_chart(found.equity, description=description),
        "one_page": Paginator(found.signals, A_PAGE).get_page(number),
        "traded_live": found.traded[0],
        "traded_twin": found.traded[1],
    }


def _parts(found: Difference) -> list[tuple[str, str, Any]]:
    return [(*PART_TEXTS[name], value) for name, value in found.parts.items()]
