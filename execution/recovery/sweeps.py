"""Sweeps: find due orders, take over from dead processes, look up unknown orders.

Every trading process runs the sweeps, with SKIP LOCKED. They need neither Redis nor beat nor any
other process, and a step that fails does not stop the next one.

The statements use partial indexes over live rows, so their cost does not grow with finished orders:
- They order by the index's own columns or by `id + 0`. With `id` the planner may walk the primary
  key past every finished order.
- They update by `= ANY(ARRAY(SELECT …))`. With IN the planner may read the whole table to hash it.
- They compare due times with `statement_timestamp()`, which can be an index condition;
  `clock_timestamp()` cannot.

tests/execution/plans checks them.
"""

from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from brokers.host_limiter import CallPriority
from brokers.registry import adapter_for
from brokers.types import ExitSafety, OrderReport
from common.clocks import market_now
from common.db.sql import (
    IdRow,
    Query,
    array,
    columns,
    database_now,
    periodic_rows,
    periodic_run,
    run,
)
from common.failpoints import failpoint
from common.operational.current import settings_now
from common.reason_codes import Code
from connections.selectors import SPEC_COLUMNS, LaneAccount, connection_join_sql, spec_from_row
from connections.session_lanes import held_lanes_parameters, in_held_lanes_sql
from execution.base.drift_items import DriftRecord, upsert_items
from execution.base.statements import (
    ALL_PENDING_SQL,
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    is_partly_known_sql,
    log_rows_sql,
    sent_as_sql,
)
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.dispatch.call_results import write_results
from execution.dispatch.order_dispatcher import OrderDispatcher
from execution.dispatch.report_writer import apply_call_reports
from execution.models import may_move_sql
from execution.reports.row_locks import free_orders
from positions.joins import of_position_sql

FIRST_LOOKUP_SECONDS = 2
# How many call time-outs a look-up may wait for a slot. Where thousands are due it keeps its place
# in the queue. The claim covers this time; otherwise each process would queue the same orders at a
# host that allows few calls.
LOOKUP_PATIENCE = 5
ENQUEUED_GRACE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class LookUpRow(LaneAccount):
    """An order to look up, with its connection.

    client_order_id: by which its broker knows it. overdue: seconds since `answer_by`; age: seconds
    since it was sent. names_ticket: it is an exit that names the broker's position, and the process
    that sent it has stored that its outcome is unknown; closes_all: it is for all of what is open.
    """

    id: int
    client_order_id: str
    symbol: str
    fence: int
    absence_confirmations: int
    submitted_at: datetime
    claimed_until: datetime
    overdue: float | None
    names_ticket: bool
    closes_all: bool
    age: int


# By priority. Within one the accounts take turns: the oldest of each, then the second of each, so
# that a hundred orders of one account do not delay the only one of another. Turns are counted among
# the oldest TURNS * limit rows: to sort a whole backlog at each poll would cost too much.
# The oldest due first: deferred orders (for their host, for a comparison) are due again every few
# seconds and would otherwise always come before the others.
TURNS = 10


def _due_sql(condition: str) -> str:
    return f"""
SELECT id FROM (
  SELECT id, priority, due_at,
    row_number() OVER (PARTITION BY priority, connection_id ORDER BY due_at, id) AS turn
  FROM (
    SELECT id, priority, due_at, connection_id FROM execution_order
    WHERE {ALL_PENDING_SQL} AND due_at <= statement_timestamp() AND priority <= %(priority)s
      AND {condition} AND pending_action = '' AND {in_held_lanes_sql("connection_id")}
      AND coalesce(enqueued_at, created_at) < clock_timestamp() - make_interval(secs => %(grace)s)
    ORDER BY priority, due_at, id LIMIT {TURNS} * %(limit)s
  ) oldest
) due
ORDER BY priority, turn, due_at, id LIMIT %(limit)s
"""


DUE = Query(IdRow, _due_sql("true"))
DUE_DEFERRED = Query(IdRow, _due_sql("reason <> ''"))  # by the index `order_waiting`

