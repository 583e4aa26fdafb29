"""Reads of broker positions on request, for the rows whose `broker_check_due_at` is set.

It is set before an exit that could reverse a position, for a level that the broker should have
executed, and for a position without a broker position id. The calls run on the dispatcher, so a
slow broker delays no other. A failed read proves nothing and is repeated.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import transaction

from brokers.exit_reads import exit_read
from brokers.registry import adapter_for
from brokers.types import BrokerPosition
from common.clocks import machine_time
from common.db.sql import IdRow, Query, array, kept_plans, periodic_rows
from connections.selectors import SPEC_COLUMNS, LaneAccount, connection_join_sql, spec_from_row
from connections.session_lanes import held_lanes_parameters
from execution.base.statements import is_partly_known_sql, opening_entry_join_sql, sent_as_sql
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.runtime import trading_runtime
from execution.submission.deferral import prerequisites
from positions.broker_reads import CLAIM_READS_SQL, BrokerRead, retry_reads, store_reads
from positions.row_locks import lock_positions

log = structlog.get_logger(__name__)
ZERO = Decimal(0)


class BrokerQuantity(NamedTuple):
    """The quantity that a broker certainly holds of one of our positions.

    broker_position_id: "" if unknown. is_shared: quantities of other positions, or of entries
    without an outcome, were subtracted from the broker's quantity.
    """

    quantity: Decimal
    broker_position_id: str
    is_shared: bool


@dataclass(frozen=True, slots=True)
class DueRead(LaneAccount):
    """An account whose positions to read, and those of ours that need it. began: database time."""

    position_ids: list[int]
    began: datetime


class OurPosition(NamedTuple):
    """An open position of ours, with the id that the broker knows its entry by."""

    id: int
    connection_id: UUID
    symbol: str
    side: str
    quantity: Decimal
    broker_position_id: str
    client_order_id: str | None


class _ReadKey(NamedTuple):
    """Of one account two reads may be in flight: one that hangs does not hold up all others."""

    connection_id: UUID
    is_second: bool = False

    @property
    def other(self) -> "_ReadKey":
        return self._replace(is_second=not self.is_second)


class _Holdings(NamedTuple):
    """What an account holds. began: no later than when the broker was asked, by the database's
    clock. An exit needs a read that is a few seconds old: without the wait for a slot."""

    began: datetime
    positions: list[BrokerPosition]


class EnteringQuantity(NamedTuple):
    connection_id: UUID
    symbol: str
    side: str
    quantity: Decimal


CLAIM = Query(
    DueRead,
    f"""
{CLAIM_READS_SQL}
SELECT c.id AS connection_id, array_agg(d.id) AS position_ids, clock_timestamp() AS began,
  {SPEC_COLUMNS}, c.broker_host, c.lane
FROM claimed d {connection_join_sql("d.connection_id")}
WHERE d.broker_check_due_at IS NOT NULL GROUP BY c.id
""",
)

OURS = Query(
    OurPosition,
    f"""
SELECT p.id, p.connection_id, p.symbol, p.side, p.quantity, p.broker_position_id,
  {sent_as_sql("e")} AS client_order_id
FROM positions_executionposition p
{opening_entry_join_sql("p")}
WHERE p.connection_id = ANY(%s::uuid[]) AND p.quantity > 0
""",
)

# Entries without an outcome: they may have filled and be part of a netted position already.
ENTERING = Query(
    EnteringQuantity,
    f"""
SELECT o.connection_id, o.symbol, o.side, sum(o.quantity - o.filled_quantity) AS quantity
FROM (
  SELECT * FROM execution_order
  WHERE connection_id = ANY(%(ids)s::uuid[]) AND status IN ('SUBMITTING', 'UNKNOWN')
  UNION ALL
  SELECT * FROM execution_order o
  WHERE connection_id = ANY(%(ids)s::uuid[]) AND {is_partly_known_sql("o")}
) o JOIN connections_accountsnapshot a ON a.connection_id = o.connection_id
WHERE o.position_id IS NULL AND a.position_mode = 'NETTING'
GROUP BY o.connection_id, o.symbol, o.side
""",
)

UNBLOCKED = Query(
    IdRow,
    """
UPDATE execution_order SET due_at = least(due_at, clock_timestamp())
WHERE id IN (SELECT id FROM execution_order
  WHERE position_id = ANY(%s) AND status = 'PENDING' AND send_retries = 0
    ORDER BY id FOR NO KEY UPDATE)
RETURNING id
""",
)


_unblocked: deque[int] = deque()
"""Exits that a stored read allows: filled by the report writer, taken by the next `refresh`."""


def refresh() -> list[int]:
    """Start the reads that are due; return ids of exits that earlier reads allow.

    Does not wait for brokers.
    """
    background_calls = trading_runtime.get_runtime().dispatcher.background_calls
    keys = {key for key in background_calls.keys_in_flight() if isinstance(key, _ReadKey)}
    due = periodic_rows(
        CLAIM,
        {
            "longest": background_calls.max_seconds(),
            "reading": array(key.connection_id for key in keys if key.other in keys),
            **held_lanes_parameters(),
        },
    )
    claimed_at = machine_time()
    background_calls.start(
        [
            BackgroundCall(
                key.other if key in keys else key,
                row,
                partial(_read, row, claimed_at),
                _write_results,
            )
            for row in due
            for key in [_ReadKey(row.connection_id)]
        ]
    )
    unblocked = []
    while _unblocked:
        unblocked.append(_unblocked.popleft())
    return unblocked


async def _read(row: DueRead, claimed_at: float) -> _Holdings:
    """Read an account's positions. claimed_at: machine_time() after the claim."""
    waited = timedelta(seconds=machine_time() - claimed_at)  # for a slot
    with exit_read():
        held = await adapter_for(row.type).positions(spec_from_row(row))
    return _Holdings(row.began + waited, held)


