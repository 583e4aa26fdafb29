"""Reconciliation: the union of what we hold and what the broker holds, account by account.

Positions, orders and executions. A failed or partial read proves nothing. What the broker lacks
counts only when it was missing in two reads that began after our last activity on it, with nothing
in flight; executions that we have missed are applied as the facts they are. What is left becomes a
drift item; a position that is gone at the broker is closed here and never reopened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from common.bisection import process_with_bisection
from common.database_errors import is_database_trouble
from common.failpoints import failpoint
from common.money import plain
from common.reason_codes import Code
from common.sql import rows, run
from connections.exposure import is_monitored_sql
from connections.selectors import SPEC_COLUMNS
from connections.session_lanes import (
    IN_HELD_LANES_SQL,
    held_lanes_parameters,
    idle_parameters,
    not_idle_sql,
)
from execution.base.drift_items import DriftRecord, upsert_items
from execution.exits.levels_sql import differs, tick_of
from execution.ids import base_of
from execution.reconciliation import auto_correction
from execution.reconciliation.auto_resolve import resolve
from execution.reconciliation.compare import (
    NO_REMAINDERS,
    OF_POSITIONS,
    Differences,
    UnsellableRemainder,
    is_of,
    is_ours,
    positions_of,
)
from execution.reconciliation.missing_positions import settle_missing
from execution.reconciliation.open_orders import (
    ReconciliationRun,
    settle_orders,
    start_run,
    without_cancelled,
)
from execution.reports.levels import LevelStatement, write_levels
from execution.runtime import broker_queries
from execution.runtime.broker_queries import Snapshot
from execution.runtime.event_stream import drain_first
from execution.submission.deferral import wake, wake_look_ups

log = structlog.get_logger(__name__)
# Of accounts that wait for their comparison so many at once, in no fixed order, half of them those
# that a comparison was requested of: none waits for a long row of others that do not answer.
FIRST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ComparisonBatch:
    """What came of comparing some accounts. accounts: all whose turn it was, heard or not, with the
    time at which they were selected."""

    accounts: Mapping[UUID, datetime] = field(default_factory=dict)
    differences: int = 0


def connections_sql() -> str:
    """The accounts to compare: those that are asked for, and all that are watched. Those that had
    their turn are passed over until a comparison is requested and due after that."""
    return f"""
SELECT c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host, c.auto_correct, c.lane,
  statement_timestamp() AS selected_at
FROM connections_executionconnection c JOIN connections_connectionhealth h ON h.connection_id = c.id
LEFT JOIN execution_accountsyncstate r ON r.connection_id = c.id
WHERE c.archived_at IS NULL AND h.status = 'ACTIVE' AND {IN_HELD_LANES_SQL}
  AND (cardinality(%(ids)s::uuid[]) = 0 OR c.id = ANY(%(ids)s::uuid[]))
  AND NOT EXISTS (SELECT FROM unnest(%(done)s::uuid[], %(turns)s::timestamptz[]) AS d(id, turn_at)
    WHERE d.id = c.id AND NOT coalesce(
      r.reconcile_requested_at > d.turn_at AND r.reconcile_requested_at <= clock_timestamp(),
      false))
  AND (r.reconcile_requested_at <= clock_timestamp() OR h.reconciled_at IS NULL
    OR NOT %(first)s AND {not_idle_sql()})
  AND c.broker_host NOT IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
  AND (r.reconcile_requested_at <= clock_timestamp() OR {is_monitored_sql()})
ORDER BY CASE WHEN %(first)s THEN
  row_number() OVER (PARTITION BY r.reconcile_requested_at IS NULL ORDER BY random()) END, c.id