# The worker's lease has ended, or `answer_by` has passed: if a process never learns the outcome of
# its own commit, the order stays SUBMITTING under a valid lease.
_ORPHANED = log_rows_sql("orphaned m", code=f"'{Code.WORKER_LOST.value}'", status="'UNKNOWN'")
MARK_ORPHANED_UNKNOWN = f"""
WITH orphaned AS (
  UPDATE execution_order SET status = 'UNKNOWN', reason = '{Code.WORKER_LOST.value}', detail = '',
    fence = fence + 1, worker_id = %s, lookup_after = clock_timestamp(), lookup_claimed_until = NULL
  WHERE id = ANY(ARRAY(
    SELECT o.id FROM execution_order o
    LEFT JOIN execution_workerlease w ON w.id = o.worker_id
    WHERE o.status = 'SUBMITTING' AND (o.answer_by < statement_timestamp()
      OR w.lease_until IS NULL OR w.lease_until < clock_timestamp())
    ORDER BY o.id + 0 LIMIT 5000 FOR NO KEY UPDATE OF o SKIP LOCKED))
  RETURNING id, signal_id, connection_id
), events AS (
  {insert_events_sql(event_rows_sql("orphaned m", kind="'order.unknown'"))}
)
{insert_log_sql(_ORPHANED)}
"""

# A dead process makes no calls, so its claimed look-ups become due for the others.
RELEASE_CLAIMS = """
UPDATE execution_order SET lookup_claimed_until = NULL WHERE id = ANY(ARRAY(
  SELECT o.id FROM execution_order o LEFT JOIN execution_workerlease w ON w.id = o.worker_id
  WHERE o.lookup_after IS NOT NULL AND o.lookup_claimed_until > statement_timestamp()
    AND (w.lease_until IS NULL OR w.lease_until < clock_timestamp())
  ORDER BY o.id + 0 LIMIT 5000 FOR NO KEY UPDATE OF o SKIP LOCKED))
"""

# Back-off: the pause is half of the time for which the order has been unknown, so each pause is 1.5
# times the last one. A quarter of jitter spreads the calls when a broker comes back. The oldest due
# first, so that thousands of orders at an unreachable broker do not block the others. The claim has
# a column of its own: what ends the pause early (the account answers again) must not end the claim.
CLAIM_LOOKUPS = Query(
    LookUpRow,
    f"""
WITH claimed AS (
  UPDATE execution_order SET
    lookup_after = clock_timestamp() + make_interval(secs => (0.75 + random() / 2)
      * least(%(longest)s, greatest(%(first)s, 0.5 * coalesce(
        extract(epoch FROM clock_timestamp() - answer_by), 0)::float8))),
    lookup_claimed_until = clock_timestamp() + make_interval(secs => %(claim)s),
    worker_id = CASE WHEN status = 'SUBMITTING' OR %(worker_id)s = '' THEN worker_id
      ELSE %(worker_id)s END
  WHERE id = ANY(ARRAY(
    SELECT id FROM execution_order
    WHERE lookup_after <= statement_timestamp() AND {in_held_lanes_sql("connection_id")}
      AND (lookup_claimed_until IS NULL OR lookup_claimed_until <= statement_timestamp())
    ORDER BY lookup_after LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING id, connection_id, {sent_as_sql("execution_order")} AS client_order_id, symbol, fence,
    absence_confirmations, submitted_at, lookup_claimed_until AS claimed_until,
    extract(epoch FROM clock_timestamp() - answer_by)::float8 AS overdue,
    status = 'UNKNOWN' AND reason <> '{Code.WORKER_LOST.value}' AND coalesce(
      {of_position_sql("position_id", "p.broker_position_id <> ''")}, false) AS names_ticket,
    coalesce({of_position_sql("position_id", "p.quantity <= execution_order.quantity")}, false)
      AS closes_all
)
SELECT a.*, {SPEC_COLUMNS}, c.broker_host, c.lane,
  extract(epoch FROM clock_timestamp() - a.submitted_at)::int AS age
FROM claimed a {connection_join_sql("a.connection_id")}
""",
)

_NEVER_ARRIVED = event_rows_sql(
    "moved m",
    kind="'order.failed'",
    payload="jsonb_build_object('code', m.reason)",
    where=f"m.status = 'FAILED' AND NOT {may_move_sql('m')}",  # else `route_failed` notifies
)
_ABSENT = log_rows_sql(
    "moved m",
    code=f"CASE WHEN m.status = 'UNKNOWN' THEN '{Code.ABSENCE_CONFIRMED.value}' ELSE m.reason END",
)