def _write_results(done: Sequence[CallResult]) -> None:
    """Store what the brokers hold and schedule failed reads again."""
    if failed := [result for result in done if result.failed]:
        log.warning(
            "positions not read at their brokers; they are read again",
            calls=len(failed),
            connection=failed[0].about.connection_id,
            why=repr(failed[0].answer),
        )
        retry_reads([id_ for result in failed for id_ in result.about.position_ids])
    if answered := [(result.about, result.answer) for result in done if not result.failed]:
        stored = _store(answered)
        if unblocked := periodic_rows(UNBLOCKED, (stored,)):
            _unblocked.extend(row.id for row in unblocked)
            prerequisites.set()


def _store(answered: Sequence[tuple[DueRead, _Holdings]]) -> list[int]:
    """Store what brokers hold of the requested positions; return the ids stored.

    All accounts at once: an exit that waits for its read cannot wait for those of a hundred others.
    """
    accounts = array({request.connection_id for request, _ in answered})
    ours: dict[UUID, dict[int, OurPosition]] = defaultdict(dict)
    for row in periodic_rows(OURS, (accounts,)):
        ours[row.connection_id][row.id] = row
    entering: dict[UUID, dict[tuple[str, str], Decimal]] = defaultdict(dict)
    for entry in periodic_rows(ENTERING, {"ids": accounts}):
        entering[entry.connection_id][entry.symbol, entry.side] = entry.quantity
    reads: dict[int, BrokerRead] = {}
    unread: list[int] = []
    for request, holdings in sorted(answered, key=lambda one: one[1].began):
        mine, others = ours[request.connection_id], entering[request.connection_id]
        for position_id in request.position_ids:
            position = mine.get(position_id)
            if position is not None and not is_readable_in(position.symbol, holdings.positions):
                unread.append(position_id)
            elif position is not None:
                quantity = broker_quantity_of(
                    position, list(mine.values()), holdings.positions, others
                )
                reads[position_id] = BrokerRead(position_id, holdings.began, *quantity)
    if reads:
        with transaction.atomic(), kept_plans():
            lock_positions(sorted(reads))
            store_reads(reads.values())
    if unread:
        retry_reads(unread)
    return list(reads)


def is_readable_in(symbol: str, theirs: Sequence[BrokerPosition]) -> bool:
    """Return whether no position that a broker could not state may be in a symbol. Pure."""
    return not any(not one.is_readable and one.symbol in ("", symbol) for one in theirs)


def broker_quantity_of(
    position: OurPosition,
    ours: Sequence[OurPosition],
    theirs: Sequence[BrokerPosition],
    entering: Mapping[tuple[str, str], Decimal],
) -> BrokerQuantity:
    """Return how much of a position its broker certainly holds. Pure.

    ours: the account's open positions; entering: quantity of entries without an outcome, by symbol
    and side. Where several of our positions share one broker position, the others' quantities are
    subtracted first, since a missing part may be this position's. The same holds for entering.
    """
    ticket = _ticket_of(position, ours, theirs)
    if ticket is None or ticket.side != position.side:
        return BrokerQuantity(ZERO, "", is_shared=False)
    broker_position_id = ticket.broker_position_id
    others = sum(
        (
            other.quantity
            for other in ours
            if other.id != position.id
            and _may_be_part_of(other, broker_position_id, position.symbol)
            and not _has_own_ticket(other, theirs)
        ),
        ZERO,
    )
    others += entering.get((position.symbol, position.side), ZERO)
    # The whole balance: a part of a step may be this position's once the others' are taken off.
    held = ticket.quantity if ticket.balance is None else ticket.balance
    certain = max(ZERO, min(position.quantity, held - others))
    return BrokerQuantity(certain, broker_position_id, is_shared=others > 0)


def _ticket_of(
    position: OurPosition, ours: Sequence[OurPosition], theirs: Sequence[BrokerPosition]
) -> BrokerPosition | None:
    known_id = position.broker_position_id
    known_ids = {other.broker_position_id for other in ours if other.broker_position_id}
    if known := [t for t in theirs if known_id and t.broker_position_id == known_id]:
        return known[0]  # brokers may change the client order id
    if known_id:  # numbered again: what carries the entry's id is the same position
        return next(
            (
                t
                for t in theirs
                if t.client_order_id
                and t.client_order_id == position.client_order_id
                and (t.symbol, t.side) == (position.symbol, position.side)
                and t.broker_position_id not in known_ids
            ),
            None,
        )
    same = [ticket for ticket in theirs if ticket.symbol == position.symbol]
    named = [t for t in same if t.client_order_id == position.client_order_id]
    if named:
        return named[0]
    # Without an id: the only ticket of the symbol, if it is no other position of ours.
    unnamed = [t for t in same if not t.client_order_id]
    netted = len(unnamed) == 1 and (
        not unnamed[0].broker_position_id or unnamed[0].broker_position_id not in known_ids
    )
    return unnamed[0] if netted else None


def _may_be_part_of(other: OurPosition, broker_position_id: str, symbol: str) -> bool:
    """Return whether a position of ours is, or may be, part of the broker's with this id."""
    known_id = other.broker_position_id
    return known_id == broker_position_id if known_id else other.symbol == symbol


def _has_own_ticket(other: OurPosition, theirs: Sequence[BrokerPosition]) -> bool:
    """Return whether a position without a broker position id has a ticket of its own."""
    return not other.broker_position_id and any(
        ticket.client_order_id == other.client_order_id for ticket in theirs
    )
