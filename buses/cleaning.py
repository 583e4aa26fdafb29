"""Remove dead letters of sinks that are of no use any more."""

from __future__ import annotations

from common.db.sql import run

SENT_DAYS, WAITING_DAYS = 30, 90
BATCH = 1000
REMOVE = f"""
DELETE FROM buses_deadletter WHERE id = ANY(ARRAY(
  SELECT id FROM buses_deadletter
  WHERE replayed_at < statement_timestamp() - interval '{SENT_DAYS} days'
    OR (replayed_at IS NULL AND at < statement_timestamp() - interval '{WAITING_DAYS} days')
  ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED))
"""


def remove_old_letters() -> int:
    """Delete letters that were sent again long ago, or that wait for longer; return how many."""
    return remove_in_batches(REMOVE, BATCH)


def remove_in_batches(sql: str, batch: int) -> int:
    """Run a DELETE of at most %(batch)s rows until nothing is left; return how many went."""
    removed = count = run(sql, {"batch": batch})
    while count >= batch:
        count = run(sql, {"batch": batch})
        removed += count
    return removed
