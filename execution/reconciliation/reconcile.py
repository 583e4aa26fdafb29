"""Reconciliation of positions, orders and executions with the broker, account by account.

- A failed or partial read proves nothing.
- A position counts as missing only after two reads without it. Both must have begun after our last
  activity on it, with nothing in flight.
- Executions that we missed are applied like any report.
- What is still different becomes a drift item. A position that is gone at the broker is closed here
  and never reopened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from common.bisection import process_with_bisection
from common.database_errors import is_database_trouble
from common.failpoints import failpoint
from common.money import plain
from common.reason_codes import Code
from common.sql import Query, rows, run
from connections.exposure import is_monitored_sql
from connections.selectors import (
    CONNECTIONS_WITH_HEALTH_SQL,
    HOST_IS_UP_SQL,
    LISTED_INSTRUMENTS_SQL,
    SPEC_COLUMNS,
    account_join_sql,
    tick_sql,
)
from connections.services import mark_reconciled
from connections.session_lanes import (
    IN_HELD_LANES_SQL,
    held_lanes_parameters,
    idle_parameters,
    not_idle_sql,
)
from execution.base.drift_items import DriftRecord, upsert_items
from execution.ids import base_of
from execution.reconciliation import auto_correction
from execution.reconciliation.auto_resolve import resolve
from execution.reconciliation.compare import (
    NO_REMAINDERS,
    POSITION_CODES,
    Differences,
    OurPosition,
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
from positions.levels import differs_sql

log = structlog.get_logger(__name__)
# How many waiting accounts are compared at once. The order is random, and half of them are accounts
# with a request, so that none waits behind many others that do not answer.
FIRST_BATCH = 100


@dataclass(frozen=True, slots=True)
class ComparisonBatch:
    """The result of one comparison.

    accounts: all that were selected, with or without an answer, and when. differences: how many.
    """

    accounts: Mapping[UUID, datetime] = field(default_factory=dict)
    differences: int = 0


class AccountRow(NamedTuple):
    """An account to compare. selected_at: database time."""

    connection_id: UUID
    type: str
    account: str
    exchange_name: str
    settings: dict[str, Any]
    sealed_credentials: bytes | None
    identity: str
    identity_credentials_digest: str
    owner_id: int
    broker_host: str
    auto_correct: bool
    lane: str
    selected_at: datetime


def connections_sql() -> Query[AccountRow]:
    """Return the statement for the accounts to compare: monitored ones and those with a request.

    An account compared in this round is left out until a new request for it is due.
    """
    return Query(
        AccountRow,
        f"""
SELECT c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host, c.auto_correct, c.lane,
  statement_timestamp() AS selected_at
FROM {CONNECTIONS_WITH_HEALTH_SQL}
LEFT JOIN execution_accountsyncstate r ON r.connection_id = c.id
WHERE c.archived_at IS NULL AND h.status = 'ACTIVE' AND {IN_HELD_LANES_SQL}
  AND (cardinality(%(ids)s::uuid[]) = 0 OR c.id = ANY(%(ids)s::uuid[]))
  AND NOT EXISTS (
    SELECT FROM unnest(%(done)s::uuid[], %(selected_at)s::timestamptz[]) AS d(id, selected_at)
    WHERE d.id = c.id AND NOT coalesce(
      r.reconcile_requested_at > d.selected_at AND r.reconcile_requested_at <= clock_timestamp(),
      false))
  AND (r.reconcile_requested_at <= clock_timestamp() OR h.reconciled_at IS NULL
    OR NOT %(first)s AND {not_idle_sql()})
  AND {HOST_IS_UP_SQL}
  AND (r.reconcile_requested_at <= clock_timestamp() OR {is_monitored_sql()})
ORDER BY CASE WHEN %(first)s THEN
  row_number() OVER (PARTITION BY r.reconcile_requested_at IS NULL ORDER BY random()) END, c.id
LIMIT CASE WHEN %(first)s THEN {FIRST_BATCH} END
""",
    )


class RemainderRow(NamedTuple):
    connection_id: UUID
    symbol: str
    step: Decimal
    minimum: Decimal
    dust: Decimal


class EnteringSymbol(NamedTuple):
    connection_id: UUID
    symbol: str


OURS = Query(
    OurPosition,
    f"""
