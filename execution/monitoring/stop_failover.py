"""Exits for broker-guarded levels that the broker did not execute.

Each level has one guardian. If the price stays beyond a broker-guarded level for some seconds, we
read the broker's positions. An exit is written only if a read that began after the breach still
shows the position. The broker's own stop may still be live then; `exits/safety.py` decides how the
exit avoids a reversal.
"""

from collections.abc import Sequence
from typing import NamedTuple

from django.db import transaction

from common.sql import Query, columns, rows, run
from execution.exits.orders import open_exits
from execution.exits.reservations import lock_positions
from execution.monitoring.level_monitor import (
    LATEST,
    LevelHit,
    exit_requests_for,
    find_hits,
    level_hits_sql,
)
from execution.submission.evaluate import QUOTE_MAX_AGE_SECONDS

TAKE_OVER_SECONDS = 3
UNREAD_SECONDS = 30  # then we alert, and send exits that cannot reverse a position without a read
READ_VALID_SECONDS = 10

FRESH = f"{LATEST} WHERE received_at > clock_timestamp() - interval '{QUOTE_MAX_AGE_SECONDS} s'"
PASSED = level_hits_sql(FRESH, "BROKER", free="")


class Breach(NamedTuple):
    id: int
    breached_level: str


class MissedLevel(NamedTuple):
    id: int
    level: str


MARKED = Query(
    Breach,
    "SELECT id, breached_level FROM positions_executionposition WHERE breached_since IS NOT NULL",
)

MARK_BREACHED = """
UPDATE positions_executionposition p SET breached_level = d.level,
  breached_since = CASE WHEN d.level <> '' THEN clock_timestamp() END
FROM unnest(%s::bigint[], %s::text[]) AS d(id, level) WHERE p.id = d.id
"""

# Repeated while the breach lasts: a read is valid for some seconds only.
REQUEST_READ = f"""
UPDATE positions_executionposition SET broker_check_due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM positions_executionposition
  WHERE breached_since < clock_timestamp() - interval '{TAKE_OVER_SECONDS} s'
    AND quantity > reserved AND broker_check_due_at IS NULL
    AND coalesce(broker_checked_at < greatest(breached_since,
      clock_timestamp() - interval '{READ_VALID_SECONDS} s'), true)
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""

# The broker still holds the position, or could not be read for UNREAD_SECONDS. In the second case
# `exits/safety.py` decides whether the exit may be sent.
MAY_TAKE_OVER = Query(
    MissedLevel,
    f"""
SELECT id, breached_level AS level FROM positions_executionposition
WHERE breached_since < clock_timestamp() - interval '{TAKE_OVER_SECONDS} s' AND quantity > reserved
  AND (broker_quantity > 0 AND broker_checked_at > greatest(breached_since,
      clock_timestamp() - interval '{READ_VALID_SECONDS} s')
    OR breached_since < clock_timestamp() - interval '{UNREAD_SECONDS} s'
      AND coalesce(broker_checked_at < breached_since, true))
""",
)


def take_over_missed_levels() -> list[int]:
    """Record breaches of broker-guarded levels and write exits where the broker did not act.

    Returns the order ids to enqueue.
    """
    with transaction.atomic():
        hits = find_hits(PASSED)
        _mark_breached(hits)
        run(REQUEST_READ)
        due = {(row.id, row.level) for row in rows(MAY_TAKE_OVER)}
        requests = exit_requests_for([hit for hit in hits if (hit.id, hit.level) in due])
        return [exit_.order_id for exit_ in open_exits(requests, skip_locked=True)]


def _mark_breached(hits: Sequence[LevelHit]) -> None:
    """Record the start and end of breaches; the stop counts before the target."""
    breached = {hit.id: hit.level for hit in sorted(hits, key=lambda hit: hit.level == "sl")}
    recorded = {row.id: row.breached_level for row in rows(MARKED)}
    changed = [(id_, level) for id_, level in breached.items() if recorded.get(id_) != level]
    changed += [(id_, "") for id_ in recorded if id_ not in breached]
    if changed:
        lock_positions(sorted(id_ for id_, _ in changed))
        run(MARK_BREACHED, columns(changed, 2))
