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
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from common.bisection import process_with_bisection
from common.db.errors import is_database_trouble
from common.db.sql import Query, periodic_rows, rows, run
from common.failpoints import failpoint
from common.operational.current import settings_now
from connections.exposure import is_monitored_sql
from connections.selectors import (
    CONNECTIONS_WITH_HEALTH_SQL,
    HOST_IS_UP_SQL,
    NOT_RECONCILED_SQL,
    SPEC_COLUMNS,
    LaneAccount,
)
from connections.services import mark_reconciled
from connections.session_lanes import (
    IN_HELD_LANES_SQL,
    held_lanes_parameters,
    idle_parameters,
    not_idle_sql,
)
from execution.base.drift_items import upsert_items
from execution.reconciliation import auto_correction, open_positions
from execution.reconciliation.auto_resolve import resolve
from execution.reconciliation.missing_positions import settle_missing
from execution.reconciliation.open_orders import (
    ReconciliationRun,
    resolve_order_differences,
    start_run,
    without_cancelled,
)
from execution.reconciliation.renumbered import relink_renumbered
from execution.runtime import broker_queries
from execution.runtime.broker_queries import Snapshot
from execution.runtime.event_stream import drain_before_comparison
from execution.submission.deferral import wake, wake_look_ups

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


@dataclass(frozen=True, slots=True)
class ComparedAccount(LaneAccount):
    """An account to compare. selected_at: database time."""

    auto_correct: bool
    selected_at: datetime


# Few accounts wait for a comparison: found by index, so that a search does not read all accounts.
WAITING = f"""
  SELECT connection_id FROM execution_accountsyncstate
  WHERE reconcile_requested_at <= statement_timestamp()
  UNION ALL {NOT_RECONCILED_SQL}"""
RANDOM_ORDER = "row_number() OVER (PARTITION BY r.reconcile_requested_at IS NULL ORDER BY random())"


def connections_sql(*, only_new: bool = False) -> Query[ComparedAccount]:
    """Return the statement for the accounts to compare: monitored ones and those with a request.

    An account compared in this round is left out until a new request for it is due.

    only_new: see `reconcile_new`.
    """
    which = (
        f"c.id IN ({WAITING})"
        if only_new
        else "(r.reconcile_requested_at <= clock_timestamp() OR h.reconciled_at IS NULL"
        f" OR {not_idle_sql()})"
    )
    order = f"{RANDOM_ORDER}, c.id LIMIT {FIRST_BATCH}" if only_new else "c.id"
    return Query(
        ComparedAccount,
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
  AND {which}
  AND {HOST_IS_UP_SQL}
  AND (r.reconcile_requested_at <= clock_timestamp() OR {is_monitored_sql()})
ORDER BY {order}
""",
    )


END_REQUESTS = """
UPDATE execution_accountsyncstate SET reconcile_requested_at = NULL, compared_at = %(began)s
WHERE connection_id IN (
  SELECT connection_id FROM execution_accountsyncstate
  WHERE connection_id = ANY(%(connections)s) AND reconcile_requested_at <= %(began)s
  ORDER BY connection_id FOR NO KEY UPDATE)
"""


def reconcile_new() -> int:
    """Compare connections that (re)connected and those with a request; return the differences.

    An account may trade only after its first comparison. Works in batches until every account was
    selected once; a new request for an account selects it again.
    """
    differences, done = 0, dict[UUID, datetime]()
    while True:
        batch = _compare_some((), only_new=True, done=done)
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


def reconcile_at_intervals() -> int:
    """Compare all active connections, unless comparisons at intervals are switched off.

    Requests and first comparisons go on without them: `reconcile_new`.
    """
    return reconcile() if settings_now().position_reconciliation.enabled else 0


def _compare_some(
    connection_ids: Sequence[UUID],
    *,
    only_new: bool = False,
    done: Mapping[UUID, datetime] | None = None,
) -> ComparisonBatch:
    """Compare connections once. only_new: see `reconcile_new`. done: those compared already."""
    done = done or {}
    parameters: dict[str, Any] = {
        "ids": list(connection_ids),
        "done": list(done),
        "selected_at": list(done.values()),
    }
    select = periodic_rows if only_new else rows  # every other second, and mostly for nothing
    accounts_due = select(
        connections_sql(only_new=only_new),
        {**parameters, **held_lanes_parameters(), **idle_parameters()},
    )
    if not accounts_due:
        return ComparisonBatch()
    selected = {row.connection_id: row.selected_at for row in accounts_due}
    # Events that the broker has already sent are no difference. Without them a comparison is wrong.
    not_drained = drain_before_comparison()
    accounts = {row.connection_id: row for row in accounts_due if row.type not in not_drained}
    if not accounts:
        return ComparisonBatch(selected)
    comparison = start_run(accounts)
    differences = 0
    for read in broker_queries.snapshots(list(accounts.values())):
        failpoint("reconcile.read")
        differences += compare_with_bisection(comparison, read)
    return ComparisonBatch(selected, differences)


def compare_with_bisection(
    comparison: ReconciliationRun[ComparedAccount], read: dict[UUID, Snapshot]
) -> int:
    """Compare accounts; return the number of differences.

    An account whose answer breaks the comparison is logged and left as it is; the others are
    compared. Raises database errors.
    """

    def log_failure(connection_id: UUID, error: Exception) -> int:
        log.error("an account cannot be compared", connection=str(connection_id), exc_info=error)
        return 0

    def compare(ids: Sequence[UUID]) -> int:
        return _compare(comparison, {key: read[key] for key in ids})

    return sum(
        process_with_bisection(
            list(read), compare, log_failure, is_not_item_error=is_database_trouble
        )
    )


def _compare(comparison: ReconciliationRun[ComparedAccount], read: dict[UUID, Snapshot]) -> int:
    """Apply what explains differences, then store those that are left."""
    orders = resolve_order_differences(
        comparison, {key: snapshot.orders for key, snapshot in read.items()}
    )
    records = orders.records
    open_positions.query_missed_entries(comparison, read)
    by_account = open_positions.compare(comparison, read)
    if (unanswered := open_positions.apply_missed_fills(comparison, by_account)) is not None:
        read = {key: snapshot for key, snapshot in read.items() if key not in unanswered}
        # Without the positions that these fills have changed.
        by_account = open_positions.compare(comparison, read)
    open_positions.store_levels(comparison, by_account)
    relink_renumbered(by_account.values())
    for differences in by_account.values():
        records += differences.records
    of_all = settings_now().position_reconciliation.auto_correct_discrepancies
    allowed = {str(key) for key, one in comparison.accounts.items() if of_all or one.auto_correct}
    records = auto_correction.auto_correct(allowed, without_cancelled(comparison, records))
    records = open_positions.with_entry_fills(comparison, records)
    gone = [position for differences in by_account.values() for position in differences.gone]
    settle_missing(gone, list(read), comparison.began)
    with transaction.atomic():
        upsert_items([record for record in records if UUID(record.connection_id) in read])
        not_compared = {
            (key, kind, about)
            for key, differences in by_account.items()
            for kind, about in differences.not_compared
        }
        resolve(list(read), comparison.began, not_compared | orders.not_compared)
        compared = mark_reconciled(list(read), comparison.began)
        run(END_REQUESTS, {"connections": list(read), "began": comparison.began})
        wake(compared)
        wake_look_ups(compared)
    failpoint("reconcile.committed")
    return sum(not record.is_note for record in records)
