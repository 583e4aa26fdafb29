"""Closes that nobody told: a position is gone at the broker, so all of it has been closed.

Such a conclusion has an exit row of its own without an order at the broker. What is closed in all
is max(what was concluded, Σ of the exits that were told): as those come, late, they take their
quantity back from the conclusion, whose row shrinks and vanishes.
"""

from collections.abc import Mapping
from decimal import Decimal

from brokers.types import OrderReport
from common.reason_codes import Code
from common.sql import columns, rows, run
from execution.exits.reservations import lock_positions

IS_INFERRED_CLOSE = """inferred_quantity > 0 AND inferred_quantity = filled_quantity
  AND broker_order_id = '' AND client_order_id IS NULL"""

FIND = f"""
SELECT id, position_id, filled_quantity FROM execution_order
WHERE position_id = ANY(%s) AND {IS_INFERRED_CLOSE} ORDER BY id
"""

REVERSE = f"""
WITH d AS (
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[]) AS t(id, position_id, quantity)
), fill AS (
  UPDATE execution_fill f SET quantity = f.quantity - d.quantity,
    commission = round(f.commission * (f.quantity - d.quantity) / f.quantity, 18)
  FROM d WHERE f.order_id = d.id AND f.quantity > d.quantity
), shrunk AS (
  UPDATE execution_order o SET quantity = o.quantity - d.quantity,
    filled_quantity = o.filled_quantity - d.quantity,
    inferred_quantity = o.inferred_quantity - d.quantity
  FROM d WHERE o.id = d.id AND o.quantity > d.quantity
), position AS (
  UPDATE positions_executionposition p SET quantity = p.quantity + d.quantity,
    realized_pnl = p.realized_pnl - round(d.quantity * (o.avg_fill_price - p.entry_price)
      * CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END
      * coalesce(o.conversion_rate, p.conversion_rate), 18)
  FROM d JOIN execution_order o ON o.id = d.id WHERE p.id = d.position_id
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, numbers)
SELECT o.id, o.signal_id, o.connection_id, '{Code.INFERRED_REPLACED.value}', o.status,
  jsonb_build_object('replaced', trim_scale(d.quantity)::text)
FROM d JOIN execution_order o ON o.id = d.id
"""


def is_inferred_close(report: OrderReport) -> bool:
    """Whether a report says that a position is closed, without an order that closed it."""
    return (
        report.close_cause is not None
        and not report.broker_order_id
        and bool(report.fills)
        and all(fill.inferred for fill in report.fills)
    )


def reverse_inferred_close(reported: Mapping[int, Decimal]) -> set[int]:
    """Take what exits are told to have executed out of the conclusions about their positions.

    reported: new quantity by position. Returns the positions that had one; work them out anew when
    the exits are written. Must run in the transaction that writes them.
    """
    if not reported or not rows(FIND, (list(reported),)):
        return set()
    lock_positions(list(reported))
    found = rows(FIND, (list(reported),))  # a later statement: what the lock's last holder has left
    taken = [(row, min(row.filled_quantity, reported[row.position_id])) for row in found]
    if taken:
        run(REVERSE, columns([(row.id, row.position_id, q) for row, q in taken], 3))
    if gone := [row.id for row, quantity in taken if quantity == row.filled_quantity]:
        run("DELETE FROM execution_fill WHERE order_id = ANY(%s)", (gone,))
        run("DELETE FROM execution_order WHERE id = ANY(%s)", (gone,))
    return {row.position_id for row in found}
