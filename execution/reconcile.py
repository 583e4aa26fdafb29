"""Reconciliation: the union of what we hold and what the broker holds, account by account.

A failed or partial read proves nothing. What the broker lacks counts only when it was missing in
two reads that began after our last activity on it, with nothing in flight. Differences become
drift items; a position that is gone at the broker is closed here and never reopened.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from brokers.base import BrokerPosition
from brokers.places import Places
from brokers.registry import adapter_for
from common.codes import Code
from common.faults import point
from common.sql import rows, run
from connections.selectors import spec_from_row
from execution import runtime
from execution.drift import Record, write_all
from execution.events import drain_first
from execution.missing import settle_missing

log = structlog.get_logger(__name__)
AT_ONCE, AT_ONE_HOST = 200, 50
LONGEST_SECONDS = 300

CONNECTIONS = """
SELECT c.id AS connection_id, c.type, c.account, c.exchange_name, c.settings, c.sealed_credentials,
  c.broker_host, coalesce(c.user_id, c.admin_id) AS owner_id
FROM connections_executionconnection c JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.is_active AND c.archived_at IS NULL AND h.status = 'ACTIVE'
  AND (cardinality(%(ids)s::uuid[]) = 0 OR c.id = ANY(%(ids)s::uuid[]))
  AND (NOT %(first)s OR h.reconciled_at IS NULL)
"""

OURS = """
SELECT p.id, p.connection_id, p.symbol, p.side, p.quantity, p.broker_position_id, p.sl, p.tp,
  p.sl_guardian, p.touched_at, p.missing_since, EXISTS (
    SELECT FROM execution_order o WHERE o.connection_id = p.connection_id
      AND o.status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED',
        'CANCEL_REQUESTED') AND (o.position_id = p.id OR o.signal_id = p.signal_id)) AS in_flight
FROM positions_executionposition p WHERE p.id IN (
  SELECT id FROM positions_executionposition WHERE connection_id = ANY(%s) AND quantity > 0
  UNION SELECT unnest(%s::bigint[]))
"""

OPEN = """
SELECT id FROM positions_executionposition WHERE connection_id = ANY(%s) AND quantity > 0
"""

# What the broker may hold already and we have not been told of.
ENTERING = """
SELECT DISTINCT connection_id, symbol FROM execution_order
WHERE connection_id = ANY(%s) AND position_id IS NULL
  AND status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
"""

CLEAN = """
UPDATE connections_connectionhealth SET reconciled_at = clock_timestamp()
WHERE connection_id = ANY(%s) AND reconciled_at IS NULL
"""

RESOLVE = """
UPDATE execution_driftitem SET state = 'RESOLVED', resolved_at = clock_timestamp(),
  resolution = 'Not seen any more by a clean comparison.'
