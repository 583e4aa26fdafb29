"""What nobody else will do: find due rows, take over from the dead, ask about the unknown.

Every trading process runs these by itself, with SKIP LOCKED, so none of it hangs on Redis, on beat
or on any other process. Each step stands on its own: one that fails does not stop the rest.

Rows are found by partial indexes over live ones, whatever has piled up behind them. So they
are ordered by what their index is, or by `id + 0` (by `id` the planner may go through the primary
key, past every finished order, until it has its thousand) and changed by `= ANY(ARRAY(SELECT …))`
(for an IN it may read all of the table to hash the other side). What is due is compared with
`statement_timestamp()`: an index is searched by it, while for `clock_timestamp()` all that waits is
read. tests/execution/test_sweep_plans.py asks for the plans.
"""

from collections.abc import Collection, Coroutine, Sequence
from functools import partial
from typing import Any

from django.conf import settings

from brokers.host_limiter import CallPriority
from brokers.registry import adapter_for
from brokers.types import OrderReport
from common.clocks import market_now
from common.failpoints import failpoint
from common.reason_codes import Code
from common.sql import array, columns, rows, run
from connections.selectors import SPEC_COLUMNS, spec_from_row
from connections.session_lanes import held_lanes_parameters, in_held_lanes_sql
from execution.base.drift_items import DriftRecord, upsert_items
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.dispatch.call_results import write_results
from execution.dispatch.order_dispatcher import OrderDispatcher
from execution.dispatch.report_writer import apply_answers
from execution.reports.row_locks import free_orders

FIRST_LOOKUP_SECONDS = 2
# So many time-outs of a call a look-up may wait for its place, where thousands are due at once: it
# is asked in its turn, instead of giving up its place in the queue for one at the end of it. It is
# claimed for all of that time: else each process would queue the same orders at a host that manages
# few calls.
LOOKUP_PATIENCE = 5
ENQUEUED_GRACE_SECONDS = 1

# The oldest due first: those that wait (for their host, for a comparison) are due again every few
# seconds, and would else stand in front of everybody who is looked at by nobody.
DUE = f"""
SELECT id FROM execution_order
WHERE status = 'PENDING' AND due_at <= statement_timestamp() AND priority <= %(priority)s
  AND pending_action = '' AND {in_held_lanes_sql("connection_id")}
  AND coalesce(enqueued_at, created_at) < clock_timestamp() - make_interval(secs => %(grace)s)
ORDER BY priority, due_at, id LIMIT %(limit)s
"""

# A dead owner, or a row for which nobody can answer any more: a commit whose outcome its own
# process never learned stays SUBMITTING under a healthy lease.
MARK_ORPHANED_UNKNOWN = f"""
WITH taken AS (
  UPDATE execution_order SET status = 'UNKNOWN', reason = '{Code.WORKER_LOST.value}', detail = '',
    fence = fence + 1, worker_id = %s, lookup_after = clock_timestamp(), lookup_claimed_until = NULL
  WHERE id = ANY(ARRAY(
    SELECT o.id FROM execution_order o
    LEFT JOIN execution_workerlease w ON w.id = o.worker_id
    WHERE o.status = 'SUBMITTING' AND (o.answer_by < statement_timestamp()
      OR w.lease_until IS NULL OR w.lease_until < clock_timestamp())
    ORDER BY o.id + 0 LIMIT 5000 FOR NO KEY UPDATE OF o SKIP LOCKED))
  RETURNING id, signal_id, connection_id
), told AS (
  INSERT INTO events_event (kind, user_id, connection_id, signal_id, order_id)
  SELECT 'order.unknown', coalesce(c.user_id, c.admin_id), t.connection_id, t.signal_id, t.id
  FROM taken t JOIN connections_executionconnection c ON c.id = t.connection_id
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
SELECT id, signal_id, connection_id, '{Code.WORKER_LOST.value}', 'UNKNOWN' FROM taken
"""

# A dead process makes no call: what it had claimed to look up is due for the others.
RELEASE_CLAIMS = """
UPDATE execution_order SET lookup_claimed_until = NULL WHERE id = ANY(ARRAY(
  SELECT o.id FROM execution_order o LEFT JOIN execution_workerlease w ON w.id = o.worker_id
  WHERE o.lookup_after IS NOT NULL AND o.lookup_claimed_until > statement_timestamp()
    AND (w.lease_until IS NULL OR w.lease_until < clock_timestamp())
  ORDER BY o.id + 0 LIMIT 5000 FOR NO KEY UPDATE OF o SKIP LOCKED))
"""

