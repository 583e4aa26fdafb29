"""A position's page: levels, guardians, orders, profit; closing it after a confirmation."""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.figures import with_figures
from common.permissions import Right
from common.reason_codes import Code
from common.web.confirmation import ConfirmationPage
from common.web.formatting import join_first
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from console.queries.candidates import Candidate
from execution import services, tasks
from execution.exits.forms import CloseForm, close_consequences
from execution.models import Fill, Order
from positions.models import ExecutionPosition
from positions.selectors import protection, with_prices


def find(pk: int) -> Any:
    """Return a position with `current_price` and `unrealized_pnl`. Raises Http404."""
    related = (
        "connection__user", "connection__admin", "connection__snapshot", "signal__feed",
        "stop_rule",
    )  # fmt: skip
    found = with_prices(ExecutionPosition.objects.select_related(*related))
    return get_object_or_404(found.defer("connection__sealed_credentials"), pk=pk)


def address(pk: int) -> str:
    return reverse("admin:positions_executionposition_page", args=[pk])


def orders_of(position: ExecutionPosition) -> list[Order]:
    """Return the entry legs that opened it, then its exits."""
    orders = with_figures(Order.objects.all())
    entries = orders.filter(
        signal_id=position.signal_id, connection_id=position.connection_id,
        leg__startswith="entry", position_leg=position.entry_leg,
    )  # fmt: skip
    return [*entries.order_by("id"), *orders.filter(position=position).order_by("id")]


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    position = find(pk)
    orders = orders_of(position)
    fills = Fill.objects.filter(order_id__in=[o.pk for o in orders]).select_related("order")
    return page(
        request,
        "position/page.html",
        f"P-{pk}",
        position=position,
        currency=position.connection.account_currency,
        protection=protection(position),
        why_unprotected=_why(position),
        exit_blocker=position.exit_blocker,
        orders=[Candidate(order) for order in orders],
        fills=fills.order_by("id"),
        free=position.quantity - position.reserved,
        net=position.net_result,
        can_close=can(request, Right.TRADE) and position.quantity > position.reserved,
    )


def _why(position: ExecutionPosition) -> str:
    """Return code its stop is missing now."""
    code = position.unprotected_reason
    return Code[code].sentence if code in Code.__members__ else ""


def close(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask how much, then create an exit order and enqueue it."""
    require_permission(request, Right.TRADE)
    position = find(pk)
    form = CloseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        fraction = Decimal(form.cleaned_data["fraction"])
        return run_action(request, lambda: _close(position, fraction, request), back=address(pk))
    points = close_consequences(position, currency=position.connection.account_currency)
    title = f"Close P-{pk}, {position.side.lower()} {position.pair} on {position.connection.name}?"
    question = ConfirmationPage(
        title, points, "Close it", address(pk), form=form, decline_label="Keep it"
    )
    return confirm(request, question)


def _close(position: ExecutionPosition, fraction: Decimal, request: HttpRequest) -> str:
    by: Any = request.user
    order_ids = services.close_position(position.pk, fraction=fraction, by=by)
    if not order_ids:
        return f"P-{position.pk} is already closed or being closed; nothing was sent."
    tasks.enqueue_on_commit(order_ids, queue=tasks.EXITS)
    exits = join_first([f"O-{order_id}" for order_id in order_ids])
    return f"P-{position.pk} is being closed by {exits}."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/", "positions_executionposition_page", show),
    ("<int:pk>/close/", "positions_executionposition_close", close),
)
