"""What brokers hold, asked for the positions about which somebody has to know it now.

An exit that could reverse a position, a level that its broker should have executed, a position
whose number nobody told: each sets `broker_check_due_at`. The calls run on the dispatcher; a
broker that is
slow to answer keeps nobody else waiting. A failed read proves nothing and is tried again.
"""

from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from brokers.registry import adapter_for
from brokers.types import BrokerPosition
from common.sql import columns, rows, run
from connections.selectors import SPEC_COLUMNS, spec_from_row
from connections.session_lanes import held_lanes_parameters, in_held_lanes_sql
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.exits.reservations import lock_positions
from execution.runtime import trading_runtime

ZERO = Decimal(0)


class BrokerQuantity(NamedTuple):
    """What a broker certainly holds of a position, and the broker's number of it. is_shared: shares
    of other positions, or of entries without an outcome, were taken off the broker's quantity."""

    quantity: Decimal
    number: str
    is_shared: bool


# Who asks claims the rows for the time that the call may take.
CLAIM = f"""
WITH due AS (
  SELECT id FROM positions_executionposition
  WHERE broker_check_due_at <= statement_timestamp() AND {in_held_lanes_sql("connection_id")}
  ORDER BY broker_check_due_at LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
), asked AS (
  UPDATE positions_executionposition p SET broker_check_due_at =
    CASE WHEN p.quantity > 0 THEN clock_timestamp() + make_interval(secs => %(longest)s) END
  FROM due WHERE p.id = due.id
  RETURNING p.id, p.connection_id, p.broker_check_due_at
)
SELECT c.id AS connection_id, array_agg(a.id) AS position_ids, clock_timestamp() AS began,
  {SPEC_COLUMNS}, c.broker_host, c.lane
FROM asked a JOIN connections_executionconnection c ON c.id = a.connection_id
WHERE a.broker_check_due_at IS NOT NULL GROUP BY c.id
"""

RETRY = """
UPDATE positions_executionposition
  SET broker_check_due_at = clock_timestamp() + interval '2 seconds'
WHERE id = ANY(%s) AND broker_check_due_at IS NOT NULL
"""

OURS = """
SELECT p.id, p.symbol, p.side, p.quantity, p.broker_position_id, e.client_order_id
FROM positions_executionposition p
JOIN execution_order e ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id
  AND e.leg = 'entry' AND e.leg LIKE 'entry%%'
WHERE p.connection_id = %s AND p.quantity > 0
"""

# What may have filled, and be part of a netted position, without our having been told.
ENTERING = """
SELECT o.symbol, o.side, sum(o.quantity - o.filled_quantity) AS quantity
FROM execution_order o JOIN connections_accountsnapshot a ON a.connection_id = o.connection_id
WHERE o.connection_id = %s AND o.position_id IS NULL AND o.status IN ('SUBMITTING', 'UNKNOWN')
  AND a.position_mode = 'NETTING'
GROUP BY o.symbol, o.side
"""

WRITE = """
UPDATE positions_executionposition p SET broker_quantity = d.held,
  broker_quantity_is_shared = d.is_shared,
  broker_checked_at = %s, broker_check_due_at = NULL,
  broker_position_id = coalesce(nullif(d.number, ''), p.broker_position_id)
FROM unnest(%s::bigint[], %s::numeric[], %s::text[], %s::boolean[])
  AS d(id, held, number, is_shared)
WHERE p.id = d.id AND (p.broker_checked_at IS NULL OR p.broker_checked_at < %s)
"""

UNBLOCKED = """
UPDATE execution_order SET due_at = least(due_at, clock_timestamp())
WHERE id IN (SELECT id FROM execution_order
  WHERE position_id = ANY(%s) AND status = 'PENDING' AND send_retries = 0
    ORDER BY id FOR NO KEY UPDATE)
RETURNING id
"""


_unblocked: deque[int] = deque()
"""Exits that may go on because of what was read: from the report writer to the next look."""