# Asked less and less often: a pause is half of the time that it has been unknown for, so that each
# is half as long again as the last. A quarter is left to chance: a broker that comes back does not
# meet everybody at once. The oldest due first, so that thousands of a silent broker's do not stand
# in front of everybody else's; who passes over locked rows may take them in any order. The claim is
# beside the pause: what ends the pause early (its account answers again) must not end the claim.
CLAIM_LOOKUPS = f"""
WITH asked AS (
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
  RETURNING id, connection_id, client_order_id, symbol, fence, absence_confirmations, submitted_at,
    lookup_claimed_until AS claimed_until,
    extract(epoch FROM clock_timestamp() - answer_by)::float8 AS overdue
)
SELECT a.*, {SPEC_COLUMNS}, c.broker_host, c.lane,
  extract(epoch FROM clock_timestamp() - a.submitted_at)::int AS age
FROM asked a JOIN connections_executionconnection c ON c.id = a.connection_id
"""

# One more proof of absence. The second, at least a gap later, ends an entry and sends an exit
# again under the same id. The fence makes a proof by a stale process bounce off, the number of
# absence_confirmations at the time of asking one by a process that asked at the same time as
# another.
CONFIRM_ABSENCE = f"""
WITH d AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::bigint[], %(absence_confirmations)s::int[])
  AS t(id, fence, absence_confirmations)
), locked AS (
  SELECT id FROM execution_order WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR NO KEY UPDATE
), moved AS (
  UPDATE execution_order o SET absence_confirmations = o.absence_confirmations + 1,
    fence = o.fence + CASE WHEN o.absence_confirmations = 0 THEN 0 ELSE 1 END,
    lookup_after = CASE WHEN o.absence_confirmations = 0
      THEN clock_timestamp() + make_interval(secs => %(gap)s) END,
    status = CASE WHEN o.absence_confirmations = 0 THEN 'UNKNOWN' WHEN o.position_id IS NULL
      THEN 'FAILED'
      ELSE 'PENDING' END,
    reason = CASE WHEN o.absence_confirmations = 0 THEN o.reason WHEN o.position_id IS NULL
      THEN '{Code.NEVER_ARRIVED.value}' ELSE '{Code.RESEND.value}' END,
    due_at = clock_timestamp(),
    done_at = CASE WHEN o.absence_confirmations > 0 AND o.position_id IS NULL
      THEN clock_timestamp() END
  FROM d JOIN locked USING (id) WHERE o.id = d.id AND o.fence = d.fence
    AND o.absence_confirmations = d.absence_confirmations
    AND o.status = 'UNKNOWN'
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.reason, o.absence_confirmations
), told AS (
  INSERT INTO events_event (kind, user_id, connection_id, signal_id, order_id, payload)
  SELECT 'order.failed', coalesce(c.user_id, c.admin_id), m.connection_id, m.signal_id, m.id,
    jsonb_build_object('code', m.reason)
  FROM moved m JOIN connections_executionconnection c ON c.id = m.connection_id
  WHERE m.status = 'FAILED'
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
SELECT id, signal_id, connection_id,
  CASE WHEN status = 'UNKNOWN' THEN '{Code.ABSENCE_CONFIRMED.value}' ELSE reason END, status
FROM moved
"""


# What rests at a broker beyond its signal's validity is taken back; the broker does not know it.
# The resting ones first: joined, the planner may begin with all signals that have ever run out.
CANCEL_EXPIRED_WORKING = """
WITH resting AS MATERIALIZED (
  SELECT id, signal_id FROM execution_order
  WHERE status IN ('SUBMITTED', 'PARTIALLY_FILLED') AND position_id IS NULL AND pending_action = ''
), outlived AS MATERIALIZED (
  SELECT r.id FROM resting r JOIN signals_signal s ON s.id = r.signal_id
  WHERE s.valid_until <= %s LIMIT 1000
)
UPDATE execution_order SET pending_action = 'CANCEL', due_at = clock_timestamp()
WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order WHERE id = ANY(ARRAY(SELECT id FROM outlived))
    AND status IN ('SUBMITTED', 'PARTIALLY_FILLED') AND pending_action = ''
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""


def cancel_expired_working() -> int:
    """Wish a cancel for entries that rest beyond valid_until (market clock); return how many."""
    return run(CANCEL_EXPIRED_WORKING, (market_now(),))


# The call has ended, and with it the claim, if it is still this call's. Asked and answered: an
# order that the broker's stream has moved needs it only once.
END_LOOKUPS = """
WITH d AS (
  SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::boolean[])
  AS t(id, claimed_until, answered)
), locked AS (
  SELECT o.id, d.claimed_until, d.answered AND o.status <> 'UNKNOWN' AS is_known
  FROM execution_order o JOIN d USING (id) ORDER BY o.id FOR NO KEY UPDATE OF o
)
UPDATE execution_order o SET lookup_claimed_until = NULL,
  lookup_after = CASE WHEN l.is_known THEN NULL ELSE o.lookup_after END
