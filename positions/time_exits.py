"""SQL of time exits: when positions are closed by their signal's time, and which are due.

The time is resolved when a position opens and stored with it, so a process that dies loses nothing.
"""

from positions.joins import open_of_signal_sql

# Locked in the order of ids, as by `MOVE_LEVELS_SQL`.
MOVE_CLOSE_TIME_SQL = f"""WITH locked AS (
  SELECT id FROM positions_executionposition WHERE {open_of_signal_sql("%(refers_to)s")}
  ORDER BY id FOR NO KEY UPDATE
), timed AS (
  UPDATE positions_executionposition p SET close_at = %(close_at)s FROM locked
  WHERE p.id = locked.id AND p.quantity > 0
  RETURNING p.id, p.connection_id
)"""
"""The WITH of a statement that gives the open positions of a signal (`refers_to`) another closing
time (`close_at`, market time); `timed` are those positions."""


def due_sql(condition: str) -> str:
    """Return a SELECT of the positions whose time has come and that no exits close completely.

    condition: over the position `p`, as `AND …`. Parameter: now, market time.
    """
    return f"""SELECT p.id, p.close_at FROM positions_executionposition p
  WHERE p.quantity > 0 AND p.close_at IS NOT NULL AND p.close_at <= %(now)s
    AND p.reserved < p.quantity{condition}
  ORDER BY p.close_at LIMIT 1000"""
