"""Which orders and positions other sessions have locked now, found without waiting.

Each statement runs in its own transaction, so what it locks is released when it ends.
"""

from collections.abc import Sequence
from typing import NamedTuple

from brokers.types import OrderReport
from common.db.sql import IdRow, Query, array, rows
from execution.ids import all_attempts, base_of
from positions.joins import entry_position_join_sql
from positions.row_locks import lock_unlocked_sql


class LockedOrder(NamedTuple):
    client_order_id: str


# Orders by each of their attempts' ids, those that were sent as one with them, their positions, and
# exits that brokers made of them.
LOCKED = Query(
    LockedOrder,
    f"""
WITH reported AS (
  SELECT id, client_order_id, connection_id, signal_id, position_leg, position_id, aggregate_id
  FROM execution_order WHERE client_order_id = ANY(%(ids)s::text[])
), named AS (
  SELECT id, client_order_id, connection_id, signal_id, position_leg, position_id FROM reported
  UNION ALL
  SELECT m.id, n.client_order_id, m.connection_id, m.signal_id, m.position_leg, m.position_id
  FROM reported n JOIN execution_order m ON m.aggregate_id = n.id AND m.id <> n.id
), p AS (
  SELECT n.client_order_id, n.position_id AS id FROM named n WHERE n.position_id IS NOT NULL
  UNION ALL
  SELECT n.client_order_id, p.id FROM named n {entry_position_join_sql("n")}
  WHERE n.position_id IS NULL
), o AS (
  SELECT client_order_id, id FROM named
  UNION ALL
  SELECT p.client_order_id, x.id FROM p JOIN execution_order x ON x.position_id = p.id
  WHERE x.broker_order_id = ANY(%(broker_ids)s::text[])
), free_orders AS (
  SELECT id FROM execution_order WHERE id = ANY(ARRAY(SELECT id FROM o))
  FOR NO KEY UPDATE SKIP LOCKED
), free_positions AS (
  {lock_unlocked_sql("ARRAY(SELECT id FROM p)")}
)
SELECT client_order_id FROM o WHERE id NOT IN (SELECT id FROM free_orders)
UNION
SELECT client_order_id FROM p WHERE id NOT IN (SELECT id FROM free_positions)
""",
)

FREE_ORDERS = Query(
    IdRow, "SELECT id FROM execution_order WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED"
)


def split_locked(
    reports: Sequence[OrderReport],
) -> tuple[list[OrderReport], list[OrderReport]]:
    """Split reports into those whose orders and positions are free and those for which another
    session has locked one. All reports of one order are in the same list."""
    ids = {cid for r in reports if r.client_order_id for cid in all_attempts(r.client_order_id)}
    exits = {r.broker_order_id for r in reports if r.close_cause is not None and r.broker_order_id}
    locked_rows = rows(LOCKED, {"ids": array(ids), "broker_ids": array(exits)}) if ids else []
    locked = {base_of(row.client_order_id) for row in locked_rows}
    return (
        [r for r in reports if base_of(r.client_order_id) not in locked],
        [r for r in reports if base_of(r.client_order_id) in locked],
    )


def free_orders(order_ids: Sequence[int]) -> set[int]:
    """Return those of these orders that no other session has locked."""
    return {row.id for row in rows(FREE_ORDERS, (list(order_ids),))}
