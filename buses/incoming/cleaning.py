"""Remove messages that are of no use any more."""

from __future__ import annotations

from buses.cleaning import BATCH, remove_in_batches

DONE_DAYS, DEAD_DAYS = 30, 90
REMOVE = f"""
DELETE FROM buses_busmessage WHERE id = ANY(ARRAY(
  SELECT id FROM buses_busmessage
  WHERE settled_at < statement_timestamp() - interval '{DONE_DAYS} days'
    AND (state <> 'DEAD' OR settled_at < statement_timestamp() - interval '{DEAD_DAYS} days')
  ORDER BY settled_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED))
"""


def remove_old() -> int:
    """Delete messages that were settled long ago; return how many.

    A repetition that comes later than that is recognised by its signal's id, or its fill's.
    """
    return remove_in_batches(REMOVE, BATCH)
