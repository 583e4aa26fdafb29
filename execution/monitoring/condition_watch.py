"""Make entries due whose condition is settled: the other signal has ended on their account.

The claim judges each again, and would look at it within a minute anyway: a watch that fails delays
entries and loses none. Times need no watch: such an order is due at its time.
"""

from common.clocks import market_now
from common.db.sql import IdRow, Query, periodic_rows
from common.failpoints import failpoint
from execution.submission.conditions import of_account_sql
from signals.joins import signal_join_sql

LIMIT = 2000

# Found by the partial index of entries that wait for a condition.
WAKE = Query(
    IdRow,
    f"""
UPDATE execution_order SET due_at = clock_timestamp(), enqueued_at = clock_timestamp()
WHERE id = ANY(ARRAY(
  SELECT o.id FROM execution_order o {signal_join_sql("o.signal_id")}
  CROSS JOIN LATERAL {of_account_sql("s.after_signal_id")} a
  WHERE o.awaits_condition AND o.status = 'PENDING' AND o.due_at > clock_timestamp()
    AND o.reason = 'AWAITING_CONDITION' AND o.pending_action = ''
    AND s.after_signal_id IS NOT NULL AND (s.not_before IS NULL OR s.not_before <= %(now)s)
    AND (NOT a.is_live AND (s.after_state IN ('FILLED', 'NOT_FILLED') OR NOT a.is_open)
      OR a.is_filled AND s.after_state = 'NOT_FILLED')
  ORDER BY o.id LIMIT {LIMIT} FOR NO KEY UPDATE OF o SKIP LOCKED))
RETURNING id
""",
)


def wake_settled() -> list[int]:
    """Make entries due whose awaited signal is settled on their account; return their ids."""
    woken = [row.id for row in periodic_rows(WAKE, {"now": market_now()})]
    if woken:
        failpoint("conditions.woken")
    return woken
