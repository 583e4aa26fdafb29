"""How long a position that should have a stop has had none: noted, told, and added up.

A stop is there when the broker has confirmed it for all of the position, or when we guard it and
its prices are being judged. Looked at each second, by partial indexes: what is in order costs one
look for each pair that is held, not for each position.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from common.reason_codes import Code
from common.sql import columns, rows, run
from execution.monitoring.stop_failover import UNREAD_SECONDS
from execution.submission.evaluate import QUOTE_MAX_AGE_SECONDS

ALERT_AFTER_SECONDS = 5
MONITORING_GRACE_SECONDS = 3  # a source is judged once a second, with or without quotes
AT_ONCE = 5000


def _pairs(side: str) -> str:
    """Each (price source, pair) that has a stop on this side: one index look for each."""
    stops = f"positions_executionposition WHERE quantity > 0 AND side = '{side}' AND sl IS NOT NULL"
    name = side.lower()
    return f"""{name} AS (
  (SELECT price_source_id, pair FROM {stops} ORDER BY price_source_id, pair LIMIT 1)
  UNION ALL
  SELECT n.* FROM {name} b CROSS JOIN LATERAL (
    SELECT price_source_id, pair FROM {stops}
      AND (price_source_id, pair) > (b.price_source_id, b.pair)
    ORDER BY price_source_id, pair LIMIT 1) n
)"""


# Pairs whose stops of ours nobody judges: since when, as far as it is known.
UNMONITORED = f"""
WITH RECURSIVE {_pairs("BUY")}, {_pairs("SELL")}
SELECT h.price_source_id AS source, h.pair, least(w.last_evaluated_at, q.received_at) AS since
FROM (SELECT * FROM buy UNION SELECT * FROM sell) h
LEFT JOIN prices_latestquote q ON q.data_connection_id = h.price_source_id AND q.symbol = h.pair
LEFT JOIN execution_levelmonitorheartbeat w ON w.source_id = h.price_source_id
WHERE coalesce(w.last_evaluated_at < clock_timestamp() - interval '{MONITORING_GRACE_SECONDS} s'
  OR q.received_at < clock_timestamp() - interval '{QUOTE_MAX_AGE_SECONDS} s', true)
"""

OF_PAIRS = f"""
SELECT p.id, coalesce(u.since, p.last_activity_at) AS since,
  '{Code.STOP_NOT_MONITORED.value}' AS why
FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS u(source, pair, since)
CROSS JOIN LATERAL (
  SELECT id, last_activity_at FROM positions_executionposition
  WHERE price_source_id IS NOT DISTINCT FROM u.source AND pair = u.pair AND quantity > 0
    AND sl IS NOT NULL AND sl_guardian = 'ENGINE') p
"""

# Not confirmed; or beyond its price for long, and nobody could be asked why it has not executed.
UNCONFIRMED = f"""
SELECT id, last_activity_at AS since, CASE WHEN broker_sl IS NULL AND levels_reported_at IS NULL
    THEN '{Code.STOP_UNCONFIRMED.value}'
  WHEN broker_sl IS NULL THEN '{Code.STOP_DROPPED.value}'
  ELSE '{Code.STOP_COVERS_PART.value}' END AS why
FROM positions_executionposition
WHERE quantity > 0 AND sl IS NOT NULL AND (sl_guardian = ''
  OR sl_guardian = 'BROKER' AND broker_sl IS NULL
  OR sl_guardian = 'BROKER' AND broker_sl_quantity < quantity)
UNION ALL
SELECT id, breached_since, '{Code.STOP_NOT_EXECUTED.value}' FROM positions_executionposition
WHERE breached_level = 'sl' AND quantity > 0
  AND breached_since < clock_timestamp() - interval '{UNREAD_SECONDS} s'
  AND coalesce(broker_checked_at < breached_since, true)
"""

NOTED = "SELECT id FROM positions_executionposition WHERE unprotected_since IS NOT NULL"

LOCK = """
SELECT id FROM positions_executionposition WHERE id = ANY(%s) ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
"""

BEGIN = """
UPDATE positions_executionposition p SET unprotected_since = least(d.since, clock_timestamp()),
  unprotected_reason = d.why, unprotected_alerted = false
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS d(id, since, why)
WHERE p.id = d.id AND p.quantity > 0 AND p.unprotected_since IS NULL
"""

_ALERT = """
INSERT INTO events_event (kind, user_id, connection_id, signal_id, payload)
SELECT 'position.unprotected', coalesce(c.user_id, c.admin_id), m.connection_id, m.signal_id,
  jsonb_build_object('position', m.id, 'code', m.why, 'seconds', m.seconds, 'ended', m.ended,
    'stop', trim_scale(m.sl)::text)
FROM moved m JOIN connections_executionconnection c ON c.id = m.connection_id WHERE m.tell
"""

ALERT = f"""
WITH moved AS (
  UPDATE positions_executionposition p SET unprotected_alerted = true
  WHERE id = ANY(ARRAY(SELECT id FROM positions_executionposition
    WHERE unprotected_since < clock_timestamp() - interval '{ALERT_AFTER_SECONDS} s'
      AND NOT unprotected_alerted ORDER BY id LIMIT {AT_ONCE} FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING id, connection_id, signal_id, sl, unprotected_reason AS why, false AS ended,
    true AS tell,
    round(extract(epoch FROM clock_timestamp() - unprotected_since), 1) AS seconds
){_ALERT}"""

END = f"""
WITH ending AS (
  SELECT id, unprotected_alerted AS tell, unprotected_reason AS why,
    round(extract(epoch FROM clock_timestamp() - unprotected_since), 1) AS seconds
  FROM positions_executionposition WHERE id = ANY(%s) AND unprotected_since IS NOT NULL
), moved AS (
  UPDATE positions_executionposition p SET unprotected_since = NULL, unprotected_reason = '',
    unprotected_alerted = false, unprotected_seconds = p.unprotected_seconds + e.seconds
  FROM ending e WHERE p.id = e.id
  RETURNING p.id, p.connection_id, p.signal_id, p.sl, e.why, true AS ended, e.tell, e.seconds
){_ALERT}"""


def update_unprotected() -> int:
    """Note whose stop is missing and whose is there again; return how many miss theirs now."""
    with transaction.atomic():
        unprotected = _unprotected()
        noted = {row.id for row in rows(NOTED)}
        begun = _locked(unprotected.keys() - noted)
        if begun:
            run(BEGIN, columns([(one, *unprotected[one]) for one in begun], 3))
        if over := _locked(noted - unprotected.keys()):
            run(END, (over,))
        if unprotected:
            run(ALERT)
    return len(unprotected)


def _unprotected() -> Mapping[int, tuple[datetime, str]]:
    """Positions without their stop: since when, and why."""
    run("SET LOCAL jit = off")
    found: list[Any] = []
    if unwatched := rows(UNMONITORED):
        found += rows(OF_PAIRS, columns([(u.source, u.pair, u.since) for u in unwatched], 3))
    found += rows(UNCONFIRMED)
    return {row.id: (row.since, row.why) for row in found}


def _locked(position_ids: set[int]) -> list[int]:
    """Some of them that nobody works on at this moment; the others are looked at next time."""
    some = sorted(position_ids)[:AT_ONCE]  # all are found: whoever is left out has not ended
    return [row.id for row in rows(LOCK, (some,))] if some else []
