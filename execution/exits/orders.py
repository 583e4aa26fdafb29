"""Exit orders: they reserve their quantity by compare-and-set, so that no position is over-closed.

Every exit is written here, whether a CLOSE signal, its owner or a level that was hit requests it:
the position row is locked, its free quantity is read, and the order row and the reservation are
written in one transaction. Above the broker's largest order there are several rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common.db.sql import IdRow, Query, array, columns, rows, run
from common.failpoints import failpoint
from common.money import floor_to_step, plain
from common.reason_codes import Code
from connections.selectors import close_minimum_sql, connection_join_sql, instrument_join_sql
from execution.base.statements import is_partly_known_sql
from execution.exits.legs import NUMBERED, SIGNAL
from execution.exits.order_sizes import leg_of_order, order_sizes, target_of_leg_sql
from execution.exits.trade_parts import Ticket, allot_part
from positions.broker_levels import END_TARGETS
from positions.joins import open_of_signal_sql
from positions.quantities import reserve_sql
from positions.row_locks import lock_with_free_quantity

MOST_DETAIL = 300  # characters


@dataclass(frozen=True, slots=True)
class ExitRequest:
    """A request to close a position or a part of it. leg: `sl`, `tp-2`; those of
    `legs.NUMBERED` are numbered here.

    fraction: of the opened quantity or, with of_free, of the free quantity, which is open and not
    reserved by other exits. None closes all of the free quantity. Requests with of_free are of one
    signal: what an account holds of it in several positions counts as one. quantity: base units, in
    place of a fraction. signal_id: the CLOSE signal, if one requests it.
    """

    position_id: int
    leg: str
    fraction: Decimal | None = None
    code: Code = Code.CREATED
    detail: str = ""
    of_free: bool = False
    quantity: Decimal | None = None
    signal_id: int | None = None


class Exit(NamedTuple):
    """An exit order that was written. quantity: base units."""

    order_id: int
    position_id: int
    connection_id: UUID
    quantity: Decimal


class ExitablePosition(NamedTuple):
    """A position to exit from, in base units. step, minimum and maximum (of one
    order): 0 where the broker lists none.

    is_rounded: the claim rounds exits down to whole steps. target_filled: what exits of the next
    target have filled; more than 0 if others of the same request have failed. legs: of all its
    exits. live_legs: of those of which more may fill, without the suffixes of repeated exits and of
    further orders: `tp-2` for `tp-2.3` and `tp-2+2`.
    """

    id: int
    connection_id: UUID
    quantity: Decimal
    reserved: Decimal
    opened_quantity: Decimal
    side: str
    tp_number: int
    step: Decimal
    minimum: Decimal
    maximum: Decimal
    is_rounded: bool
    target_filled: Decimal
    legs: list[str] | None
    live_legs: list[str] | None


# A separate statement: it must see what the previous holder of the lock committed.
LOAD = Query(
    ExitablePosition,
    f"""
SELECT p.id, p.connection_id, p.quantity, p.reserved, p.opened_quantity, p.side, p.tp_number,
  coalesce(i.quantity_step, 0) AS step,
  coalesce({close_minimum_sql("p.entry_price")}, 0) AS minimum,
  coalesce(i.quantity_max, 0) AS maximum, coalesce(i.close_min, 0) > 0 AS is_rounded,
  (SELECT coalesce(sum(o.filled_quantity), 0) FROM execution_order o WHERE o.position_id = p.id
    AND {target_of_leg_sql("o.leg")} = 'tp-' || p.tp_number) AS target_filled,
  (SELECT array_agg(o.leg) FROM execution_order o WHERE o.position_id = p.id) AS legs,
  (SELECT array_agg({target_of_leg_sql("o.leg")}) FROM execution_order o
   WHERE o.position_id = p.id AND (o.done_at IS NULL OR {is_partly_known_sql("o")})) AS live_legs
FROM positions_executionposition p
{connection_join_sql("p.connection_id")}
{instrument_join_sql("p.symbol")}
WHERE p.id = ANY(%s) ORDER BY p.id
""",
)

_RESERVE = reserve_sql(
    "requested",
    returning="""p.id, p.connection_id, coalesce(requested.signal_id, p.signal_id) AS signal_id,
    p.pair, p.symbol, p.side, requested.legs, requested.sizes, requested.code, requested.detail""",
)

WRITE = Query(
    Exit,
    f"""
