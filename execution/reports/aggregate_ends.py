"""An aggregate whose order ended filled in part: no member is left with too little to close.

While the order works a member may have less than the least that can be closed on its own, because
the next execution may be its. When all members have ended, one that still has too little gets what
it lacks from executions of the others (`member_shares.moves_at_end`). That is decided from the
rows with each report about the aggregate: a late execution is allotted, then the end judged again.
`apply.py` calls this in its transaction, so a process that is killed has moved all or nothing.
"""

from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import NamedTuple

import structlog

from common.db.sql import IdRow, Query, array, columns, rows, run
from common.money import floor_to_step, plain
from connections.selectors import connection_join_sql, instrument_join_sql
from execution.exits.reservations import lock_positions_of, recompute_reserved_locked
from execution.reports import sql
from execution.reports.allotment import allot
from execution.reports.cumulative_fills import SET_INFERRED_QUANTITY, FillDelta
from execution.reports.member_shares import (
    MINIMUM_COLUMNS,
    Holding,
    ShareMove,
    least_closable,
    moves_at_end,
)
from execution.reports.moved_fills import MemberFill, after_moves, inferred_of
from execution.reports.order_changes import OrderChange, move_share, state_of
from execution.reports.persistence import write
from execution.reports.position_rebuild import rebuild_positions
from execution.reports.swaps import update_position_swaps
from positions.joins import entry_position_join_sql, position_join_sql

log = structlog.get_logger(__name__)
ZERO = Decimal(0)


class EndedRow(NamedTuple):
    """A member of an aggregate that has ended, with its position. Quantities: base units.

    opened, open_quantity, reserved: of its position; 0 if it has none. price: its average.
    """

    id: int
    aggregate_id: int
    quantity: Decimal
    filled: Decimal
    price: Decimal
    opened: Decimal
    open_quantity: Decimal
    reserved: Decimal
    step: Decimal
    quantity_min: Decimal
    close_min: Decimal
    close_worth_min: Decimal


ENDED = Query(
    EndedRow,
    f"""
SELECT o.id, o.aggregate_id, o.quantity, o.filled_quantity AS filled,
  coalesce(o.avg_fill_price, 0) AS price, coalesce(p.opened_quantity, 0) AS opened,
  coalesce(p.quantity, 0) AS open_quantity, coalesce(p.reserved, 0) AS reserved,
  {MINIMUM_COLUMNS}
FROM execution_order o
{connection_join_sql("o.connection_id")}
{instrument_join_sql("o.symbol")}
LEFT {entry_position_join_sql("o")}
WHERE o.aggregate_id = ANY(%s::bigint[]) AND NOT EXISTS (SELECT FROM execution_order m
  WHERE m.aggregate_id = o.aggregate_id AND m.done_at IS NULL)
ORDER BY o.aggregate_id, o.id
""",
)

FILLS = Query(
    MemberFill,
    """
SELECT order_id, connection_id::text, broker_fill_id, side, quantity, price, commission,
  commission_currency, commission_rate, commission_rate_at, fee_in_base, time, inferred, revision,
  swap
FROM execution_fill WHERE order_id = ANY(%s::bigint[])
""",
)
# First: another member may take over the id.
DELETE = """
DELETE FROM execution_fill f USING unnest(%s::bigint[], %s::text[]) AS d(order_id, broker_fill_id)
WHERE f.order_id = d.order_id AND f.broker_fill_id = d.broker_fill_id
"""
UPSERT = """
INSERT INTO execution_fill (order_id, connection_id, broker_fill_id, side, quantity, price,
  commission, commission_currency, commission_rate, commission_rate_at, fee_in_base, time, inferred,
  revision, swap)
SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::text[], %s::text[], %s::numeric[],
  %s::numeric[], %s::numeric[], %s::text[], %s::numeric[], %s::timestamptz[], %s::numeric[],
  %s::timestamptz[], %s::boolean[], %s::int[], %s::numeric[])
ON CONFLICT (connection_id, broker_fill_id) DO UPDATE SET quantity = EXCLUDED.quantity,
  price = EXCLUDED.price, commission = EXCLUDED.commission, fee_in_base = EXCLUDED.fee_in_base,
  time = EXCLUDED.time, swap = EXCLUDED.swap
"""