# One more absence confirmation. The second, at least execution.absence_gap_seconds later, fails an
# entry and sends an exit again under the same id; of an exit that can be repeated (`sure`) the
# first one does. The fence rejects a stale process. Comparing
# `absence_confirmations` rejects the second of two processes that asked at the same time.
_IS_FIRST = "(o.absence_confirmations = 0 AND NOT d.sure)"
CONFIRM_ABSENCE = f"""
WITH d AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::bigint[], %(absence_confirmations)s::int[],
    %(sure)s::boolean[]) AS t(id, fence, absence_confirmations, sure)
), locked AS (
  SELECT id FROM execution_order WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE
), moved AS (
  UPDATE execution_order o SET absence_confirmations = o.absence_confirmations + 1,
    fence = o.fence + CASE WHEN {_IS_FIRST} THEN 0 ELSE 1 END,
    lookup_after = CASE WHEN {_IS_FIRST}
      THEN clock_timestamp() + make_interval(secs => %(gap)s) END,
    status = CASE WHEN {_IS_FIRST} THEN 'UNKNOWN' WHEN o.position_id IS NULL
      THEN 'FAILED'
      ELSE 'PENDING' END,
    reason = CASE WHEN {_IS_FIRST} THEN o.reason WHEN o.position_id IS NULL
      THEN '{Code.NEVER_ARRIVED.value}' ELSE '{Code.RESEND.value}' END,
    due_at = clock_timestamp(),
    done_at = CASE WHEN NOT {_IS_FIRST} AND o.position_id IS NULL
      THEN clock_timestamp() END
  FROM d JOIN locked USING (id) WHERE o.id = d.id AND o.fence = d.fence
    AND o.absence_confirmations = d.absence_confirmations
    AND o.status = 'UNKNOWN'
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.reason, o.absence_confirmations,
    o.route_state
), events AS (
  {insert_events_sql(_NEVER_ARRIVED)}
)
{insert_log_sql(_ABSENT)}
"""

# Brokers know `valid_until` only of orders with an expiry, so we cancel the other working entries
# whose signal has expired: also a GTD order whose broker has no GTD. One with an expiry that its
# broker still has GTD_GRACE_SECONDS later is cancelled too. An order's own end counts before its
# signal's; one that is earlier than its broker's expiry is ours. It is read again with the lock: a
# person may just have moved it. MATERIALIZED reads the working entries first: in a plain join the
# planner may start with every signal that has ever expired.
GTD_GRACE_SECONDS = 30
CANCEL_EXPIRED_WORKING = f"""
WITH working AS MATERIALIZED (
  SELECT id, signal_id, own_valid_until, expires_at FROM execution_order
  WHERE status IN ('SUBMITTED', 'PARTIALLY_FILLED') AND position_id IS NULL AND pending_action = ''
), expired AS MATERIALIZED (
  SELECT w.id FROM working w JOIN signals_signal s ON s.id = w.signal_id
  WHERE coalesce(w.own_valid_until, s.valid_until) <= %(now)s - make_interval(secs =>
    CASE WHEN w.expires_at IS NOT NULL AND (w.own_valid_until IS NULL
      OR w.own_valid_until >= w.expires_at) THEN {GTD_GRACE_SECONDS} ELSE 0 END) LIMIT 1000
), moved AS (
  UPDATE execution_order SET pending_action = 'EXPIRE', due_at = clock_timestamp()
  WHERE id = ANY(ARRAY(
    SELECT id FROM execution_order WHERE id = ANY(ARRAY(SELECT id FROM expired))
      AND status IN ('SUBMITTED', 'PARTIALLY_FILLED') AND pending_action = ''
      AND (own_valid_until IS NULL OR own_valid_until <= %(now)s)
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING id, signal_id, connection_id, status
)
{insert_log_sql(log_rows_sql("moved m", code=f"'{Code.VALID_UNTIL_ENDED.value}'"))}
"""


def cancel_expired_working() -> int:
    """Request a cancel of working entries past valid_until (market clock); return how many."""
    ended = run(CANCEL_EXPIRED_WORKING, {"now": market_now()})
    if ended:
        failpoint("ends.committed")
    return ended


