"""What is too near to the market to be changed at its broker waits until the market moves away.

A broker refuses to change a level, or to change or cancel a resting order, while the market is
within the freeze level of it. Such a request is not sent; each round judges it by the latest price.
Without a fresh price it is sent: the broker decides.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from brokers.types import OrderType
from common.db.sql import IdRow, Query, columns, rows, run
from common.money import plain
from common.reason_codes import Code
from connections.selectors import connection_join_sql, freeze_level_sql
from connections.session_lanes import held_lanes_parameters
from execution.base.statements import insert_log_sql, log_rows_sql, position_log_rows_sql
from execution.monitoring.stop_failover import FRESH
from positions.broker_levels import HOLD_LEVELS_SQL, NEAR_LEVELS_SQL
from positions.freeze_level import frozen_price


class _NearPosition(NamedTuple):
    id: int
    side: str
    broker_sl: Decimal | None
    broker_tp: Decimal | None
    freeze_level: Decimal
    bid: Decimal
    ask: Decimal


class _NearOrder(NamedTuple):
    id: int
    side: str
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    freeze_level: Decimal
    bid: Decimal
    ask: Decimal


NEAR_POSITIONS = Query(
    _NearPosition,
    f"""
SELECT n.id, n.side, n.broker_sl, n.broker_tp, n.freeze_level, q.low_bid AS bid, q.low_ask AS ask
FROM ({NEAR_LEVELS_SQL}) n
JOIN ({FRESH}) q ON q.data_connection_id = n.price_source_id AND q.symbol = n.pair
WHERE n.freeze_level > 0
""",
)

HOLD_POSITIONS = f"""
WITH held AS (
  {HOLD_LEVELS_SQL}
)
{
    insert_log_sql(
        position_log_rows_sql(
            "held m",
            code=f"'{Code.LEVELS_FROZEN.value}'",
            detail="'position ' || m.id || ': the change of its levels waits'",
            where="m.is_new",
        )
    )
}
"""

NEAR_ORDERS = Query(
    _NearOrder,
    f"""
SELECT n.id, n.side, n.order_type, n.limit_price, n.stop_price, n.freeze_level,
  q.low_bid AS bid, q.low_ask AS ask
FROM (
  SELECT o.id, o.side, o.order_type, o.limit_price, o.stop_price,
    {freeze_level_sql("o")} AS freeze_level, c.data_connection_id AS source_id, o.pair
  FROM execution_order o {connection_join_sql("o.connection_id")}
  WHERE o.id = ANY(%s) AND o.order_type <> 'MARKET' AND o.status <> 'PENDING') n
JOIN ({FRESH}) q ON q.data_connection_id = n.source_id AND q.symbol = n.pair
WHERE n.freeze_level > 0
""",
)

_HELD = """SELECT * FROM unnest(%s::bigint[], %s::text[]) AS t(id, detail)"""

HOLD_CANCELS = f"""
WITH d AS ({_HELD}), held AS (
  UPDATE execution_order o SET due_at = clock_timestamp() + interval '1 second',
    reason = '{Code.LEVELS_FROZEN.value}', detail = d.detail,
    waiting_since = CASE o.reason WHEN '{Code.LEVELS_FROZEN.value}' THEN o.waiting_since
      ELSE clock_timestamp() END
  FROM d JOIN (SELECT id, reason FROM execution_order) b USING (id) WHERE o.id = d.id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.detail,
    b.reason <> '{Code.LEVELS_FROZEN.value}' AS is_new
)
{
    insert_log_sql(
        log_rows_sql(
            "held m", code=f"'{Code.LEVELS_FROZEN.value}'", detail="m.detail", where="m.is_new"
        )
    )
}
"""

DUE_CHANGES = Query(
    IdRow,
    """
SELECT order_id AS id FROM execution_entrychange
WHERE state = 'REQUESTED' AND due_at <= statement_timestamp() ORDER BY order_id
""",
)

HOLD_CHANGES = f"""
WITH d AS ({_HELD}), locked AS (
  SELECT h.id, h.order_id, h.code AS known, d.detail AS why
  FROM execution_entrychange h JOIN d ON d.id = h.order_id
  WHERE h.state = 'REQUESTED' ORDER BY h.order_id FOR NO KEY UPDATE OF h SKIP LOCKED
), held AS (
  UPDATE execution_entrychange h SET code = '{Code.LEVELS_FROZEN.value}', detail = l.why,
    due_at = clock_timestamp() + interval '1 second'
  FROM locked l JOIN execution_order o ON o.id = l.order_id WHERE h.id = l.id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, l.why,
    l.known <> '{Code.LEVELS_FROZEN.value}' AS is_new
)
{
    insert_log_sql(
        log_rows_sql(
            "held m", code=f"'{Code.LEVELS_FROZEN.value}'", detail="m.why", where="m.is_new"
        )
    )
}
"""


def hold_frozen_levels() -> None:
    """Let the due level changes wait that their broker would refuse now."""
    held: list[int] = []
    for row in rows(NEAR_POSITIONS, held_lanes_parameters()):
        market = row.bid if row.side == "BUY" else row.ask
        if frozen_price((row.broker_sl, row.broker_tp), market, row.freeze_level) is not None:
            held.append(row.id)
    if held:
        run(HOLD_POSITIONS, (held,))


def hold_frozen_cancels(order_ids: Sequence[int]) -> set[int]:
    """Let those of these locked orders wait whose cancel their broker would refuse now."""
    if frozen := _frozen_orders(order_ids):
        run(HOLD_CANCELS, columns(frozen, 2))
    return {order_id for order_id, _ in frozen}


def hold_frozen_changes() -> None:
    """Let the requested changes of orders wait that their broker would refuse now."""
    if frozen := _frozen_orders([row.id for row in rows(DUE_CHANGES)]):
        run(HOLD_CHANGES, columns(frozen, 2))


def _frozen_orders(order_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Return the orders whose price is too near to the market, with a sentence."""
    frozen = []
    for row in rows(NEAR_ORDERS, (list(order_ids),)) if order_ids else []:
        market = row.ask if row.side == "BUY" else row.bid
        price = row.limit_price if row.order_type == OrderType.LIMIT else row.stop_price
        if frozen_price((price,), market, row.freeze_level) is not None:
            detail = f"{plain(price)} is within {plain(row.freeze_level)} of {plain(market)}"
            frozen.append((row.id, detail))
    return frozen