SELECT p.id, p.connection_id, p.symbol, p.side, p.quantity, p.entry_price, p.pip,
  coalesce({tick_sql("p")}, 0) AS tick,
  p.broker_position_id, p.broker_sl, p.broker_tp, p.opened_at, p.last_activity_at, p.missing_since,
  -- We are changing levels at the broker, or have suspended protection for an exit.
  p.protection_suspended OR coalesce(p.level_sync_due_at > clock_timestamp(), false)
    AS levels_are_changing,
  NOT p.levels_given_up AND (p.sl_guardian = 'BROKER' AND {differs_sql("p.sl", "p.broker_sl")}
    OR {differs_sql("(CASE WHEN p.tp_guardian = 'BROKER' THEN p.tp END)", "p.broker_tp")})
    AS has_unsent_levels,
  p.sl, p.tp, p.levels_reported_at, p.levels_given_up,
  p.sl_guardian = 'BROKER' AND p.sl IS NOT NULL AS sl_is_expected,
  p.tp_guardian = 'BROKER' AND p.tp IS NOT NULL AS tp_is_expected,
  -- Netted with another position of ours at some time: the broker's average price covers both.
  a.position_mode IS DISTINCT FROM 'HEDGING' AND p.broker_position_id <> '' AND EXISTS (
    SELECT FROM positions_executionposition n
    WHERE n.connection_id = p.connection_id AND n.broker_position_id = p.broker_position_id
      AND n.broker_position_id <> ''  -- as the index `position_of_ticket` has it
      AND n.id <> p.id AND (n.quantity > 0 OR n.closed_at >= p.opened_at)) AS is_shared,
  (SELECT e.client_order_id FROM execution_order e WHERE e.signal_id = p.signal_id
    AND e.connection_id = p.connection_id AND e.leg = 'entry' AND e.leg LIKE 'entry%%'
  ) AS client_order_id,
  EXISTS (SELECT FROM execution_order o WHERE o.connection_id = p.connection_id
      AND o.status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED',
        'CANCEL_REQUESTED') AND (o.position_id = p.id OR o.signal_id = p.signal_id)) AS in_flight
FROM positions_executionposition p
{account_join_sql("p.connection_id")}
WHERE p.id = ANY(ARRAY(
  SELECT id FROM positions_executionposition
  WHERE connection_id = ANY(%(connections)s) AND quantity > 0
  UNION SELECT unnest(%(before)s::bigint[])))
ORDER BY p.id
""",
)

# For accounts whose balances are positions: what a sale leaves behind (`exits/dust.py`).
REMAINDERS = Query(
    RemainderRow,
    f"""
SELECT c.id AS connection_id, i.symbol, i.quantity_step AS step, i.close_min AS minimum,
  coalesce(o.dust, 0) AS dust
FROM {LISTED_INSTRUMENTS_SQL}
LEFT JOIN (  -- once for all symbols of an account; there may be thousands
  SELECT connection_id, symbol, sum(filled_quantity) AS dust FROM execution_order
  WHERE connection_id = ANY(%(connections)s) AND leg LIKE 'dust%%' GROUP BY connection_id, symbol
) o ON o.connection_id = c.id AND o.symbol = i.symbol
WHERE i.close_min > 0 AND c.id = ANY(%(connections)s)
""",
)

# Entries whose fill the broker may have and we do not know yet.
ENTERING = Query(
    EnteringSymbol,
    """
SELECT DISTINCT connection_id, symbol FROM execution_order
WHERE connection_id = ANY(%s) AND position_id IS NULL
  AND status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
""",
)

END_REQUESTS = """
UPDATE execution_accountsyncstate SET reconcile_requested_at = NULL, compared_at = %(began)s
WHERE connection_id IN (
  SELECT connection_id FROM execution_accountsyncstate
  WHERE connection_id = ANY(%(connections)s) AND reconcile_requested_at <= %(began)s
  ORDER BY connection_id FOR NO KEY UPDATE)
