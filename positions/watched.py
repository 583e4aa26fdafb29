"""Whether there is any position that background jobs have to watch, as part of a statement."""

from positions.broker_levels import DIFFERS_FROM_BROKER_SQL

ANY_WATCHED_SQL = f"""(
  EXISTS (SELECT FROM positions_executionposition WHERE quantity > 0)
  OR EXISTS (SELECT FROM positions_executionposition WHERE unprotected_since IS NOT NULL)
  OR EXISTS (SELECT FROM positions_executionposition WHERE breached_since IS NOT NULL)
  OR EXISTS (SELECT FROM positions_executionposition WHERE broker_check_due_at IS NOT NULL)
  OR EXISTS (SELECT FROM positions_executionposition WHERE {DIFFERS_FROM_BROKER_SQL}))"""
"""SQL: whether a position is open, or closed with something that is still to be ended: a period
without a stop, a level that was passed, a read, or a level that its broker still holds. Each is
answered by a partial index, which ended positions are not in."""