WITH requested AS (
  SELECT * FROM unnest(%s::bigint[], %s::numeric[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::bigint[]) AS t(position_id, quantity, legs, sizes, code, detail, signal_id)
), reserved AS (
  {_RESERVE}
), written AS (
  INSERT INTO execution_order (signal_id, connection_id, position_id, leg, priority, pair, symbol,
    side, order_type, time_in_force, quantity, due_at, enqueued_at, detail)
  SELECT signal_id, connection_id, id, one.leg, 1, pair, symbol,
    CASE side WHEN 'BUY' THEN 'SELL' ELSE 'BUY' END, 'MARKET', 'GTC', one.size,
    clock_timestamp(), clock_timestamp(), left(detail, {MOST_DETAIL})
  FROM reserved CROSS JOIN LATERAL
    unnest(legs::text[], sizes::numeric[]) WITH ORDINALITY AS one(leg, size, number)
  ORDER BY id, one.number
  RETURNING id, signal_id, connection_id, position_id, quantity, leg, detail
), logged AS (
  INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
  SELECT w.id, w.signal_id, w.connection_id, r.code, 'PENDING', w.detail
  FROM written w JOIN reserved r ON r.id = w.position_id
)
SELECT id AS order_id, position_id, connection_id, quantity FROM written ORDER BY id
""",
)

OPEN_OF_SIGNAL = Query(
    IdRow,
    f"SELECT id FROM positions_executionposition WHERE {open_of_signal_sql('%s')}",
)


def open_exits(
    requests: Sequence[ExitRequest],
    *,
    skip_locked: bool = False,
    are_locked: bool = False,
) -> list[Exit]:
    """Write an exit order for each request whose position has a free quantity.

    Where that is more than the broker takes in one order, several are written; the result has them
    one after the other. Must run in a transaction. At most one request for each position.
    skip_locked: for sweeps; a position that another session has locked is left to the next run.
    are_locked: the caller has locked the positions.
    """
    by_position = {request.position_id: request for request in requests}
    if not by_position:
        return []
    locked = list(by_position)
    if not are_locked:
        locked = lock_with_free_quantity(by_position, skip_locked=skip_locked)
    loaded = rows(LOAD, (locked,), planned_once=True)
    requested = [(position, by_position[position.id]) for position in loaded]
    if over := {
        one.id: request.fraction for one, request in requested if _is_target_over(one, request)
    }:
        run(END_TARGETS, (list(over), list(over.values())))
    parts = _parts_of_trades(loaded, by_position)
    records = [
        record
        for one, request in requested
        if one.id not in over and (record := _record(one, request, parts.get(one.id))) is not None
    ]
    if not records:
        return []
    written = rows(WRITE, columns(records, 7), planned_once=True)
    failpoint("exits.written")
    return written


def close_all_of_signal(*, refers_to: int | None, fraction: Decimal, signal_id: int) -> list[Exit]:
    """Write exits for the given fraction of what is open of every position of a signal.

    refers_to: the OPEN signal. signal_id: the CLOSE signal.
    """
    part = None if fraction == 1 else fraction
    requests = [
        ExitRequest(row.id, SIGNAL, part, of_free=True, signal_id=signal_id)
        for row in rows(OPEN_OF_SIGNAL, (refers_to,), planned_once=True)
    ]
    return open_exits(requests)


def next_leg(leg: str, taken: Sequence[str]) -> str:
    """Return a leg name that is not taken: `sl`, then `sl-2`; `close`, `owner` and others from 1.

    >>> next_leg("owner", ["owner-1"]), next_leg("sl", []), next_leg("sl", ["sl"])
    ('owner-2', 'sl', 'sl-2')
    """
    if leg not in NUMBERED and leg not in taken:
        return leg
    first, separator = (1, "-") if leg in NUMBERED else (2, "-" if leg == "sl" else ".")
    number = first
    while f"{leg}{separator}{number}" in taken:
        number += 1
    return f"{leg}{separator}{number}"


def exit_quantity(position: ExitablePosition, request: ExitRequest) -> Decimal:
    """Return how much an exit may take: all that is free, or the requested fraction. Base units.

    A part is floored to the broker's step. An exit that would leave less than the smallest
    quantity takes all. Of a target, what its earlier exits have filled is not closed again.
    """
    free = position.quantity - position.reserved
    if _closes_all(request):
        return free
    requested = max(_requested_part(position, request), position.minimum)
    return free if free - requested < max(position.minimum, position.step) else min(requested, free)


def _closes_all(request: ExitRequest) -> bool:
    return request.quantity is None and (request.fraction is None or request.fraction >= 1)


def _requested_part(position: ExitablePosition, request: ExitRequest) -> Decimal:
    """Return the part of a position that a request names, floored to the broker's step."""
    if request.quantity is not None:
        requested = request.quantity
    else:
        free = position.quantity - position.reserved
        whole = free if request.of_free else position.opened_quantity
        requested = whole * (request.fraction or 0)
        if request.leg.startswith("tp-"):
            requested = max(requested - position.target_filled, Decimal(0))
    return floor_to_step(requested, position.step) if position.step > 0 else requested


def exitable(position_id: int) -> ExitablePosition:
    """Return a position as an exit would find it now. Lock it first if it must stay like that."""
    [found] = rows(LOAD, ([position_id],))
    return found


def _parts_of_trades(
    positions: Sequence[ExitablePosition], requests: Mapping[int, ExitRequest]
) -> dict[int, Decimal]:
    """Return what partial closes take of positions that are a trade together with others."""
    trades: dict[UUID, list[ExitablePosition]] = {}
    for position in positions:
        if requests[position.id].of_free and requests[position.id].fraction is not None:
            trades.setdefault(position.connection_id, []).append(position)
    parts: dict[int, Decimal] = {}
    for trade in trades.values():
        if len(trade) == 1:
            continue
        whole = trade[0]._replace(
            quantity=sum((p.quantity for p in trade), Decimal(0)),
            reserved=sum((p.reserved for p in trade), Decimal(0)),
        )
        tickets = [Ticket(p.id, p.quantity - p.reserved) for p in trade]
        part = exit_quantity(whole, requests[whole.id])
        taken = allot_part(tickets, part, smallest=max(whole.minimum, whole.step))
        parts |= {position.id: taken.get(position.id, Decimal(0)) for position in trade}
    return parts


def _record(
    position: ExitablePosition, request: ExitRequest, part: Decimal | None
) -> tuple[int, Decimal, str, str, str, str, int | None] | None:
    quantity = exit_quantity(position, request) if part is None else part
    if quantity <= 0 or _is_superseded_target(position, request):
        return None
    sizes = order_sizes(
        quantity,
        maximum=position.maximum,
        minimum=position.minimum,
        step=position.step,
        is_rounded=position.is_rounded,
    )
    leg, detail = next_leg(request.leg, position.legs or []), request.detail
    legs = [leg_of_order(leg, number) for number in range(1, len(sizes) + 1)]
    if len(sizes) > 1:
        why = f"{plain(quantity)} by {len(sizes)} orders: the broker takes no more in one"
        detail = f"{detail[: MOST_DETAIL - len(why) - 2]}; {why}" if detail else why
    return (
        position.id, quantity, array(legs), array(sizes), request.code.value, detail,
        request.signal_id,
    )  # fmt: skip


def _is_superseded_target(position: ExitablePosition, request: ExitRequest) -> bool:
    """Return whether a target has a live exit already, or is no longer the next target.

    Two monitors may see the same hit, and the level stays until its exit has filled. Without this
    check, made under the position's lock, each scan would close another part.
    """
    if not request.leg.startswith("tp-"):
        return False
    return request.leg in (position.live_legs or ()) or request.leg != f"tp-{position.tp_number}"


def _is_target_over(position: ExitablePosition, request: ExitRequest) -> bool:
    """Return whether nothing is left of the next target that could be closed, of which exits have
    filled a part.

    So it may be if one of them failed, if a MODIFY has given the target a smaller part since, or if
    a late fill has given it a little more.
    """
    if not request.leg.startswith("tp-") or _is_superseded_target(position, request):
        return False
    if position.target_filled <= 0 or _closes_all(request):
        return False
    left = _requested_part(position, request)
    return left <= 0 or left < max(position.minimum, position.step)