"""


def reconcile_all() -> int:
    """Compare every active connection; return the number of differences."""
    return reconcile()


def reconcile_new() -> int:
    """Compare connections that (re)connected and those with a request; return the differences.

    An account may trade only after its first comparison. Works in batches until every account was
    selected once; a new request for an account selects it again.
    """
    differences, done = 0, dict[UUID, datetime]()
    while True:
        batch = _compare_some((), first_only=True, done=done)
        differences += batch.differences
        done.update(batch.accounts)
        if len(batch.accounts) < FIRST_BATCH:
            return differences


def reconcile(connection_ids: Sequence[UUID] = ()) -> int:
    """Compare these connections with their brokers, by default all active ones.

    Returns the number of differences. Each account is compared as soon as its answers have come; an
    account whose read failed stays as it is.
    """
    return _compare_some(connection_ids).differences


def _compare_some(
    connection_ids: Sequence[UUID],
    *,
    first_only: bool = False,
    done: Mapping[UUID, datetime] | None = None,
) -> ComparisonBatch:
    done = done or {}
    parameters = {
        "ids": list(connection_ids),
        "done": list(done),
        "selected_at": list(done.values()),
        "first": first_only,
    }
    accounts_due = rows(
        connections_sql(), {**parameters, **held_lanes_parameters(), **idle_parameters()}
    )
    if not accounts_due:
        return ComparisonBatch()
    selected = {row.connection_id: row.selected_at for row in accounts_due}
    # Events that the broker has already sent are no difference. Without them a comparison is wrong.
    not_drained = drain_first()
    accounts = {row.connection_id: row for row in accounts_due if row.type not in not_drained}
    if not accounts:
        return ComparisonBatch(selected)
    run = start_run(accounts)
    differences = 0
    for read in broker_queries.snapshots(list(accounts.values())):
        failpoint("reconcile.read")
        differences += compare_with_bisection(run, read)
    return ComparisonBatch(selected, differences)


def compare_with_bisection(run: ReconciliationRun, read: dict[UUID, Snapshot]) -> int:
    """Compare accounts; return the number of differences.

    An account whose answer breaks the comparison is logged and left as it is; the others are
    compared. Raises database errors.
    """

    def log_failure(connection_id: UUID, error: Exception) -> int:
        log.error("an account cannot be compared", connection=str(connection_id), exc_info=error)
        return 0

    def compare(ids: Sequence[UUID]) -> int:
        return _compare(run, {key: read[key] for key in ids})

    return sum(process_with_bisection(list(read), compare, log_failure, spared=is_database_trouble))


def _compare(run_: ReconciliationRun, read: dict[UUID, Snapshot]) -> int:
    """Apply what explains differences, then store those that are left."""
    orders = settle_orders(run_, {key: snapshot.orders for key, snapshot in read.items()})
    records = orders.records
    _query_missed_entries(run_, read)
    found = _positions(run_, read)
    if (unanswered := _explain(run_, found)) is not None:
        read = {key: snapshot for key, snapshot in read.items() if key not in unanswered}
        found = _positions(run_, read)  # leaves out positions that the executions have changed
    _store_levels(run_, found)
    for differences in found.values():
        records += differences.records
    records = auto_correction.auto_correct(run_.accounts, without_cancelled(run_, records))
    records = _with_entry_fills(run_, records)
    gone = [position for differences in found.values() for position in differences.gone]
    settle_missing(gone, list(read), run_.began)
    with transaction.atomic():
        upsert_items([record for record in records if UUID(record.connection_id) in read])
        not_compared = {
            (key, kind, about)
            for key, differences in found.items()
            for kind, about in differences.not_compared
        }
        resolve(list(read), run_.began, not_compared | orders.not_compared)
        compared = mark_reconciled(list(read), run_.began)
        run(END_REQUESTS, {"connections": list(read), "began": run_.began})
        wake(compared)
        wake_look_ups(compared)
    failpoint("reconcile.committed")
    return sum(not record.is_note for record in records)


def store_level_reads(run: ReconciliationRun, read: dict[UUID, Snapshot]) -> None:
    """Store the brokers' levels from a read between two comparisons.

    Resolves no difference; whatever else the read shows is left to the next comparison.
    """
    if read:
        _store_levels(run, _positions(run, read))


def _store_levels(run: ReconciliationRun, found: dict[UUID, Differences]) -> None:
    """Store the brokers' levels where ours are unknown or wrong.

    A missing stop is then placed again, and we guard it until the broker confirms it.
    """
    statements = [
        LevelStatement(position.client_order_id, held, began=run.began)
        for one in found.values()
        for position, held in one.level_reads
        if position.client_order_id
    ]
    with transaction.atomic():
        write_levels(statements)


def _query_missed_entries(run: ReconciliationRun, read: dict[UUID, Snapshot]) -> None:
    """Look up the entries of broker positions with our id that we do not hold.

    We missed the report of their fill.
    """
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
    """Add to unknown positions with our tag how much their entry filled.

    A part may be closed since; adopting the position reads all of its executions.
    """
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
    ours: dict[UUID, list[OurPosition]] = {key: [] for key in read}
    for row in _ours(run, list(read)):
        if row.connection_id in ours:
            ours[row.connection_id].append(row)
    entering = {(row.connection_id, row.symbol) for row in rows(ENTERING, (list(read),))}
    remainders = _remainders(list(read))
    found = {}
    for key, snapshot in read.items():
        # An unknown position may belong to an entry in flight.
        theirs = [
            ticket
            for ticket in snapshot.positions
            if (key, ticket.symbol) not in entering or is_of(ours[key], ticket)
        ]
        found[key] = positions_of(
            str(key), ours[key], theirs, run.began, remainders.get(key, NO_REMAINDERS)
        )
        skipped = {ticket.broker_position_id for ticket in snapshot.positions}
        skipped -= {ticket.broker_position_id for ticket in theirs}
        found[key].skip(POSITION_CODES, *skipped)
    return found


def _remainders(connections: list[UUID]) -> dict[UUID, dict[str, UnsellableRemainder]]:
    found: dict[UUID, dict[str, UnsellableRemainder]] = {}
    for row in rows(REMAINDERS, {"connections": connections}):
        found.setdefault(row.connection_id, {})[row.symbol] = UnsellableRemainder(
            row.step, row.dust, row.minimum
        )
    return found


def _ours(run: ReconciliationRun, connections: list[UUID]) -> list[OurPosition]:
    before = [id_ for key in connections for id_ in run.positions.get(key, ())]
    return rows(OURS, {"connections": connections, "before": before})


def _explain(run: ReconciliationRun, found: dict[UUID, Differences]) -> set[UUID] | None:
    """Read the executions that may explain differences and apply them.

    Returns the accounts that did not answer, which prove nothing this time; None if no account's
    broker lists executions.
    """
    since = {
        key: differences.since
        for key, differences in found.items()
        if differences.since is not None
    }
    accounts = [
        run.accounts[key]
        for key in since
        if broker_queries.supports_fill_history(run.accounts[key])
    ]
    return broker_queries.sync_fills(accounts, since) if accounts else None
