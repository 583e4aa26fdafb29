"""Inferred closes: a position is gone at the broker, so all of it must have been closed.

An inferred close has its own exit row without an order at the broker. The total that is closed is
max(inferred, Σ reported exits): when an exit is reported later, its quantity is deducted from the
inferred close, whose row shrinks and is finally deleted.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from brokers.types import OrderReport
from common.db.sql import Query, columns, rows, run
from common.reason_codes import Code
from positions.quantities import reopen_positions_sql
from positions.row_locks import lock_positions

IS_INFERRED_CLOSE = """inferred_quantity > 0 AND inferred_quantity = filled_quantity
  AND broker_order_id = '' AND client_order_id IS NULL"""


class InferredClose(NamedTuple):
    """The order row of an inferred close."""

    id: int
    position_id: int
    filled_quantity: Decimal


FIND = Query(
    InferredClose,
    f"""
SELECT id, position_id, filled_quantity FROM execution_order
WHERE position_id = ANY(%s) AND {IS_INFERRED_CLOSE} ORDER BY id
""",
)

DELETE_FILLS = "DELETE FROM execution_fill WHERE order_id = ANY(%s)"
DELETE_ORDERS = "DELETE FROM execution_order WHERE id = ANY(%s)"

REVERSE = f"""
WITH deducted AS (
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[]) AS t(id, position_id, quantity)
), fill AS (
  UPDATE execution_fill f SET quantity = f.quantity - deducted.quantity,
    commission = round(f.commission * (f.quantity - deducted.quantity) / f.quantity, 18)
  FROM deducted WHERE f.order_id = deducted.id AND f.quantity > deducted.quantity
), shrunk AS (
  UPDATE execution_order o SET quantity = o.quantity - deducted.quantity,
    filled_quantity = o.filled_quantity - deducted.quantity,
    inferred_quantity = o.inferred_quantity - deducted.quantity
  FROM deducted WHERE o.id = deducted.id AND o.quantity > deducted.quantity
), reopened AS (
  {reopen_positions_sql("deducted JOIN execution_order exit_order USING (id)")}
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, numbers)
SELECT o.id, o.signal_id, o.connection_id, '{Code.INFERRED_REPLACED.value}', o.status,
  jsonb_build_object('replaced', trim_scale(deducted.quantity)::text)
FROM deducted JOIN execution_order o ON o.id = deducted.id
"""


def is_inferred_close(report: OrderReport) -> bool:
    """Return whether a report states that a position is closed, but not which order closed it."""
    return (
        report.close_cause is not None
        and not report.broker_order_id
        and bool(report.fills)
        and all(fill.inferred for fill in report.fills)
    )


def reverse_inferred_close(reported: Mapping[int, Decimal]) -> set[int]:
    """Deduct what exits are reported to have executed from the inferred closes of their positions.

    reported: new quantity by position. Returns the positions that had an inferred close; rebuild
    them once the exits are written. Must run in the transaction that writes the exits.
    """
    if not reported or not rows(FIND, (list(reported),)):
        return set()
    lock_positions(list(reported))
    closes = rows(FIND, (list(reported),))  # again: the previous holder of the lock may change them
    deducted = [(row, min(row.filled_quantity, reported[row.position_id])) for row in closes]
    if deducted:
        run(REVERSE, columns([(row.id, row.position_id, q) for row, q in deducted], 3))
    if used_up := [row.id for row, quantity in deducted if quantity == row.filled_quantity]:
        run(DELETE_FILLS, (used_up,))
        run(DELETE_ORDERS, (used_up,))
    return {row.position_id for row in closes}