_GIVEN_UP = log_rows_sql(
    "ended m",
    code=f"'{Code.LOOKUP_WINDOW_EXCEEDED.value}'",
    detail="'The reply was lost and no look-up was answered since: the next comparison shows what"
    " was executed beyond this.'",
)
# The call has ended, and so does its claim, unless another call has claimed the order since. An
# answered order that is no longer UNKNOWN (the event stream changed it) needs no further look-up.
# One that has ended and is not found is looked up once more: its broker's history may lag.
END_LOOKUPS = f"""
WITH d AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(claims)s::timestamptz[], %(answered)s::boolean[],
    %(first_absence)s::boolean[]) AS t(id, claimed_until, answered, first_absence)
), locked AS (
  SELECT o.id, d.claimed_until, d.answered AND o.status <> 'UNKNOWN' AS is_answered,
    d.first_absence AND {is_partly_known_sql("o")} AS is_asked_again
  FROM execution_order o JOIN d USING (id) ORDER BY o.id FOR NO KEY UPDATE OF o
)
UPDATE execution_order o SET lookup_claimed_until = NULL,
  lookup_after = CASE WHEN NOT l.is_answered THEN o.lookup_after
    WHEN l.is_asked_again THEN clock_timestamp() + make_interval(secs => %(gap)s) END,
  absence_confirmations = CASE WHEN l.is_answered AND l.is_asked_again THEN 1
    ELSE o.absence_confirmations END
FROM locked l
WHERE o.id = l.id AND (l.is_answered AND NOT l.is_asked_again
  OR o.lookup_claimed_until = l.claimed_until)
"""

# An order that has ended, and whose account cannot be read, is given up when it is too old for its
# broker's history: no answer is certain any more.
GIVE_UP = f"""
WITH ended AS (
  UPDATE execution_order SET lookup_after = NULL, lookup_claimed_until = NULL
  WHERE id = ANY(ARRAY(SELECT o.id FROM execution_order o
    WHERE o.id = ANY(%s::bigint[]) AND {is_partly_known_sql("o")}
    ORDER BY o.id FOR NO KEY UPDATE))
  RETURNING id, signal_id, connection_id, status
)
{insert_log_sql(_GIVEN_UP)}
"""


def due(
    limit: int,
    *,
    exits_only: bool = False,
    lanes: Collection[str] | None = None,
    deferred_only: bool = False,
) -> list[int]:
    """Return ids of PENDING orders that are due and whose Celery message seems lost.

    exits_only: leave out entries. lanes: session lanes to search; by default this process's own.
    deferred_only: only orders that waited for something else; no message of theirs is on its way.
    """
    parameters = {
        "priority": 1 if exits_only else 32767,
        "grace": ENQUEUED_GRACE_SECONDS,
        "limit": limit,
        **(held_lanes_parameters() if lanes is None else {"lanes": array(lanes)}),
    }
    sql = DUE_DEFERRED if deferred_only else DUE
    return [row.id for row in periodic_rows(sql, parameters)]


def mark_orphaned_unknown(worker_id: str) -> int:
    """Set orders that dead processes left SUBMITTING to UNKNOWN; return how many."""
    orphaned = periodic_run(MARK_ORPHANED_UNKNOWN, (worker_id,))
    if orphaned:
        failpoint("orphans.committed")
    return orphaned


def release_claims() -> int:
    """End the look-up claims of dead processes; return how many.

    Reads every claimed order, thousands after an outage, so run it seldom.
    """
    return run(RELEASE_CLAIMS)


def query_unknown_orders(dispatcher: OrderDispatcher, worker_id: str = "") -> int:
    """Start look-ups of orders whose outcome is wholly or partly unknown; return how many.

    worker_id: the claiming process; its claims end with its lease.

    Does not wait. Each answer is stored when it comes, so a broker that does not answer delays no
    other broker's orders.
    """
    times = {
        "first": FIRST_LOOKUP_SECONDS,
        "longest": settings_now().execution.lookup_max_interval_seconds,
        "claim": dispatcher.background_calls.max_seconds(LOOKUP_PATIENCE),
        "worker_id": worker_id,
    }
    unknown = periodic_rows(CLAIM_LOOKUPS, {**times, **held_lanes_parameters()})
    dispatcher.background_calls.start(
        [
            BackgroundCall(
                ("look-up", row.id),
                row,
                partial(_find, row),
                apply_lookup_results,
                CallPriority.PATIENT,
                LOOKUP_PATIENCE,
            )
            for row in unknown
        ]
    )
    return len(unknown)


def _find(row: LookUpRow) -> Coroutine[Any, Any, list[OrderReport] | None]:
    find = adapter_for(row.type).find_order
    return find(spec_from_row(row), row.client_order_id, row.symbol)


