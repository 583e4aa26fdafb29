"""Upkeep of triggers: what the trigger monitor, which judges each batch of quotes, leaves aside.

Nothing here is needed for a trigger to fire once and only once. It keeps the partial indexes small
and looks again at orders whose account has got another price source.
"""

from django.db import transaction

from common.db.sql import run

# An order may end in many ways while its trigger is armed. The monitor never fires such a one.
DISARM_ENDED = """
UPDATE execution_ordertrigger SET is_armed = false WHERE order_id = ANY(ARRAY(
  SELECT t.order_id FROM execution_ordertrigger t JOIN execution_order o ON o.id = t.order_id
  WHERE t.is_armed AND o.status <> 'PENDING'
  ORDER BY t.order_id LIMIT 5000 FOR NO KEY UPDATE OF t SKIP LOCKED))
"""

# The claim then arms it again by the prices of the new source.
WAKE_MOVED = """
UPDATE execution_order SET due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT o.id FROM execution_ordertrigger t JOIN execution_order o ON o.id = t.order_id
  JOIN connections_executionconnection c ON c.id = t.connection_id
  WHERE t.is_armed AND c.data_connection_id IS DISTINCT FROM t.source_id AND o.status = 'PENDING'
    AND o.due_at > statement_timestamp()
  ORDER BY o.id + 0 LIMIT 1000 FOR NO KEY UPDATE OF o SKIP LOCKED))
"""

# A peak that no trigger follows, and one that a later one has passed: each trigger that follows it
# follows the later one too. The newest of a pair stays for a while: the monitor may be writing it.
DELETE_PEAKS = """
DELETE FROM execution_pricepeak p WHERE p.began_at < clock_timestamp() - interval '1 minute'
  AND (NOT EXISTS (SELECT FROM execution_ordertrigger t
      WHERE t.source_id = p.source_id AND t.pair = p.pair AND t.side = p.side AND t.is_armed
        AND t.kind = 'TRAILING' AND t.active_since <= p.began_at)
    OR EXISTS (SELECT FROM execution_pricepeak l
      WHERE l.source_id = p.source_id AND l.pair = p.pair AND l.side = p.side
        AND l.began_at > p.began_at
        AND CASE p.side WHEN 'SELL' THEN l.price >= p.price ELSE l.price <= p.price END))
"""


def keep_up_triggers() -> None:
    """Disarm triggers of ended orders, wake those of a former price source, delete old peaks."""
    for statement in (DISARM_ENDED, WAKE_MOVED, DELETE_PEAKS):
        with transaction.atomic():
            run(statement)
