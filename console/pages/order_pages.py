"""An order's page: timeline, fills and log; change, cancel and retry, each after a question."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.aggregates import cancelled_with_text
from analytics.orders.archived import text_of
from analytics.orders.end_times import end_of
from analytics.orders.figures import with_figures
from analytics.orders.money import currency_of
from analytics.orders.oco_pairs import cancelled_leg_text
from analytics.orders.reasons import reason_of
from analytics.orders.slices import slice_result
from analytics.orders.timeline import timeline
from analytics.what_if.market_analysis import market_analysis
from common.archive.overview import has_archived
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence
from common.web.formatting import number
from console.pages import reason_pages
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from console.queries.candidates import explanation_of
from execution import services, tasks
from execution.changes.changeable_orders import may_be_changed
from execution.changes.forms import (
    ChangeOrderForm,
    change_consequences,
    change_line,
    make_change,
)
from execution.models import (
    ArchivedOrder,
    EntryChange,
    EntryDecision,
    ExecutionLog,
    Order,
    Status,
)
from signals.entry_ends import exit_condition

MAX_LOG_LINES = 200


def find(pk: int) -> Order:
    """Return an order with what its page shows. Raises Http404."""
    related = ("signal__feed", "connection__user", "connection__admin", "position", "trigger")
    orders = with_figures(Order.objects.select_related(*related))
    found = orders.defer("connection__sealed_credentials")
    return get_object_or_404(found, pk=pk)


def address(pk: int) -> str:
    return reverse("admin:execution_order_page", args=[pk])


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The order's page; of one in the archive what is still known of it."""
    try:
        order = find(pk)
    except Http404:
        archived = ArchivedOrder.objects.select_related("connection").filter(pk=pk).first()
        if archived is None:
            raise
        shown = {"order": archived, "text": text_of(archived)}
        return page(request, "order/archived.html", f"O-{pk}", **shown)
    fills = list(order.fills.order_by("id"))
    log = ExecutionLog.objects.filter(order_id=pk).order_by("id")[:MAX_LOG_LINES]
    decision = EntryDecision.objects.filter(order=pk).first()
    sliced = slice_result(order)
    is_running = sliced is not None and sliced.state == "RUNNING"
    may_retry = can(request, Right.RETRY) and order.status == Status.FAILED
    obstacle = services.retry_obstacle(order)
    return page(
        request,
        "order/page.html",
        f"O-{pk}",
        order=order,
        currency=currency_of(order),
        position=order.position or order.opened_position,
        explanation=explanation_of(order),
        end=end_of(order),
        reason=reason_of(order),
        fills=fills,
        decision=decision,
        market=market_analysis(order, decision),
        filled=number(order.filled_quantity),
        steps=timeline(order, fills),
        log=log,
        has_archived_log=has_archived("logs", since=order.created_at),
        can_cancel=can(request, Right.TRADE) and (order.done_at is None or is_running),
        can_change=can(request, Right.TRADE) and may_be_changed(order),
        last_change=change_line(EntryChange.last_of(pk)),
        exit_condition=exit_condition(order.signal) if order.signal else "",
        sliced=sliced,
        can_retry=may_retry and not obstacle,
        retry_obstacle=obstacle if may_retry else "",
    )


def cancel(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then cancel what is not filled."""
    require_permission(request, Right.TRADE)
    order = find(pk)
    if request.method == "POST":
        return run_action(request, lambda: _cancel(order, request), back=address(pk))
    sent = order.status != Status.PENDING
    points = [
        Consequence("cancelreq", "Asks the broker to cancel it. The order may still fill first.")
        if sent
        else Consequence("cancelled", "It has not been sent and never will be."),
        Consequence("filled", f"The filled quantity, {number(order.filled_quantity)}, stays open."),
    ]
    if other_leg := cancelled_leg_text(order):
        points.append(Consequence("cancelled", other_leg))
    if together := cancelled_with_text(order):
        points.append(Consequence("cancelreq", together))
    if (sliced := slice_result(order)) is not None:
        planned = f"{number(sliced.filled)} of {number(sliced.plan.quantity)}"
        points = [
            Consequence("cancelled", "Ends the entry: no more of its slices are sent."),
            Consequence("filled", f"What has filled, {planned}, stays open."),
        ]
    title = f"Cancel O-{pk}, {order.side.lower()} {order.pair} on {order.connection.name}?"
    return confirm(
        request,
        ConfirmationPage(
            title, points, "Cancel the order", address(pk), decline_label="Keep the order"
        ),
    )


def _cancel(order: Order, request: HttpRequest) -> str:
    by: Any = request.user
    status = services.cancel_order(order.pk, by=by)
    tasks.enqueue_pending_actions_on_commit()
    if status == Status.CANCELLED:
        return f"O-{order.pk} was cancelled; it was never sent."
    return f"O-{order.pk}: cancellation requested; the order may still fill first."


def change(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask for the new price or quantity, then change the order."""
    require_permission(request, Right.TRADE)
    order = find(pk)
    by: Any = request.user
    form = ChangeOrderForm(order, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        return run_action(request, lambda: _change(order, form, by), back=address(pk))
    title = f"Change O-{pk}, {order.side.lower()} {order.pair} on {order.connection.name}?"
    question = ConfirmationPage(
        title, change_consequences(order), "Change the order", address(pk), form=form,
        decline_label="Keep it as it is",
    )  # fmt: skip
    return confirm(request, question)


def _change(order: Order, form: ChangeOrderForm, by: Any) -> str:
    done = make_change(order, form, by)
    tasks.enqueue_pending_actions_on_commit()
    return done


def retry(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then send a FAILED order again."""
    require_permission(request, Right.RETRY)
    order = find(pk)
    if request.method == "POST":
        return run_action(request, lambda: _retry(order, request), back=address(pk))
    points = [
        Consequence(
            "submitting",
            "Sends it again under the next attempt's ID. It is proven that the first attempt did "
            "not reach the broker.",
        ),
        Consequence(
            "validated", "It is sized again; valid-until, limits and kill switch are checked again."
        ),
    ]
    title = f"Retry O-{pk}, {order.side.lower()} {order.pair} on {order.connection.name}?"
    return confirm(request, ConfirmationPage(title, points, "Send it again", address(pk)))


def _retry(order: Order, request: HttpRequest) -> str:
    by: Any = request.user
    tasks.enqueue_on_commit([services.retry_order(order.pk, by=by)])
    return f"O-{order.pk} will be sent again."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/", "execution_order_page", show),
    ("<int:pk>/cancel/", "execution_order_cancel", cancel),
    ("<int:pk>/terms/", "execution_order_terms", change),
    ("<int:pk>/retry/", "execution_order_retry", retry),
    *reason_pages.URLS,
)