LIMIT CASE WHEN %(first)s THEN {FIRST_AT_ONCE} END
"""


OURS = f"""
SELECT p.id, p.connection_id, p.symbol, p.side, p.quantity, p.entry_price, p.pip,
  coalesce({tick_of("p")}, 0) AS tick,
  p.broker_position_id, p.broker_sl, p.broker_tp, p.opened_at, p.last_activity_at, p.missing_since,
  -- What the broker is being told of levels, and levels that make way for an exit, are our doing.
  p.protection_suspended OR coalesce(p.level_sync_due_at > clock_timestamp(), false) AS levels_move,
  NOT p.levels_given_up AND (p.sl_guardian = 'BROKER' AND {differs("p.sl", "p.broker_sl")}
    OR {differs("(CASE WHEN p.tp_guardian = 'BROKER' THEN p.tp END)", "p.broker_tp")}) AS untold,
  p.sl, p.tp, p.levels_reported_at, p.levels_given_up,
  p.sl_guardian = 'BROKER' AND p.sl IS NOT NULL AS sl_is_wanted,
  p.tp_guardian = 'BROKER' AND p.tp IS NOT NULL AS tp_is_wanted,
  -- Netted with another of ours at some time: the broker's average price is of both.
  a.position_mode IS DISTINCT FROM 'HEDGING' AND p.broker_position_id <> '' AND EXISTS (
    SELECT FROM positions_executionposition n
    WHERE n.connection_id = p.connection_id AND n.broker_position_id = p.broker_position_id
      AND n.broker_position_id <> ''  -- as `position_of_ticket` says it
      AND n.id <> p.id AND (n.quantity > 0 OR n.closed_at >= p.opened_at)) AS shared,
  (SELECT e.client_order_id FROM execution_order e WHERE e.signal_id = p.signal_id
    AND e.connection_id = p.connection_id AND e.leg = 'entry' AND e.leg LIKE 'entry%%'
  ) AS client_order_id,
  EXISTS (SELECT FROM execution_order o WHERE o.connection_id = p.connection_id
      AND o.status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED',
        'CANCEL_REQUESTED') AND (o.position_id = p.id OR o.signal_id = p.signal_id)) AS in_flight
FROM positions_executionposition p
LEFT JOIN connections_accountsnapshot a ON a.connection_id = p.connection_id
WHERE p.id = ANY(ARRAY(
  SELECT id FROM positions_executionposition
  WHERE connection_id = ANY(%(connections)s) AND quantity > 0
  UNION SELECT unnest(%(before)s::bigint[])))
ORDER BY p.id
"""

# Where balances are positions: what stays in them after a sale (`exits/dust.py`).
REMAINDERS = """
SELECT c.id AS connection_id, i.symbol, i.quantity_step AS step, i.close_min AS least,
  coalesce(o.dust, 0) AS dust
FROM connections_instrument i
JOIN connections_executionconnection c ON c.instrument_book = i.book
LEFT JOIN (  -- once for all symbols of an account, which may be thousands
  SELECT connection_id, symbol, sum(filled_quantity) AS dust FROM execution_order
  WHERE connection_id = ANY(%(connections)s) AND leg LIKE 'dust%%' GROUP BY connection_id, symbol
) o ON o.connection_id = c.id AND o.symbol = i.symbol
WHERE i.close_min > 0 AND c.id = ANY(%(connections)s)
"""

# What the broker may hold already and we have not been told of.
ENTERING = """
SELECT DISTINCT connection_id, symbol FROM execution_order
WHERE connection_id = ANY(%s) AND position_id IS NULL
  AND status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
"""

# Only a read counts that began after the connection came to be in error and after its last test,
# after it was switched on and its lane taken, and in a new epoch when nobody could be sending any
# more. A lost answer since then is no reason: its order is looked up, as on an account that trades.
CLEAN = """
UPDATE connections_connectionhealth SET reconciled_at = clock_timestamp()
WHERE connection_id = ANY(%(connections)s) AND reconciled_at IS NULL
  AND coalesce(greatest(errored_at, last_tested_at, monitored_since), '-infinity') < %(began)s
  AND connection_id NOT IN (
    SELECT c.id FROM connections_lanelease l JOIN connections_executionconnection c USING (lane)
    WHERE l.acquired_at > %(began)s AND c.lane <> '')
  AND NOT EXISTS (
    SELECT FROM connections_epoch WHERE released_at IS NULL AND answer_by > %(began)s)
RETURNING connection_id
"""

END_REQUESTS = """
UPDATE execution_accountsyncstate SET reconcile_requested_at = NULL, compared_at = %(began)s
WHERE connection_id IN (
  SELECT connection_id FROM execution_accountsyncstate
  WHERE connection_id = ANY(%(connections)s) AND reconcile_requested_at <= %(began)s
  ORDER BY connection_id FOR NO KEY UPDATE)
