"""Which open positions have no effective stop, and for how long: `unprotected_since` and the total.

A position is protected if the broker has confirmed the stop for its whole quantity, or if we guard
the stop and evaluate its prices (`execution/monitoring/unprotected_time.py`). All statements find
their rows by partial indexes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from common.db.sql import IdRow, Query, columns, rows, run
from common.reason_codes import Code
from positions.broker_levels import DIFFERS_FROM_BROKER_SQL


class UnprotectedPosition(NamedTuple):
    """A position without its stop. reason: the code."""

    id: int
    since: datetime
    reason: str


def pairs_with_stop_sql(side: str) -> str:
    """Return a recursive CTE, `buy` or `sell`: each (price_source_id, pair) with a stop of a side.

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


# The positions whose stop we guard, of pairs that are not evaluated.
OF_UNMONITORED_PAIRS = Query(
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


def unconfirmed_sql(unread_seconds: int) -> Query[UnprotectedPosition]:
    """Return the statement for stops that the broker should hold and has not confirmed.

    Also for those whose removal for an exit, or whose change, was sent and is not confirmed: they
    may be gone, since some exchanges cancel a stop before they take another one. And for those
    breached for so long while the broker could not be read.
    """
    return Query(
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
SELECT id, clock_timestamp(), '{Code.STOP_UNCONFIRMED.value}' FROM positions_executionposition
WHERE {DIFFERS_FROM_BROKER_SQL} AND (protection_suspended OR level_sync_attempts > 1)
  AND broker_sl IS NOT NULL AND quantity > 0 AND sl IS NOT NULL
  AND sl_guardian = 'BROKER' AND levels_reported_at IS NULL
  AND NOT coalesce(broker_sl_quantity < quantity, false)
UNION ALL
SELECT id, breached_since, '{Code.STOP_NOT_EXECUTED.value}' FROM positions_executionposition
WHERE breached_level = 'sl' AND quantity > 0
  AND breached_since < clock_timestamp() - interval '{unread_seconds} s'
  AND coalesce(broker_checked_at < breached_since, true)
""",
    )


RECORDED = Query(
    IdRow, "SELECT id FROM positions_executionposition WHERE unprotected_since IS NOT NULL"
)

BEGIN_PERIODS = """
UPDATE positions_executionposition p SET unprotected_since = least(d.since, clock_timestamp()),
  unprotected_reason = d.reason, unprotected_alerted = false
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS d(id, since, reason)
WHERE p.id = d.id AND p.quantity > 0 AND p.unprotected_since IS NULL
"""


def recorded_as_unprotected() -> set[int]:
    """Return the ids of the positions that are recorded as unprotected."""
    return {row.id for row in rows(RECORDED)}


def begin_unprotected(unprotected: Sequence[UnprotectedPosition]) -> None:
    """Record since when and why these positions are unprotected. Lock the rows first."""
    run(BEGIN_PERIODS, columns(unprotected, 3))


# Of both updates a row has id, connection_id, signal_id, sl, reason, ended, is_alerted and seconds.
def mark_alerted_sql(after_seconds: int, limit: int) -> str:
    """Return an UPDATE that marks positions, unprotected for so long, as alerted. Returns them."""
    return f"""UPDATE positions_executionposition p SET unprotected_alerted = true
  WHERE id = ANY(ARRAY(SELECT id FROM positions_executionposition
    WHERE unprotected_since < clock_timestamp() - interval '{after_seconds} s'
      AND NOT unprotected_alerted ORDER BY id LIMIT {limit} FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING id, connection_id, signal_id, sl, unprotected_reason AS reason, false AS ended,
    true AS is_alerted,
    round(extract(epoch FROM clock_timestamp() - unprotected_since), 1) AS seconds"""


END_PERIODS_SQL = """WITH ending AS (
  SELECT id, unprotected_alerted AS is_alerted, unprotected_reason AS reason,
    round(extract(epoch FROM clock_timestamp() - unprotected_since), 1) AS seconds
  FROM positions_executionposition WHERE id = ANY(%s) AND unprotected_since IS NOT NULL
), moved AS (
  UPDATE positions_executionposition p SET unprotected_since = NULL, unprotected_reason = '',
    unprotected_alerted = false, unprotected_seconds = p.unprotected_seconds + e.seconds
  FROM ending e WHERE p.id = e.id
  RETURNING p.id, p.connection_id, p.signal_id, p.sl, e.reason, true AS ended,
    e.is_alerted, e.seconds
)"""
"""The WITH of a statement that ends the unprotected periods of positions; `moved` are those."""
