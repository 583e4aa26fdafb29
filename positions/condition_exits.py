"""SQL of condition exits: which open positions are closed by what becomes of another signal.

The condition is resolved when a position opens and stored with it, so that it is found by a partial
index and a process that dies loses nothing.
"""

from positions.joins import open_of_signal_sql

CONDITIONED_SQL = """positions_executionposition p
CROSS JOIN LATERAL (SELECT p.close_when_signal_id AS signal_id, p.close_when_state AS state
  WHERE p.quantity > 0 AND p.close_when_signal_id IS NOT NULL AND NOT p.close_when_over
    AND p.reserved < p.quantity) w"""
"""The open positions `p` with a condition `w` that may still hold, and that no exits close
completely; by the index `position_close_when`. Plan it again: a plan that was kept from when few
positions were open may read all of them."""

# Locked in the order of ids, as by `MOVE_LEVELS_SQL`.
MOVE_CONDITION_SQL = f"""WITH locked AS (
  SELECT id FROM positions_executionposition WHERE {open_of_signal_sql("%(refers_to)s")}
  ORDER BY id FOR NO KEY UPDATE
), moved AS (
  UPDATE positions_executionposition p SET close_when_signal_id = %(other)s,
    close_when_state = %(state)s, close_when_over = false
  FROM locked WHERE p.id = locked.id AND p.quantity > 0
  RETURNING p.id, p.connection_id
)"""
"""The WITH of a statement that gives the open positions of a signal (`refers_to`) another condition
(`other`, a signal's id, and `state`); `moved` are those positions."""

MARK_OVER_SQL = """UPDATE positions_executionposition SET close_when_over = true
  WHERE id = ANY(ARRAY(SELECT id FROM positions_executionposition WHERE id = ANY(%s::bigint[])
    AND quantity > 0 AND close_when_signal_id IS NOT NULL AND NOT close_when_over
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING id, signal_id, connection_id, close_when_signal_id"""
"""The conditions of these positions cannot hold any more."""