def apply_lookup_results(done: Sequence[CallResult]) -> None:
    """Store the results of look-ups: reports, absence confirmations or failures."""
    failpoint("lookup.answered")
    not_applied = apply_call_reports(done)
    # What waits is only in memory, so the look-ups of these accounts are not ended: they ask again.
    accounts_waiting = {report.connection_id for report in not_applied.reports}
    write = partial(_end_lookups, accounts_waiting)
    write_results(done, write, free_orders, expect_locks=bool(not_applied.blocked))


def _end_lookups(accounts_waiting: Collection[str], done: Sequence[CallResult]) -> None:
    """End the claims of look-ups and count absence confirmations. Idempotent.

    accounts_waiting: those with reports that are not applied yet.
    """
    ended = [
        (
            result.about.id,
            result.about.claimed_until,
            not result.failed and str(result.about.connection_id) not in accounts_waiting,
            result.answer is None and result.about.absence_confirmations == 0,
        )
        for result in done
    ]
    names = ("ids", "claims", "answered", "first_absence")
    gap = settings_now().execution.absence_gap_seconds
    run(END_LOOKUPS, {**dict(zip(names, columns(ended, 4), strict=True)), "gap": gap})
    failed = [result.about for result in done if result.failed]
    if too_old := [row.id for row in _beyond_horizon(failed)]:
        run(GIVE_UP, (array(too_old),))
    # Neither a failed read nor an absence before `answer_by` or beyond the horizon counts.
    missing = [
        result.about
        for result in done
        if not result.failed and result.answer is None and _confirms_absence(result.about)
    ]
    unlisted = {row.id for row in _beyond_horizon(missing)}
    if unlisted:
        _record_beyond_horizon([row for row in missing if row.id in unlisted])
    if absent := [row for row in missing if row.id not in unlisted]:
        run(
            CONFIRM_ABSENCE,
            {
                "ids": [row.id for row in absent],
                "fences": [row.fence for row in absent],
                "absence_confirmations": [row.absence_confirmations for row in absent],
                "sure": [_is_repeatable(row) for row in absent],
                "gap": gap,
            },
        )
        failpoint("absence.committed")


def _confirms_absence(row: LookUpRow) -> bool:
    """Return whether the look-up began when the order could no longer arrive at the broker.

    No process sends it after `answer_by`, and its broker takes no request that is older than
    `arrives_within`.
    """
    travel = adapter_for(row.type).capabilities(spec_from_row(row)).arrives_within.total_seconds()
    if _is_repeatable(row):
        return row.age >= travel
    return row.overdue is not None and row.overdue > travel


def _is_repeatable(row: LookUpRow) -> bool:
    """Return whether an exit can be sent again as soon as its broker does not list it.

    It names its ticket: if the first one arrives after all, together they close no more than that
    ticket. A part of it only where the ticket ends with each close, or both would close a part.
    """
    capabilities = adapter_for(row.type).capabilities(spec_from_row(row))
    names_ticket = row.names_ticket and capabilities.exit_safety is ExitSafety.TICKET
    return names_ticket and (row.closes_all or capabilities.closes_tickets_once)


def _record_beyond_horizon(orders: Sequence[LookUpRow]) -> None:
    """Record drift for orders older than the broker's history; they stay UNKNOWN until decided.

    Orders that were sent as one are one at the broker, and one difference.
    """
    upsert_items(
        [
            DriftRecord(
                Code.LOOKUP_WINDOW_EXCEEDED,
                str(row.connection_id),
                row.client_order_id,
                {"client_order_id": row.client_order_id, "seconds": row.age},
                order_id=row.id,
            )
            for row in {row.client_order_id: row for row in orders}.values()
        ]
    )


def _beyond_horizon(orders: Sequence[LookUpRow]) -> list[LookUpRow]:
    """Return the orders that their brokers may not list any more, now that they have answered.

    Midnight at the broker may have come since the look-up was claimed, so `age` is too young. The
    clock is read after the horizons: an order must not seem younger than what they cover.
    """
    if not orders:
        return []
    horizons = [(row, _lookup_horizon(row)) for row in orders]
    now = database_now()
    return [
        row for row, horizon in horizons if horizon is None or now - row.submitted_at >= horizon
    ]


def _lookup_horizon(row: LookUpRow) -> timedelta | None:
    return adapter_for(row.type).capabilities(spec_from_row(row)).lookup_horizon