# Exits of all of a position that were never sent. One that another session has locked is being sent
# as it is: then another exit closes the rest.
WHOLE_EXITS = Query(
    IdRow,
    f"""
SELECT x.id FROM execution_order o {entry_position_join_sql("o")}
JOIN execution_order x ON x.position_id = p.id AND x.status = 'PENDING'
  AND x.client_order_id IS NULL AND x.quantity = p.quantity
WHERE o.id = ANY(%s::bigint[])
ORDER BY x.id FOR NO KEY UPDATE OF x SKIP LOCKED
""",
)
GROW_EXITS = f"""
UPDATE execution_order x SET quantity = p.quantity
FROM execution_order e {position_join_sql("e.position_id")}
WHERE e.id = ANY(%s) AND x.id = e.id
"""


def settle_ended(aggregates: Collection[int]) -> None:
    """Move shares between the members of those of these aggregates that have ended.

    Must run in the transaction that has locked the members.
    """
    ended = rows(ENDED, (array(sorted(aggregates)),)) if aggregates else []
    for _, group in groupby(ended, key=lambda row: row.aggregate_id):
        members = list(group)
        step = members[0].step
        moves = moves_at_end([_holding(row) for row in members], partial(allot, step=step))
        if moves:
            _move([row.id for row in members], moves)


def _holding(row: EndedRow) -> Holding:
    """Return what a member has; what live exits may still close of it is not to spare."""
    least = least_closable(row)
    floor = min(least, row.quantity)
    free = min(row.filled - floor, row.open_quantity - row.reserved - least)
    return Holding(
        order_id=row.id,
        filled=row.filled,
        floor=floor,
        spare=floor_to_step(free, row.step) if free > 0 and row.step > 0 else max(free, ZERO),
        may_get=row.opened > 0 and row.open_quantity == row.opened,
    )


def _move(order_ids: Sequence[int], moves: Sequence[ShareMove]) -> None:
    """Write moves to the fills, orders and positions of an aggregate."""
    positions = lock_positions_of(order_ids)
    before = rows(FILLS, (array(order_ids),))
    after = after_moves(before, moves)
    _write_fills(before, after)
    exits = rows(WHOLE_EXITS, (array(move.getter for move in moves),))
    concerned = {order_id for move in moves for order_id in (move.giver, move.getter)}
    loaded = rows(sql.LOAD, {"ids": sorted(concerned), "client_order_ids": "{}"})
    changes = []
    for row in loaded:
        change = OrderChange(row, state_of(row), delta=_delta(row.id, before, after))
        move_share(change, _detail(row.id, moves))
        changes.append(change)
    write(changes)
    rebuild_positions(sorted(concerned))
    if any(fill.swap for fill in before):
        update_position_swaps(sorted(concerned))
    if exits:
        run(GROW_EXITS, ([row.id for row in exits],))
    recompute_reserved_locked(positions)
    log.info("shares of an aggregate have moved", moves=[tuple(move) for move in moves])


def _write_fills(before: Sequence[MemberFill], after: Sequence[MemberFill]) -> None:
    kept = {(fill.order_id, fill.broker_fill_id) for fill in after}
    gone = [
        (fill.order_id, fill.broker_fill_id) for fill in before
        if (fill.order_id, fill.broker_fill_id) not in kept
    ]  # fmt: skip
    if gone:
        run(DELETE, columns(gone, 2))
    unchanged = set(before)
    run(UPSERT, columns([fill for fill in after if fill not in unchanged], 15))
    had, has = inferred_of(before), inferred_of(after)
    inferred = [
        (order_id, has.get(order_id, ZERO)) for order_id in sorted({*had, *has})
        if had.get(order_id) != has.get(order_id)
    ]  # fmt: skip
    if inferred:
        run(SET_INFERRED_QUANTITY, columns(inferred, 2))


def _delta(order_id: int, before: Sequence[MemberFill], after: Sequence[MemberFill]) -> FillDelta:
    """Return what changes of an order's fills."""
    delta = FillDelta(corrected=1)
    for sign, fills in ((-1, before), (1, after)):
        for fill in fills:
            if fill.order_id == order_id:
                delta.count(sign, fill)
    delta.inferred = inferred_of(after).get(order_id, ZERO)
    delta.times = [fill.time for fill in after if fill.order_id == order_id]
    return delta


def _detail(order_id: int, moves: Sequence[ShareMove]) -> str:
    """Describe what an order got or gave."""
    got = [f"Got {plain(m.quantity)} from O-{m.giver}." for m in moves if m.getter == order_id]
    gave = [f"Gave {plain(m.quantity)} to O-{m.getter}." for m in moves if m.giver == order_id]
    return " ".join((*got, *gave))
