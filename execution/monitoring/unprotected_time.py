"""Unprotected time: how long a position that should have a stop has had none.

A position is protected if the broker has confirmed the stop for its whole quantity, or if we guard
the stop and evaluate its prices. Otherwise the time is recorded, alerted after
ALERT_AFTER_SECONDS, and added up on the position.

Runs each second through partial indexes: protected positions cost one index search per pair, not
one per position.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from common.reason_codes import Code
from common.sql import IdRow, Query, columns, rows, run
from execution.base.statements import event_rows_sql, insert_events_sql
from execution.monitoring.stop_failover import UNREAD_SECONDS
from execution.submission.evaluate import QUOTE_MAX_AGE_SECONDS

ALERT_AFTER_SECONDS = 5
MONITORING_GRACE_SECONDS = 3  # a source is evaluated once a second, with or without quotes
BATCH_SIZE = 5000


def _pairs(side: str) -> str:
    """Return a CTE with each (price source, pair) that has a stop on this side.

    It costs one index search for each pair.
    """
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


class UnmonitoredPair(NamedTuple):
    """A pair whose stops are not evaluated. source: None if its positions have no price source."""

    source: int | None
    pair: str
    since: datetime | None


class UnprotectedPosition(NamedTuple):
    """A position without its stop. reason: the code."""

    id: int
    since: datetime
    reason: str


# Pairs whose engine-guarded stops are not evaluated, and since when as far as known.
UNMONITORED = Query(
    UnmonitoredPair,
    f"""
WITH RECURSIVE {_pairs("BUY")}, {_pairs("SELL")}
SELECT h.price_source_id AS source, h.pair, least(w.last_evaluated_at, q.received_at) AS since
FROM (SELECT * FROM buy UNION SELECT * FROM sell) h
LEFT JOIN prices_latestquote q ON q.data_connection_id = h.price_source_id AND q.symbol = h.pair
LEFT JOIN execution_levelmonitorheartbeat w ON w.source_id = h.price_source_id
WHERE coalesce(w.last_evaluated_at < clock_timestamp() - interval '{MONITORING_GRACE_SECONDS} s'
  OR q.received_at < clock_timestamp() - interval '{QUOTE_MAX_AGE_SECONDS} s', true)
""",
)

OF_PAIRS = Query(
    UnprotectedPosition,
    f"""
SELECT p.id, coalesce(u.since, p.last_activity_at) AS since,
  '{Code.STOP_NOT_MONITORED.value}' AS reason
FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS u(source, pair, since)
CROSS JOIN LATERAL (
  SELECT id, last_activity_at FROM positions_executionposition
  WHERE price_source_id IS NOT DISTINCT FROM u.source AND pair = u.pair AND quantity > 0
    AND sl IS NOT NULL AND sl_guardian = 'ENGINE') p
""",
)

# Not confirmed; or breached for UNREAD_SECONDS while the broker could not be read.
UNCONFIRMED = Query(
    UnprotectedPosition,
    f"""
SELECT id, last_activity_at AS since, CASE WHEN broker_sl IS NULL AND levels_reported_at IS NULL
    THEN '{Code.STOP_UNCONFIRMED.value}'
  WHEN broker_sl IS NULL THEN '{Code.STOP_DROPPED.value}'
  ELSE '{Code.STOP_COVERS_PART.value}' END AS reason
FROM positions_executionposition
WHERE quantity > 0 AND sl IS NOT NULL AND (sl_guardian = ''
  OR sl_guardian = 'BROKER' AND broker_sl IS NULL
  OR sl_guardian = 'BROKER' AND broker_sl_quantity < quantity)
UNION ALL
SELECT id, breached_since, '{Code.STOP_NOT_EXECUTED.value}' FROM positions_executionposition
WHERE breached_level = 'sl' AND quantity > 0
  AND breached_since < clock_timestamp() - interval '{UNREAD_SECONDS} s'
  AND coalesce(broker_checked_at < breached_since, true)
""",
)

RECORDED = Query(
    IdRow, "SELECT id FROM positions_executionposition WHERE unprotected_since IS NOT NULL"
)

LOCK = Query(
    IdRow,
    """
SELECT id FROM positions_executionposition WHERE id = ANY(%s) ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
""",
)

BEGIN = """
UPDATE positions_executionposition p SET unprotected_since = least(d.since, clock_timestamp()),
  unprotected_reason = d.reason, unprotected_alerted = false
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS d(id, since, reason)
WHERE p.id = d.id AND p.quantity > 0 AND p.unprotected_since IS NULL
"""

_ALERT = insert_events_sql(
    event_rows_sql(
        "moved m",
        kind="'position.unprotected'",
        payload="""jsonb_build_object('position', m.id, 'code', m.reason, 'seconds', m.seconds,
  'ended', m.ended, 'stop', trim_scale(m.sl)::text)""",
        order_id="NULL::bigint",
        where="m.is_alerted",
    )
)

ALERT = f"""
WITH moved AS (
  UPDATE positions_executionposition p SET unprotected_alerted = true
  WHERE id = ANY(ARRAY(SELECT id FROM positions_executionposition
    WHERE unprotected_since < clock_timestamp() - interval '{ALERT_AFTER_SECONDS} s'
      AND NOT unprotected_alerted ORDER BY id LIMIT {BATCH_SIZE} FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING id, connection_id, signal_id, sl, unprotected_reason AS reason, false AS ended,
    true AS is_alerted,
    round(extract(epoch FROM clock_timestamp() - unprotected_since), 1) AS seconds
){_ALERT}"""

END = f"""
WITH ending AS (
  SELECT id, unprotected_alerted AS is_alerted, unprotected_reason AS reason,
    round(extract(epoch FROM clock_timestamp() - unprotected_since), 1) AS seconds
  FROM positions_executionposition WHERE id = ANY(%s) AND unprotected_since IS NOT NULL
), moved AS (
  UPDATE positions_executionposition p SET unprotected_since = NULL, unprotected_reason = '',
    unprotected_alerted = false, unprotected_seconds = p.unprotected_seconds + e.seconds
  FROM ending e WHERE p.id = e.id
  RETURNING p.id, p.connection_id, p.signal_id, p.sl, e.reason, true AS ended,
    e.is_alerted, e.seconds
){_ALERT}"""


def update_unprotected() -> int:
    """Record which positions became unprotected or protected; return how many are unprotected."""
    with transaction.atomic():
        unprotected = _unprotected()
        recorded = {row.id for row in rows(RECORDED)}
        if started := _lock(unprotected.keys() - recorded):
            run(BEGIN, columns([(id_, *unprotected[id_]) for id_ in started], 3))
        if ended := _lock(recorded - unprotected.keys()):
            run(END, (ended,))
        if unprotected:
            run(ALERT)
    return len(unprotected)


def _unprotected() -> Mapping[int, tuple[datetime, str]]:
    """Return since when and why each unprotected position has no stop."""
    run("SET LOCAL jit = off")
    found: list[UnprotectedPosition] = []
    if pairs := rows(UNMONITORED):
        found += rows(OF_PAIRS, columns([(row.source, row.pair, row.since) for row in pairs], 3))
    found += rows(UNCONFIRMED)
    return {row.id: (row.since, row.reason) for row in found}


def _lock(position_ids: set[int]) -> list[int]:
    """Lock up to BATCH_SIZE positions; return their ids. Others come in the next round."""
    batch = sorted(position_ids)[:BATCH_SIZE]
    return [row.id for row in rows(LOCK, (batch,))] if batch else []
