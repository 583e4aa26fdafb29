"""Swap: what a broker books for holding a position, with the execution that closes a part of it.

Each fill keeps its own, and a position has the sum of its fills': so a report that comes twice
books it once, and one that states it later, or corrects it, replaces what was known.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, columns, rows, run
from execution.base.statements import opens_position_sql
from execution.reports.order_changes import OrderChange
from positions.joins import entry_position_join_sql
from positions.quantities import store_swaps_sql


class ChangedOrder(NamedTuple):
    """An order of whose fills one has another swap now."""

    order_id: int


# The broker's id names the execution, whichever of our orders it belongs to. An earlier revision
# that arrives late changes nothing.
STORE = Query(
    ChangedOrder,
    """
UPDATE execution_fill f SET swap = d.swap
FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::numeric[])
  AS d(connection_id, broker_fill_id, revision, swap)
WHERE f.connection_id = d.connection_id AND f.broker_fill_id = d.broker_fill_id
  AND f.revision <= d.revision AND f.swap <> d.swap
RETURNING f.order_id
""",
)

UPDATE_OF_POSITIONS = f"""
WITH changed AS (
  SELECT position_id AS id FROM execution_order
  WHERE id = ANY(%(ids)s) AND position_id IS NOT NULL
  UNION
  SELECT p.id FROM execution_order o {entry_position_join_sql("o")}
  WHERE o.id = ANY(%(ids)s) AND o.position_id IS NULL
), booked AS (
  SELECT p.id, coalesce((SELECT sum(f.swap) FROM execution_fill f JOIN (
      SELECT x.id FROM execution_order x WHERE x.position_id = p.id
      UNION ALL
      SELECT n.id FROM execution_order n
      WHERE {opens_position_sql("n", "p")}
    ) o ON o.id = f.order_id), 0) AS swap
  FROM changed m JOIN positions_executionposition p USING (id)
)
{store_swaps_sql("booked")}
"""


def store_swaps(changes: Iterable[OrderChange]) -> set[int]:
    """Write the swaps that reports state to their fills; return the orders of changed fills.

    Their positions must be locked, then `update_position_swaps` adds them up.
    """
    stated: dict[tuple[str, str], tuple[int, Decimal]] = {}
    for change in changes:
        for report in change.reports:
            for fill in report.fills:
                if fill.inferred or not (fill.swap or fill.revision):
                    continue
                key = (change.row.connection_id, fill.broker_fill_id)
                if key not in stated or stated[key][0] <= fill.revision:
                    stated[key] = (fill.revision, fill.swap)
    if not stated:
        return set()
    records = [(*key, *stated[key]) for key in sorted(stated)]
    return {row.order_id for row in rows(STORE, columns(records, 4))}


def update_position_swaps(order_ids: Sequence[int]) -> None:
    """Add up the swaps of the positions that these orders opened or are closing.

    Must run in the transaction that wrote their fills and has locked the positions.
    """
    if order_ids:
        run(UPDATE_OF_POSITIONS, {"ids": list(order_ids)})
