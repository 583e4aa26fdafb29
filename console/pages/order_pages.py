"""An order's page: timeline, fills and log; cancel and retry, each after a confirmation."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from common.formatting import number
from common.permissions import Right
from console.pages import reason_pages
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from console.queries.candidates import explanation_of
from execution import services, tasks
from execution.models import ExecutionLog, Order, Status
from execution.order_reasons import reason_of
from execution.timeline import timeline

MAX_LOG_LINES = 200


def find(pk: int) -> Order:
    """Return an order with what its page shows. Raises Http404."""
    related = ("signal__feed", "connection__user", "connection__admin", "position")
    found = Order.objects.select_related(*related).defer("connection__sealed_credentials")
    return get_object_or_404(found, pk=pk)


def address(pk: int) -> str:
    """Return the address of an order's page."""
    return reverse("admin:execution_order_page", args=[pk])


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The order's page."""
    order = find(pk)
    fills = list(order.fills.order_by("id"))
    log = ExecutionLog.objects.filter(order_id=pk).order_by("id")[:MAX_LOG_LINES]
    opened = None
    if order.is_entry and order.signal is not None:
        opened = order.signal.positions.filter(connection=order.connection).first()
    may_retry = can(request, Right.RETRY) and order.status == Status.FAILED
    obstacle = services.retry_obstacle(order)
    return page(
        request,
        "order/page.html",
        f"O-{pk}",
        order=order,
        position=order.position or opened,
        explanation=explanation_of(order),
        reason=reason_of(order),
        fills=fills,
        filled=number(order.filled_quantity),
        steps=timeline(order, fills),
        log=log,
        can_cancel=can(request, Right.TRADE) and order.done_at is None,
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
    title = f"Cancel O-{pk}, {order.side.lower()} {order.pair} on {order.connection.name}?"
    return confirm(
        request,
        ConfirmationPage(title, points, "Cancel the order", address(pk), keep="Keep the order"),
    )


def _cancel(order: Order, request: HttpRequest) -> str:
    by: Any = request.user
    status = services.cancel_order(order.pk, by=by)
    tasks.enqueue_pending_actions_on_commit()
    if status == Status.CANCELLED:
        return f"O-{order.pk} was cancelled; it was never sent."
    return f"O-{order.pk}: cancellation requested; the order may still fill first."


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
    ("<int:pk>/retry/", "execution_order_retry", retry),
    *reason_pages.URLS,
)
