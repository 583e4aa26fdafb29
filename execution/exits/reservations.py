"""Reserved quantity: what a position's live exits may still fill, never more than is open.

It is recomputed from the rows after each change: a running sum would drift as soon as an exit made
by the broker overtakes two of ours. Levels that were suspended for an exit are placed again when no
exit is left; where levels are separate orders, they are removed when the position is closed.
"""

from collections.abc import Sequence

from common.db.sql import IdRow, Query, array, rows, run
from execution.models import TERMINAL
from positions.joins import entry_position_join_sql
from positions.quantities import recompute_reserved_sql
from positions.row_locks import lock_positions_sql

# Locked first, in id order; the sum is taken by a later statement, which sees what the previous
# holder of the lock has committed.
LOCK = Query(
    IdRow,
    lock_positions_sql(f"""
  SELECT position_id FROM execution_order WHERE id = ANY(%(ids)s) AND position_id IS NOT NULL
  UNION
  SELECT p.id FROM execution_order o {entry_position_join_sql("o")}
  WHERE o.id = ANY(%(ids)s) AND o.position_id IS NULL"""),
)

RECOMPUTE = recompute_reserved_sql("""
  SELECT i.id, coalesce(sum(o.quantity - o.filled_quantity), 0) AS quantity
  FROM unnest(%s::bigint[]) AS i(id)
  LEFT JOIN execution_order o ON o.position_id = i.id AND o.status <> ALL(%s::text[])
  GROUP BY i.id
""")


def recompute_reserved(order_ids: Sequence[int]) -> None:
    """Recompute `reserved` of the positions that these orders have opened or are closing.

    Locks the positions. Must run in the transaction that changed the orders.
    """
    recompute_reserved_locked(lock_positions_of(order_ids))


def lock_positions_of(order_ids: Sequence[int]) -> list[int]:
    """Lock, in id order, the positions that these orders have opened or are closing; return ids.

    Every transaction that changes several positions calls this first, so there is no deadlock.
    """
    if not order_ids:
        return []
    return [row.id for row in rows(LOCK, {"ids": list(order_ids)}, planned_once=True)]


def recompute_reserved_locked(position_ids: Sequence[int]) -> None:
    """Recompute `reserved` of positions that this transaction has locked."""
    if position_ids:
        run(RECOMPUTE, (list(position_ids), array(TERMINAL)), planned_once=True)
