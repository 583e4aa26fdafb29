"""What buses are given of orders: the lines of the execution log, each with its order, and fills.

A line keeps what became of its order, but not how much of it had filled. That is the sum of the
fills which were recorded up to then; of the newest line it is what the order's row has. An inferred
fill that a broker's own replaced later is in no sum any more.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from common.db.sql import Query
from connections.selectors import connection_join_sql


class OrderLine(NamedTuple):
    """A line of the log. status_before: "" at its first line. tenant_id: None: an operator's."""

    id: int
    at: datetime
    code: str
    detail: str
    numbers: dict[str, Any]
    signal_id: int | None
    connection_id: UUID | None
    tenant_id: int | None
    broker: str | None
    order_id: int | None
    status: str
    status_before: str
    leg: str | None
    position_leg: str | None
    position_id: int | None
    client_order_id: str | None
    broker_order_id: str | None
    pair: str | None
    symbol: str | None
    side: str | None
    order_type: str | None
    time_in_force: str | None
    quantity: Decimal | None
    filled_quantity: Decimal | None
    average_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    expected_price: Decimal | None
    commission: Decimal | None
    slippage: Decimal | None
    slippage_unit: str | None
    created_at: datetime | None
    submitted_at: datetime | None
    filled_at: datetime | None


class FillRow(NamedTuple):
    """One fill with its order. tenant_id: None: an operator's."""

    id: int
    recorded_at: datetime
    time: datetime
    connection_id: UUID
    tenant_id: int | None
    broker: str
    order_id: int
    signal_id: int | None
    leg: str
    position_id: int | None
    client_order_id: str | None
    broker_order_id: str
    broker_fill_id: str
    pair: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    expected_price: Decimal | None
    pip: Decimal | None
    commission: Decimal
    commission_currency: str
    inferred: bool


# Nothing has filled in these; a broker's fill at once is recorded before the step that it implies.
_UNFILLED = "('PENDING', 'SUBMITTING', 'SUBMITTED', 'SKIPPED', 'DENIED')"
_FILLED_BY_THEN = f"""LEFT JOIN LATERAL (
  SELECT o.filled_quantity AS quantity, o.avg_fill_price AS average
  WHERE NOT EXISTS (SELECT FROM execution_executionlog later
    WHERE later.order_id = l.order_id AND later.id > l.id AND later.status <> '')
  UNION ALL
  (SELECT least(sum(f.quantity), o.filled_quantity), sum(f.quantity * f.price) / sum(f.quantity)
  FROM execution_fill f WHERE f.order_id = l.order_id AND f.recorded_at <= l.at
  HAVING count(*) > 0)
  LIMIT 1
) filled ON l.status NOT IN {_UNFILLED}"""

LINES = Query(
    OrderLine,
    f"""
SELECT l.id, l.at, l.code, l.detail, l.numbers, coalesce(l.signal_id, o.signal_id) AS signal_id,
  coalesce(l.connection_id, o.connection_id) AS connection_id, c.user_id AS tenant_id,
  c.type AS broker, l.order_id, l.status, coalesce(before.status, '') AS status_before, o.leg,
  o.position_leg, o.position_id, o.client_order_id, o.broker_order_id, o.pair, o.symbol, o.side,
  o.order_type, o.time_in_force, o.quantity,
  coalesce(filled.quantity, 0) AS filled_quantity, filled.average AS average_price,
  o.limit_price, o.stop_price, o.stop_loss, o.take_profit, o.expected_price, o.commission,
  o.slippage_pips AS slippage, o.slippage_unit, o.created_at, o.submitted_at, o.filled_at
FROM execution_executionlog l
LEFT JOIN execution_order o ON o.id = l.order_id
LEFT {connection_join_sql("coalesce(l.connection_id, o.connection_id)")}
LEFT JOIN LATERAL (
  SELECT earlier.status FROM execution_executionlog earlier
  WHERE earlier.order_id = l.order_id AND earlier.id < l.id AND earlier.status <> ''
  ORDER BY earlier.id DESC LIMIT 1
) before ON true
{_FILLED_BY_THEN}
WHERE l.id = ANY(%s::bigint[]) ORDER BY l.id
""",
)

FILLS = Query(
    FillRow,
    f"""
SELECT f.id, f.recorded_at, f.time, f.connection_id, c.user_id AS tenant_id, c.type AS broker,
  f.order_id, o.signal_id, o.leg, o.position_id, o.client_order_id, o.broker_order_id,
  f.broker_fill_id, o.pair, o.symbol, f.side, f.quantity, f.price, o.expected_price, o.pip,
  f.commission, f.commission_currency, f.inferred
FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
{connection_join_sql("f.connection_id")}
WHERE f.id = ANY(%s::bigint[]) ORDER BY f.id
""",
)