FROM locked l
WHERE o.id = l.id AND (l.is_known OR o.lookup_claimed_until = l.claimed_until)
"""


def due(limit: int, *, exits_only: bool = False, lanes: Collection[str] | None = None) -> list[int]:
    """Return ids of PENDING rows that may run and whose bell seems not to have been heard, of this
    process's lanes or of others."""
    parameters = {
        "priority": 1 if exits_only else 32767,
        "grace": ENQUEUED_GRACE_SECONDS,
        "limit": limit,
        **(held_lanes_parameters() if lanes is None else {"lanes": array(lanes)}),
    }
    return [row.id for row in rows(DUE, parameters)]


def mark_orphaned_unknown(worker_id: str) -> int:
    """Make UNKNOWN what dead processes left SUBMITTING; return how many."""
    taken = run(MARK_ORPHANED_UNKNOWN, (worker_id,))
    if taken:
        failpoint("takeover.committed")
    return taken


def release_claims() -> int:
    """Make due what dead processes had claimed to look up; return how many. It reads all that is
    claimed, thousands after an outage."""
    return run(RELEASE_CLAIMS)


def query_unknown_orders(dispatcher: OrderDispatcher, worker_id: str = "") -> int:
    """Have orders looked up whose outcome, or a part of it,
    is not known; return how many. worker_id:
    the process, whose claims end with its lease.

    Nobody waits for the answers: each is written as it comes, so that a broker that is silent
    keeps nobody else's orders unknown.
    """
    times = {
        "first": FIRST_LOOKUP_SECONDS,
        "longest": settings.FILLCAST_LOOKUP_MAX_INTERVAL_SECONDS,
        "claim": dispatcher.background_calls.max_seconds(LOOKUP_PATIENCE),
        "worker_id": worker_id,
    }
    unknown = rows(CLAIM_LOOKUPS, {**times, **held_lanes_parameters()})
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


def _find(row: Any) -> Coroutine[Any, Any, list[OrderReport] | None]:
    find = adapter_for(row.type).find_order
    return find(spec_from_row(row), row.client_order_id, row.symbol)


def apply_lookup_results(done: Sequence[CallResult]) -> None:
    """Write down what look-ups brought: facts, proofs of absence, or nothing."""
    failpoint("ask.answered")
    blocked = apply_answers(done)
    write_results(done, _end_lookups, free_orders, careful=blocked)


def _end_lookups(done: Sequence[CallResult]) -> None:
    """End the claims of look-ups, and count proofs of absence. Run again it changes nothing."""
    ended = [(one.about.id, one.about.claimed_until, not one.failed) for one in done]
    run(END_LOOKUPS, columns(ended, 3))
    # A failed read proves nothing; nor does an absence seen before answer_by, or too late.
    answered = [one for one in done if not one.failed]
    missing = [one.about for one in answered if one.answer is None and _confirms_absence(one.about)]
    absent = [row for row in missing if _within_horizon(row)]
    if len(absent) < len(missing):
        _record_beyond_horizon([row for row in missing if not _within_horizon(row)])
    if absent:
        run(
            CONFIRM_ABSENCE,
            {
                "ids": [row.id for row in absent],
                "fences": [row.fence for row in absent],
                "absence_confirmations": [row.absence_confirmations for row in absent],
                "gap": settings.FILLCAST_ABSENCE_GAP_SECONDS,
            },
        )
        failpoint("proof.committed")


def _confirms_absence(row: Any) -> bool:
    """Whether it was looked for when nothing of it could be under way any more: its process could
    not send it after `answer_by`, and its broker takes no older ones (`arrives_within`)."""
    late = adapter_for(row.type).capabilities(spec_from_row(row)).arrives_within.total_seconds()
    return row.overdue is not None and row.overdue > late


def _record_beyond_horizon(rows_without: Sequence[Any]) -> None:
    """What the broker cannot look back to stays UNKNOWN, and becomes drift for people to settle."""
    upsert_items(
        [
            DriftRecord(
                Code.LOOKUP_WINDOW_EXCEEDED,
                str(row.connection_id),
                row.client_order_id,
                {"client_order_id": row.client_order_id, "seconds": row.age},
                order_id=row.id,
            )
            for row in rows_without
        ]
    )


def _within_horizon(row: Any) -> bool:
    horizon = adapter_for(row.type).capabilities(spec_from_row(row)).lookup_horizon
    return horizon is not None and row.age < horizon.total_seconds()
