"""Events of orders: each line of the execution log, and each fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from django.db.models import Max

from buses import position_events
from buses.catalogue import Fill, Lifecycle, OrderUpdate
from buses.made import NO_PLAN, Made, Plan, plans_of
from common.db.sql import rows
from execution.bus_rows import FILLS, LINES, FillRow, OrderLine
from execution.models import ExecutionLog

LIFECYCLE = {"PENDING": "RECEIVED", "SUBMITTING": "VALIDATED"}


def of_lines(ids: Sequence[int]) -> Iterator[Made]:
    """Yield an update for each line about an order, then the positions that lines changed."""
    lines = rows(LINES, (list(ids),))
    plans = plans_of([line.signal_id for line in lines])
    for line in lines:
        if line.order_id is not None and line.status and line.pair is not None:
            yield _update(line, plans)
    yield from position_events.of_lines(lines)


def of_closed(order_ids: Sequence[int], row_id: int, at: datetime) -> Iterator[Made]:
    """Yield the last update of orders whose position was closed completely.

    row_id, at: of the event that reports it.
    """
    of_orders = ExecutionLog.objects.filter(order_id__in=order_ids, status__gt="").order_by()
    newest = of_orders.values("order_id").annotate(newest=Max("pk"))
    lines = rows(LINES, ([row["newest"] for row in newest],))
    plans = plans_of([line.signal_id for line in lines])
    for line in lines:
        if line.pair is not None:
            closed = line._replace(status_before=line.status, at=at, code="CLOSED", detail="")
            made = _update(closed, plans, "CLOSED")
            yield made._replace(row_id=row_id, part=f"order-{line.order_id}")


def of_fills(ids: Sequence[int]) -> Iterator[Made]:
    """Yield an event for each fill."""
    found = rows(FILLS, (list(ids),))
    plans = plans_of([fill.signal_id for fill in found])
    for fill in found:
        yield _fill(fill, plans.get(fill.signal_id, NO_PLAN))


def _update(
    line: OrderLine, plans: Mapping[int | None, Plan], lifecycle: Lifecycle | None = None
) -> Made:
    order: Any = line  # the order exists: its columns are not null
    filled = line.filled_quantity or Decimal(0)
    plan = plans.get(line.signal_id, NO_PLAN)
    event = OrderUpdate(
        order_id=order.order_id,
        client_order_id=line.client_order_id,
        broker_order_id=line.broker_order_id or None,
        signal_id=line.signal_id,
        position_id=line.position_id,
        strategy_id=plan.strategy_id,
        trade_plan_id=plan.trade_plan_id,
        account_id=str(line.connection_id),
        broker=order.broker,
        leg=order.leg,
        symbol=order.pair,
        broker_symbol=line.symbol or None,
        side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        status=order.status,
        status_before=order.status_before or None,
        lifecycle=lifecycle or cast(Lifecycle, LIFECYCLE.get(line.status, line.status)),
        code=line.code,
        detail=line.detail,
        quantity=line.quantity,
        filled_quantity=filled,
        remaining_quantity=None if line.quantity is None else line.quantity - filled,
        average_price=line.average_price,
        limit_price=line.limit_price,
        stop_price=line.stop_price,
        stop_loss=line.stop_loss,
        take_profit=line.take_profit,
        expected_price=line.expected_price,
        slippage=line.slippage,
        slippage_unit=None if line.slippage is None else order.slippage_unit,
        commission=order.commission,
        created_at=order.created_at,
        submitted_at=line.submitted_at,
        filled_at=line.filled_at,
        cancelled_at=line.at if line.status == "CANCELLED" and lifecycle is None else None,
        updated_at=line.at,
    )
    subject = f"orders/{line.order_id}"
    return Made(line.id, line.at, subject, event, str(line.connection_id), line.tenant_id)


def _fill(fill: FillRow, plan: Plan) -> Made:
    side: Any = fill.side
    event = Fill(
        fill_id=fill.id,
        broker_fill_id=fill.broker_fill_id,
        order_id=fill.order_id,
        client_order_id=fill.client_order_id,
        broker_order_id=fill.broker_order_id or None,
        signal_id=fill.signal_id,
        position_id=fill.position_id,
        strategy_id=plan.strategy_id,
        trade_plan_id=plan.trade_plan_id,
        account_id=str(fill.connection_id),
        broker=fill.broker,
        leg=fill.leg,
        symbol=fill.pair,
        broker_symbol=fill.symbol or None,
        side=side,
        quantity=fill.quantity,
        price=fill.price,
        expected_price=fill.expected_price,
        slippage_pips=_slippage(fill),
        commission=fill.commission,
        commission_currency=fill.commission_currency,
        inferred=fill.inferred,
        executed_at=fill.time,
        recorded_at=fill.recorded_at,
    )
    account = str(fill.connection_id)
    return Made(
        fill.id, fill.recorded_at, f"orders/{fill.order_id}", event, account, fill.tenant_id
    )


def _slippage(fill: FillRow) -> Decimal | None:
    """Return how many pips worse than expected its price is; below 0: better."""
    if not fill.pip or fill.expected_price is None:
        return None
    worse = fill.price - fill.expected_price
    return (worse if fill.side == "BUY" else -worse) / fill.pip