def refresh() -> list[int]:
    """Have brokers asked what is wanted, without waiting; return ids of exits that may go on."""
    background_calls = trading_runtime.get_runtime().dispatcher.background_calls
    background_calls.start(
        [
            BackgroundCall(
                ("holdings", *row.position_ids), row, partial(_read, row), _write_results
            )
            for row in rows(
                CLAIM, {"longest": background_calls.max_seconds(), **held_lanes_parameters()}
            )
        ]
    )
    unblocked = []
    while _unblocked:
        unblocked.append(_unblocked.popleft())
    return unblocked


def _read(row: Any) -> Coroutine[Any, Any, list[BrokerPosition]]:
    return adapter_for(row.type).positions(spec_from_row(row))


def _write_results(done: Sequence[CallResult]) -> None:
    """Write down what the brokers hold. A failed read proves nothing and is made again."""
    if failed := [one for d in done if d.failed for one in d.about.position_ids]:
        run(RETRY, (failed,))
    for one in done:
        if not one.failed:
            known = _write(one.about, one.answer)
            _unblocked.extend(row.id for row in rows(UNBLOCKED, (known,)))


def _write(request: Any, theirs: list[BrokerPosition]) -> list[int]:
    """Keep what the broker holds of the positions that were asked about; return those."""
    connection_id: UUID = request.connection_id
    began: datetime = request.began
    ours = {row.id: row for row in rows(OURS, (connection_id,))}
    entering = {(r.symbol, r.side): r.quantity for r in rows(ENTERING, (connection_id,))}
    records = [
        (position.id, *broker_quantity_of(position, list(ours.values()), theirs, entering))
        for position_id in request.position_ids
        if (position := ours.get(position_id)) is not None
    ]
    if records:
        with transaction.atomic():
            lock_positions([record[0] for record in records])
            run(WRITE, (began, *columns(records, 4), began))
    return [record[0] for record in records]


def broker_quantity_of(
    position: Any,
    ours: Sequence[Any],
    theirs: Sequence[BrokerPosition],
    entering: Mapping[tuple[str, str], Decimal],
) -> BrokerQuantity:
    """Return how much of a position its broker certainly holds. Pure.

    Where several of ours are one there, the others' shares come off first: what is missing may be
    this one's. So does what may be entering it at this moment.
    """
    ticket = _ticket_of(position, ours, theirs)
    if ticket is None or ticket.side != position.side:
        return BrokerQuantity(ZERO, "", is_shared=False)
    number = ticket.broker_position_id
    others = sum(
        (
            other.quantity
            for other in ours
            if other.id != position.id
            and _may_be_in(other, number, position.symbol)
            and not _is_its_own(other, theirs)
        ),
        ZERO,
    )
    others += entering.get((position.symbol, position.side), ZERO)
    certain = max(ZERO, min(position.quantity, ticket.quantity - others))
    return BrokerQuantity(certain, number, is_shared=others > 0)


def _ticket_of(
    position: Any, ours: Sequence[Any], theirs: Sequence[BrokerPosition]
) -> BrokerPosition | None:
    if number := position.broker_position_id:  # its broker may call it otherwise by now
        return next((t for t in theirs if t.broker_position_id == number), None)
    same = [ticket for ticket in theirs if ticket.symbol == position.symbol]
    named = [t for t in same if t.client_order_id == position.client_order_id]
    if named:
        return named[0]
    # Not named: it is the only one there is, and no other position of ours is known to be it.
    taken = {other.broker_position_id for other in ours if other.broker_position_id}
    unnamed = [t for t in same if not t.client_order_id]
    netted = len(unnamed) == 1 and (
        not unnamed[0].broker_position_id or unnamed[0].broker_position_id not in taken
    )
    return unnamed[0] if netted else None


def _may_be_in(other: Any, number: str, symbol: str) -> bool:
    """Whether a position of ours is part of the broker's with this number, or may be."""
    known: str = other.broker_position_id
    return known == number if known else other.symbol == symbol


def _is_its_own(other: Any, theirs: Sequence[BrokerPosition]) -> bool:
    """Whether a position whose number we do not know has a ticket of its own."""
    return not other.broker_position_id and any(
        ticket.client_order_id == other.client_order_id for ticket in theirs
    )