"""


def reconcile_all() -> int:
    """Compare every active connection; return how many differences were seen."""
    return reconcile()


def reconcile_new() -> int:
    """Compare the connections that have not been since they (re)connected, and those of which a
    comparison was requested: the startup gate. Some at a time, until all have had their turn; a
    second one in the same round is for those of which a comparison was requested since the first.
    """
    seen, done = 0, dict[UUID, datetime]()
    while True:
        batch = _compare_some((), first_only=True, done=done)
        seen += batch.differences
        done.update(batch.accounts)
        if len(batch.accounts) < FIRST_AT_ONCE:
            return seen


def reconcile(connection_ids: Sequence[UUID] = ()) -> int:
    """Compare connections (all active ones unless named) with their brokers.

    Returns how many differences were seen. Each is compared as soon as it has answered; one whose
    read failed is left as it is.
    """
    return _compare_some(connection_ids).differences


def _compare_some(
    connection_ids: Sequence[UUID],
    *,
    first_only: bool = False,
    done: Mapping[UUID, datetime] | None = None,
) -> ComparisonBatch:
    had = done or {}
    named = {
        "ids": list(connection_ids), "done": list(had), "turns": list(had.values()),
        "first": first_only,
    }  # fmt: skip
    accounts_due = rows(
        connections_sql(), {**named, **held_lanes_parameters(), **idle_parameters()}
    )
    if not accounts_due:
        return ComparisonBatch()
    turns = {row.connection_id: row.selected_at for row in accounts_due}
    # What the broker has told already is no difference; what it cannot tell now may be one.
    not_drained = drain_first()
    accounts = {row.connection_id: row for row in accounts_due if row.type not in not_drained}
    if not accounts:
        return ComparisonBatch(turns)
    run = start_run(accounts)
    differences = 0
    for read in broker_queries.snapshots(list(accounts.values())):
        failpoint("reconcile.read")
        differences += compare_with_bisection(run, read)
    return ComparisonBatch(turns, differences)


def compare_with_bisection(run: ReconciliationRun, read: dict[UUID, Snapshot]) -> int:
    """Compare accounts; return how many differences were seen.

    What a broker says of one account is never its neighbours' trouble: what breaks the comparison
    is left as it is. The database's trouble is raised.
    """

    def leave(connection_id: UUID, fault: Exception) -> int:
        log.error("an account cannot be compared", connection=str(connection_id), exc_info=fault)
        return 0

    def compare(ids: Sequence[UUID]) -> int:
        return _compare(run, {key: read[key] for key in ids})

    return sum(process_with_bisection(list(read), compare, leave, spared=is_database_trouble))


def _compare(look: ReconciliationRun, read: dict[UUID, Snapshot]) -> int:
    """Apply what explains differences, then write down what is left of them."""
    orders = settle_orders(look, {key: one.orders for key, one in read.items()})
    records = orders.records
    _query_missed_entries(look, read)
    found = _positions(look, read)
    if (silent := _explain(look, found)) is not None:
        read = {key: one for key, one in read.items() if key not in silent}
        found = _positions(look, read)  # what was just applied has moved: it says nothing now
    _store_levels(look, found)
    for differences in found.values():
        records += differences.records
    records = auto_correction.auto_correct(look.accounts, without_cancelled(look, records))
    records = _with_entry_fills(look, records)
    settle_missing([p for one in found.values() for p in one.gone], list(read), look.began)
    with transaction.atomic():
        upsert_items([one for one in records if UUID(one.connection_id) in read])
        unseen = {(key, *one) for key, found_of in found.items() for one in found_of.not_compared}
        resolve(list(read), look.began, unseen | orders.not_compared)
        found_clean = rows(CLEAN, {"connections": list(read), "began": look.began})
        compared = [row.connection_id for row in found_clean]
        run(END_REQUESTS, {"connections": list(read), "began": look.began})
        wake(compared)
        wake_look_ups(compared)
    failpoint("reconcile.committed")
    return sum(not one.is_note for one in records)


def store_level_reads(run: ReconciliationRun, read: dict[UUID, Snapshot]) -> None:
    """Write down which levels brokers hold where the books do not know it, by a read between two
    comparisons. It settles no difference: what else the read shows is left to them."""
    if read:
        _store_levels(run, _positions(run, read))


def _store_levels(run: ReconciliationRun, found: dict[UUID, Differences]) -> None:
    """Write down which levels brokers hold where the books do not know it: a stop that is not there
    is placed again, and watched by us until it is confirmed."""
    statements = [
        LevelStatement(position.client_order_id, held, began=run.began)
        for one in found.values()
        for position, held in one.level_reads
        if position.client_order_id
    ]
    with transaction.atomic():
        write_levels(statements)


def _query_missed_entries(run: ReconciliationRun, read: dict[UUID, Snapshot]) -> None:
    """Look up the entries of tickets that we do not hold though their ids are ours: a fill of ours
    that never came."""
    tickets = [
        (key, ticket)
        for key, one in read.items()
        for ticket in one.positions
        if is_ours(ticket.client_order_id, settings.FILLCAST_INSTALLATION_TAG)
    ]
    held = {
        (row.connection_id, base_of(row.client_order_id or " "))
        for row in _ours(run, list(read))
        if row.quantity > 0
    }
    missed = [(k, t) for k, t in tickets if (k, base_of(t.client_order_id)) not in held]
    known = broker_queries.orders_by_client_id(
        (ticket.client_order_id for _, ticket in missed), run.began
    )
    queries = [
        (run.accounts[key], known[base].client_order_id, known[base].symbol)
        for key, ticket in missed
        if (base := base_of(ticket.client_order_id)) in known and known[base].has_ended
    ]
    broker_queries.query_orders(queries)


def _with_entry_fills(run: ReconciliationRun, records: list[DriftRecord]) -> list[DriftRecord]:
    """Say of unknown positions with our tag how much their entry filled, a part of which may be
    closed: whoever adopts one asks for all of its executions."""
    tag = settings.FILLCAST_INSTALLATION_TAG
    ours = [
        record
        for record in records
        if record.kind is Code.UNKNOWN_POSITION and is_ours(record.evidence["client_order_id"], tag)
    ]
    queries = [
        (run.accounts[UUID(r.connection_id)], r.evidence["client_order_id"], r.evidence["symbol"])
        for r in ours
    ]
    found = broker_queries.entry_filled_quantities(queries)
    for record in ours:
        quantity = found.get((UUID(record.connection_id), record.evidence["client_order_id"]))
        if quantity:
            record.evidence["entered"] = plain(quantity)
    return records


def _positions(run: ReconciliationRun, read: dict[UUID, Snapshot]) -> dict[UUID, Differences]:
    ours: dict[UUID, list[Any]] = {key: [] for key in read}
    for row in _ours(run, list(read)):
        if row.connection_id in ours:
            ours[row.connection_id].append(row)
    entering = {(row.connection_id, row.symbol) for row in rows(ENTERING, (list(read),))}
    remainders = _remainders(list(read))
    found = {}
    for key, one in read.items():
        # A ticket that we do not know may be an entry's whose answer is on its way.
        theirs = [
            ticket
            for ticket in one.positions
            if (key, ticket.symbol) not in entering or is_of(ours[key], ticket)
        ]
        found[key] = positions_of(
            str(key), ours[key], theirs, run.began, remainders.get(key, NO_REMAINDERS)
        )
        passed = {ticket.broker_position_id for ticket in one.positions}
        passed -= {ticket.broker_position_id for ticket in theirs}
        found[key].skip(OF_POSITIONS, *passed)
    return found


def _remainders(connections: list[UUID]) -> dict[UUID, dict[str, UnsellableRemainder]]:
    found: dict[UUID, dict[str, UnsellableRemainder]] = {}
    for row in rows(REMAINDERS, {"connections": connections}):
        found.setdefault(row.connection_id, {})[row.symbol] = UnsellableRemainder(
            row.step, row.dust, row.least
        )
    return found


def _ours(run: ReconciliationRun, connections: list[UUID]) -> list[Any]:
    before = [one for key in connections for one in run.positions.get(key, ())]
    return rows(OURS, {"connections": connections, "before": before})


def _explain(run: ReconciliationRun, found: dict[UUID, Differences]) -> set[UUID] | None:
    """Ask for executions that explain differences and apply them.

    Returns None where there was nobody to ask, else the accounts that did not answer: they prove
    nothing this time.
    """
    since = {key: one.since for key, one in found.items() if one.since is not None}
    able = [
        run.accounts[key]
        for key in since
        if broker_queries.supports_fill_history(run.accounts[key])
    ]
    return broker_queries.sync_fills(able, since) if able else None