WHERE state = 'OPEN' AND connection_id = ANY(%s) AND kind = ANY(%s) AND seen_at < %s
"""

COMPARED = [
    Code.UNKNOWN_POSITION.value,
    Code.POSITION_MISSING.value,
    Code.QUANTITY_DIFFERS.value,
]


def reconcile_all() -> int:
    """Compare every active connection; return how many differences were seen."""
    return reconcile()


def reconcile_new() -> int:
    """Compare the connections that have not been since they (re)connected: the startup gate."""
    return reconcile(first_only=True)


def reconcile(connection_ids: Sequence[UUID] = (), *, first_only: bool = False) -> int:
    """Compare connections (all active ones unless named) with their brokers.

    Returns how many differences were seen. A connection whose read failed is left as it is.
    """
    compared = rows(CONNECTIONS, {"ids": list(connection_ids), "first": first_only})
    if not compared:
        return 0
    # What the broker has told already is no difference; what it cannot tell now may be one.
    unheard = drain_first()
    compared = [row for row in compared if row.type not in unheard]
    if not compared:
        return 0
    began = rows("SELECT clock_timestamp() AS now")[0].now
    before = [row.id for row in rows(OPEN, ([row.connection_id for row in compared],))]
    answers = runtime.present().wire.ask(_read_all(compared), LONGEST_SECONDS)
    read = {
        row.connection_id: answer
        for row, answer in zip(compared, answers, strict=True)
        if isinstance(answer, list)
    }
    point("reconcile.read")
    return _compare(read, before, began) if read else 0


async def _read_all(compared: Sequence[Any]) -> list[list[BrokerPosition] | BaseException]:
    places = Places(in_all=AT_ONCE, per_host=AT_ONE_HOST)

    async def one(row: Any) -> list[BrokerPosition]:
        async with (
            places.of(row.broker_host),
            asyncio.timeout(settings.FILLCAST_CALL_TIMEOUT_SECONDS),
        ):
            return await adapter_for(row.type).positions(spec_from_row(row))

    return await asyncio.gather(*(one(row) for row in compared), return_exceptions=True)


def _compare(read: dict[UUID, list[BrokerPosition]], before: Sequence[int], began: datetime) -> int:
    """before: what was open when the reads began; the broker may show what has closed since."""
    ours: dict[UUID, list[Any]] = {connection_id: [] for connection_id in read}
    for row in rows(OURS, (list(read), list(before))):
        if row.connection_id in ours:
            ours[row.connection_id].append(row)
    entering = {(row.connection_id, row.symbol) for row in rows(ENTERING, (list(read),))}
    differences: list[Record] = []
    missing: list[Any] = []
    for connection_id, theirs in read.items():
        settled = [t for t in theirs if not _may_be_new(t, connection_id, ours, entering)]
        found, gone = differences_of(connection_id, ours[connection_id], settled, began)
        differences += found
        missing += gone
    settle_missing(missing, list(read), began)
    with transaction.atomic():
        if differences:
            write_all(differences)
        run(RESOLVE, (list(read), COMPARED, began))
        run(CLEAN, (list(read),))
    point("reconcile.committed")
    return len(differences)


def differences_of(
    connection_id: UUID, ours: Sequence[Any], theirs: Sequence[BrokerPosition], began: datetime
) -> tuple[list[Record], list[Any]]:
    """Compare one account. Returns drift records, and our positions that the broker lacks. Pure.

    Positions that were touched since the read began, or have something in flight, say nothing.
    Tickets are matched by the broker's position id; on netting accounts several of ours share one.
    """
    by_ticket: dict[str, list[Any]] = {}
    for position in ours:
        by_ticket.setdefault(position.broker_position_id, []).append(position)
    found: list[Record] = []
    for ticket in theirs:
        mine = by_ticket.pop(ticket.broker_position_id, [])
        if any(_moving(position, began) for position in mine):
            continue
        held = sum(p.quantity if p.side == ticket.side else -p.quantity for p in mine)
        if not mine:
            found.append(_difference(Code.UNKNOWN_POSITION, connection_id, None, ticket))
        elif held != ticket.quantity:
            found.append(
                _difference(Code.QUANTITY_DIFFERS, connection_id, mine[0], ticket, str(held))
            )
    gone = [p for group in by_ticket.values() for p in group if not _moving(p, began)]
    return found, gone


def _may_be_new(
    ticket: BrokerPosition,
    connection_id: UUID,
    ours: dict[UUID, list[Any]],
    entering: set[tuple[UUID, str]],
) -> bool:
    """Whether a ticket that we do not know may be an entry's whose answer is on its way."""
    known = {position.broker_position_id for position in ours[connection_id]}
    return ticket.broker_position_id not in known and (connection_id, ticket.symbol) in entering


def _moving(position: Any, began: datetime) -> bool:
    return bool(position.in_flight) or position.touched_at >= began


def _difference(
    code: Code, connection_id: UUID, position: Any, ticket: BrokerPosition, ours: str = "0"
) -> Record:
    evidence = {
        "symbol": ticket.symbol,
        "side": ticket.side.value,
        "ours": ours,
        "theirs": str(ticket.quantity),
        "broker_position_id": ticket.broker_position_id,
        "client_order_id": ticket.client_order_id,
    }
    position_id = position.id if position else None
    key = ticket.broker_position_id
    return code.value, str(connection_id), position_id, key, json.dumps(evidence)
