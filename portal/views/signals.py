"""Signals as the tenant's accounts met them: the list, and one in words."""

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.clocks import market_now
from common.confirmation import ConfirmationPage, Consequence
from common.formatting import STATES
from common.permissions import Right, may
from execution import services, tasks
from execution.models import Order, Status
from portal.pages import confirm, current_user, page, tenants_only
from portal.selectors.signals import (
    AccountOutcome,
    SignalHistory,
    published_to,
    signal_history,
    signal_summaries,
)
from signals.models import Approval, Signal
from signals.preview import Preview, preview, visible_to
from signals.selectors import managed_signals, signals_for
from users.models import User

A_PAGE, UNPUBLISHED = 30, 10
OFTEN_SECONDS, SELDOM_SECONDS = 3, 15  # how often a page follows


@tenants_only
def signals(request: HttpRequest) -> HttpResponse:
    """All that my accounts were candidates of."""
    user = current_user(request)
    one_page = Paginator(published_to(user), A_PAGE).get_page(request.GET.get("page"))
    found = signal_summaries(user, list(one_page))
    moving = any(not one.is_settled for one in found)
    return page(
        request,
        "signals.html",
        one_page=one_page,
        summaries=found,
        unpublished=_unpublished(user)[:UNPUBLISHED],
        refresh_seconds=OFTEN_SECONDS if moving else SELDOM_SECONDS,
    )


@tenants_only
def signal(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What each of my accounts did with it and why, and the way of one of its orders."""
    user = current_user(request)
    found = get_object_or_404(signals_for(user).select_related("feed", "refers_to"), pk=pk)
    told = signal_history(user, found)
    return page(
        request,
        "signal.html",
        signal=found,
        history=told,
        preview=_preview(user, found),
        chosen=_chosen(told, request.GET.get("order", "")),
        open_ones=[held for held in told.held if held.free > 0],
        refresh_seconds=_refresh_seconds(found, told),
    )


def _unpublished(user: User) -> QuerySet[Signal]:
    """Signals of one's own feeds that may still be published, the newest first."""
    mine = managed_signals(user).filter(published_at=None, cancelled_at=None)
    return mine.exclude(approval=Approval.REJECTED).order_by("-pk")


def _preview(user: User, found: Signal) -> Preview | None:
    """What publishing a signal of one's own feed would do, as far as its owner may know."""
    if found.is_published or found.cancelled_at is not None or found.is_past(market_now()):
        return None
    if found.approval == Approval.REJECTED:
        return None
    if not may(user, Right.PUBLISH, owner_id=found.feed.owner_id):
        return None
    return visible_to(user, found, preview(found))


def _refresh_seconds(found: Signal, told: SignalHistory) -> int:
    """Often while orders are on their way, seldom while a position is open, then no more."""
    if (told.outcomes and not told.summary.is_settled) or any(
        STATES[one.order.status].share in {"working", "unknown"} for one in told.exits
    ):
        return OFTEN_SECONDS
    is_over = found.is_published and not any(held.position.is_open for held in told.held)
    return 0 if is_over else SELDOM_SECONDS


@tenants_only
def cancel(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask, then end what still works of an order."""
    user = current_user(request)
    mine = Order.objects.filter(connection__user=user).select_related("connection", "signal")
    order = get_object_or_404(mine.defer("connection__sealed_credentials"), pk=pk)
    points = [
        Consequence("cancelreq", "The broker is asked to take it back; what has not left us yet "
                                 "is never "
              "sent. A fill that comes first is a fill."),
        Consequence("filled", "What is filled stays open with its stop."),
    ]  # fmt: skip
    title = f"Cancel {order.side.lower()} {order.pair} at {order.connection.name}?"
    back = reverse("portal:signals")
    if order.signal_id:
        back = f"{reverse('portal:signal', args=[order.signal_id])}?order={pk}#timeline"
    question = ConfirmationPage(title, points, "Cancel the order", back, keep="Let it work")

    def act() -> str:
        if services.cancel_order(pk, by=user) == Status.CANCELLED:
            return "The order is cancelled; it was not sent."
        tasks.enqueue_pending_actions_on_commit()
        return "The broker is being asked to take the order back."

    return confirm(request, question, act)


def _chosen(told: SignalHistory, order_id: str) -> AccountOutcome | None:
    """The order whose timeline is shown: the asked one, else the first that was sent."""
    for one in (*told.outcomes, *told.exits):
        if str(one.order.pk) == order_id:
            return one
    sent = [one for one in told.outcomes if one.order.submitted_at]
    return next(iter(sent or told.outcomes), None)
