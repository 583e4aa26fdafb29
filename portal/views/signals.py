"""Signals and what the tenant's accounts did with them: the list and one signal's page."""

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.aggregates import cancelled_with_text
from analytics.orders.oco_pairs import cancelled_leg_text, pair_sentences
from analytics.orders.slices import slice_result
from analytics.what_if.market_analysis import market_analysis
from common.clocks import market_now
from common.permissions import Right, may
from common.web.confirmation import ConfirmationPage, Consequence
from common.web.formatting import STATES
from execution import services, tasks
from execution.changes.forms import ChangeOrderForm, change_consequences, make_change
from execution.models import EntryDecision, Order, Status
from portal.pages import confirm, current_user, page, tenants_only
from portal.selectors.signals import (
    AccountOutcome,
    SignalHistory,
    published_to,
    signal_history,
    signal_summaries,
)
from signals.models import Approval, Signal
from signals.publishing.preview import Preview, preview, visible_to
from signals.selectors import managed_signals, signals_for
from signals.totals import has_total, may_see_total, visible_total
from users.models import User

A_PAGE, UNPUBLISHED = 30, 10
FAST_SECONDS, SLOW_SECONDS = 3, 15  # how often a page follows


@tenants_only
def signals(request: HttpRequest) -> HttpResponse:
    """List the signals that the tenant's accounts were candidates of."""
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
        refresh_seconds=FAST_SECONDS if moving else SLOW_SECONDS,
    )


@tenants_only
def signal(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One signal: what each account did and why, and the timeline of one order."""
    user = current_user(request)
    found = get_object_or_404(signals_for(user).select_related("feed", "refers_to"), pk=pk)
    history = signal_history(user, found)
    chosen = _chosen(history, request.GET.get("order", ""))
    decision = EntryDecision.objects.filter(order=chosen.order.pk).first() if chosen else None
    return page(
        request,
        "signal.html",
        signal=found,
        history=history,
        pair=pair_sentences(found, user),
        preview=_preview(user, found),
        total=visible_total(user, found)
        if has_total(found) and may_see_total(user, found)
        else None,
        chosen=chosen,
        sliced=chosen and slice_result(chosen.order),
        decision=decision,
        market=chosen and market_analysis(chosen.order, decision),
        open_ones=[view for view in history.position_views if view.free > 0],
        refresh_seconds=_refresh_seconds(found, history),
    )


def _unpublished(user: User) -> QuerySet[Signal]:
    """Return the tenant's own signals that may still be published, newest first."""
    mine = managed_signals(user).filter(published_at=None, cancelled_at=None)
    return mine.exclude(approval=Approval.REJECTED).order_by("-pk")


def _preview(user: User, found: Signal) -> Preview | None:
    """Return what publishing the tenant's own signal would do; None: it cannot be published."""
    if found.is_published or found.cancelled_at is not None or found.is_past(market_now()):
        return None
    if found.approval == Approval.REJECTED:
        return None
    if not may(user, Right.PUBLISH, owner_id=found.feed.owner_id):
        return None
    return visible_to(user, found, preview(found))


def _refresh_seconds(found: Signal, history: SignalHistory) -> int:
    """Return the refresh interval: short while orders are in flight, 0 once nothing is open."""
    if (history.outcomes and not history.summary.is_settled) or any(
        STATES[one.order.status].share in {"working", "unknown"} for one in history.exits
    ):
        return FAST_SECONDS
    is_over = found.is_published and not any(
        view.position.is_open for view in history.position_views
    )
    return 0 if is_over else SLOW_SECONDS


@tenants_only
def cancel(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Confirm, then cancel the unfilled part of an order."""
    user = current_user(request)
    mine = Order.objects.filter(connection__user=user).select_related("connection", "signal")
    order = get_object_or_404(mine.defer("connection__sealed_credentials"), pk=pk)
    points = [
        Consequence(
            "cancelreq",
            "The broker is asked to cancel it; if it has not been sent yet, it never is. "
            "The order may still fill first.",
        ),
        Consequence("filled", "What is filled stays open with its stop."),
    ]
    if other_leg := cancelled_leg_text(order):
        points.append(Consequence("cancelled", other_leg))
    if together := cancelled_with_text(order):
        points.append(Consequence("cancelreq", together))
    is_sliced = slice_result(order) is not None
    if is_sliced:
        ended = Consequence("cancelled", "Ends the entry: no more of its slices are sent.")
        points = [ended, Consequence("filled", "What has filled stays open with its stop.")]
    title = f"Cancel {order.side.lower()} {order.pair} at {order.connection.name}?"
    back = reverse("portal:signals")
    if order.signal_id:
        back = f"{reverse('portal:signal', args=[order.signal_id])}?order={pk}#timeline"
    question = ConfirmationPage(
        title, points, "Cancel the order", back, decline_label="Keep the order"
    )

    def act() -> str:
        if services.cancel_order(pk, by=user) == Status.CANCELLED:
            if is_sliced:
                return "The entry has ended; no more of its slices are sent."
            return "The order was cancelled; it was never sent."
        tasks.enqueue_pending_actions_on_commit()
        return "Cancellation requested; the order may still fill first."

    return confirm(request, question, act)


@tenants_only
def change(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask for the new price or quantity, then change the order."""
    user = current_user(request)
    mine = Order.objects.filter(connection__user=user).select_related("connection", "signal")
    order = get_object_or_404(mine.defer("connection__sealed_credentials"), pk=pk)
    form = ChangeOrderForm(order, request.POST if request.method == "POST" else None)
    back = reverse("portal:signals")
    if order.signal_id:
        back = f"{reverse('portal:signal', args=[order.signal_id])}?order={pk}#timeline"
    title = f"Change {order.side.lower()} {order.pair} at {order.connection.name}?"
    question = ConfirmationPage(
        title, change_consequences(order), "Change the order", back, form=form,
        decline_label="Keep it as it is",
    )  # fmt: skip

    def act() -> str:
        tasks.enqueue_pending_actions_on_commit()
        return make_change(order, form, user)

    return confirm(request, question, act)


def _chosen(history: SignalHistory, order_id: str) -> AccountOutcome | None:
    """Return the order whose timeline is shown: the requested one, else the first that was sent."""
    for one in (*history.outcomes, *history.exits):
        if str(one.order.pk) == order_id:
            return one
    sent = [one for one in history.outcomes if one.order.submitted_at]
    return next(iter(sent or history.outcomes), None)
