"""The statements of deferred orders; `deferral.py` states what they are for."""

from positions.broker_levels import prepare_exits_sql, restore_levels_sql
from positions.joins import position_join_sql

# Request what a waiting exit needs: a read of the broker's position, or the removal of its levels
# (lift). If the broker holds too little, the reads back off, up to 30 seconds apart.
REQUEST_PREREQUISITES = prepare_exits_sql("""
  SELECT o.position_id AS id, bool_or(w.lift) AS lift, coalesce(least(30, greatest(2,
    max(extract(epoch FROM clock_timestamp() - o.waiting_since) / 10)
      FILTER (WHERE o.reason = 'EXIT_AWAITS_COMPARISON'))), 2) AS seconds
  FROM unnest(%s::bigint[], %s::boolean[]) AS w(order_id, lift)
  JOIN execution_order o ON o.id = w.order_id GROUP BY o.position_id
""")

# A halt stops the exit: levels that were removed for it are placed again.
RESTORE_LEVELS = restore_levels_sql(f"""
  SELECT p.id FROM execution_order o {position_join_sql("o.position_id")}
  WHERE o.id = ANY(%s) AND p.protection_suspended ORDER BY p.id FOR NO KEY UPDATE OF p
""")

# Exits wait for their own position for about a second: those waits get no line in the log.
DEFER = """
WITH deferred AS (
  SELECT o.id, t.code, t.detail, t.seconds, o.reason AS previous_code
  FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::float8[]) AS t(id, code, detail, seconds)
  JOIN execution_order o USING (id)
), moved AS (
  UPDATE execution_order o SET reason = d.code, detail = left(d.detail, 300),
    due_at = clock_timestamp() + make_interval(secs => d.seconds),
    waiting_since = CASE WHEN d.previous_code = d.code
      THEN coalesce(o.waiting_since, clock_timestamp())
      ELSE clock_timestamp() END
  FROM deferred d WHERE o.id = d.id AND o.status = 'PENDING'
  RETURNING o.id, o.signal_id, o.connection_id, d.code, d.detail, d.previous_code
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, detail, status)
SELECT id, signal_id, connection_id, code, detail, 'PENDING' FROM moved
WHERE previous_code <> code AND code NOT LIKE 'EXIT_AWAITS_%%'
"""

# Make orders due whose reason to wait has ended. Orders that are being claimed are skipped.
WAKE = """
UPDATE execution_order SET due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order
  WHERE connection_id = ANY(%s::uuid[]) AND status = 'PENDING' AND reason <> ''
    AND reason = ANY(%s::text[]) AND due_at > clock_timestamp()
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""

# The account answers again: look up its unknown orders now, without the rest of the back-off. A
# second look-up keeps its distance from the first, and a call in flight is not repeated.
WAKE_LOOK_UPS = """
UPDATE execution_order SET lookup_after = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order
  WHERE lookup_after > clock_timestamp() AND connection_id = ANY(%s::uuid[])
    AND absence_confirmations = 0
    AND status <> 'SUBMITTING'
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""
WAKE_CANCELS = """
UPDATE execution_order SET due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order
  WHERE pending_action <> '' AND connection_id = ANY(%s::uuid[])
    AND due_at > clock_timestamp() + make_interval(secs => %s)
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""

STILL_DUE = """
SELECT id FROM execution_order
WHERE id = ANY(%s::bigint[]) AND status = 'PENDING' AND pending_action = ''
  AND due_at <= clock_timestamp() AND reason NOT IN ('AWAITING_TRIGGER', 'AWAITING_CONDITION')
ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""

ACCOUNTS_OF_HOSTS = """
SELECT id FROM connections_executionconnection
WHERE broker_host = ANY(%s::text[]) AND archived_at IS NULL
"""
