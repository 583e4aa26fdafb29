"""Exits for broker-guarded levels that the broker did not execute.

Each level has one guardian. If the price stays beyond a broker-guarded level for some seconds, we
read the broker's positions. An exit is written only if a read that began after the breach still
shows the position. The broker's own stop may still be live then; `exits/safety.py` decides how the
exit avoids a reversal.
"""

from collections.abc import Sequence

from django.db import transaction

from common.db.sql import kept_plans, rows, run
from execution.exits.orders import open_exits
from execution.monitoring.level_monitor import (
    LATEST,
    LevelHit,
    exit_requests_for,
    find_hits,
    level_hits_sql,
)
from execution.submission.rows import QUOTE_MAX_AGE_SECONDS
from positions.broker_reads import (
    breached_levels,
    mark_breached,
    missed_levels_sql,
    read_breached_sql,
)
from positions.row_locks import lock_positions

TAKE_OVER_SECONDS = 3
UNREAD_SECONDS = 30  # then we alert, and send exits that cannot reverse a position without a read
READ_VALID_SECONDS = 10

FRESH = f"{LATEST} WHERE received_at > clock_timestamp() - interval '{QUOTE_MAX_AGE_SECONDS} s'"
PASSED = level_hits_sql(FRESH, "BROKER", condition="")


REQUEST_READ = read_breached_sql(
    take_over_seconds=TAKE_OVER_SECONDS, valid_seconds=READ_VALID_SECONDS
)

# If the broker could not be read, `exits/safety.py` decides whether the exit may be sent.
MAY_TAKE_OVER = missed_levels_sql(
    take_over_seconds=TAKE_OVER_SECONDS,
    valid_seconds=READ_VALID_SECONDS,
    unread_seconds=UNREAD_SECONDS,
)


def take_over_missed_levels() -> list[int]:
    """Record breaches of broker-guarded levels and write exits where the broker did not act.

    Returns the order ids to enqueue.
    """
    with transaction.atomic(), kept_plans():
        hits = find_hits(PASSED)
        _mark_breached(hits)
        run(REQUEST_READ, planned_once=True)
        due = {(row.id, row.level) for row in rows(MAY_TAKE_OVER, planned_once=True)}
        requests = exit_requests_for([hit for hit in hits if (hit.id, hit.level) in due])
        return [exit_.order_id for exit_ in open_exits(requests, skip_locked=True)]


def _mark_breached(hits: Sequence[LevelHit]) -> None:
    """Record the start and end of breaches; the stop counts before the target."""
    breached = {hit.id: hit.level for hit in sorted(hits, key=lambda hit: hit.level == "sl")}
    recorded = breached_levels()
    changed = [(id_, level) for id_, level in breached.items() if recorded.get(id_) != level]
    changed += [(id_, "") for id_ in recorded if id_ not in breached]
    if changed:
        lock_positions(sorted(id_ for id_, _ in changed))
        mark_breached(changed)
