"""Each level has one guardian. Where that is the broker, we step in only when it did not act.

When the price has been beyond a level of the broker's for some seconds, the broker is asked what it
holds; only a read that began after the price got there, and shows the position, makes an exit. The
exit goes by what the account can do (`exits/safety.py`), beside protection that may still be live.
"""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from common.sql import columns, rows, run
from execution.exits.orders import open_exits
from execution.exits.reservations import lock_positions
from execution.monitoring.level_monitor import LATEST, exit_requests_for, find_hits, level_hits_sql
from execution.submission.evaluate import QUOTE_MAX_AGE_SECONDS

TAKE_OVER_SECONDS = 3
UNREAD_SECONDS = 30  # then it is an alarm, and what cannot reverse anything is sent unread
READ_COUNTS_SECONDS = 10

FRESH = f"{LATEST} WHERE received_at > clock_timestamp() - interval '{QUOTE_MAX_AGE_SECONDS} s'"
PASSED = level_hits_sql(FRESH, "BROKER", free="")

MARKED = (
    "SELECT id, breached_level FROM positions_executionposition WHERE breached_since IS NOT NULL"
)

MARK_BREACHED = """
UPDATE positions_executionposition p SET breached_level = d.level,
  breached_since = CASE WHEN d.level <> '' THEN clock_timestamp() END
FROM unnest(%s::bigint[], %s::text[]) AS d(id, level) WHERE p.id = d.id
"""

# Asked again for as long as it lasts: an answer counts for some seconds only.
REQUEST_READ = f"""
UPDATE positions_executionposition SET broker_check_due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM positions_executionposition
  WHERE breached_since < clock_timestamp() - interval '{TAKE_OVER_SECONDS} s'
    AND quantity > reserved AND broker_check_due_at IS NULL
    AND coalesce(broker_checked_at < greatest(breached_since,
      clock_timestamp() - interval '{READ_COUNTS_SECONDS} s'), true)
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""

# The broker does have it, or it cannot be asked for so long that the exit is written: whether it
# may leave unread is for `exits/safety.py` to say.
MAY_TAKE_OVER = f"""
SELECT id, breached_level AS level FROM positions_executionposition
WHERE breached_since < clock_timestamp() - interval '{TAKE_OVER_SECONDS} s' AND quantity > reserved
  AND (broker_quantity > 0 AND broker_checked_at > greatest(breached_since,
      clock_timestamp() - interval '{READ_COUNTS_SECONDS} s')
    OR breached_since < clock_timestamp() - interval '{UNREAD_SECONDS} s'
      AND coalesce(broker_checked_at < breached_since, true))
"""


def take_over_missed_levels() -> list[int]:
    """Note which levels of brokers the price has passed, and write exits where they did not act.

    Returns the ids to ring.
    """
    with transaction.atomic():
        hits = find_hits(PASSED)
        _mark_breached(hits)
        run(REQUEST_READ)
        due = {(row.id, row.level) for row in rows(MAY_TAKE_OVER)}
        requests = exit_requests_for([hit for hit in hits if (hit.id, hit.level) in due])
        return [exit_.order_id for exit_ in open_exits(requests, skip_locked=True)]


def _mark_breached(hits: Sequence[Any]) -> None:
    """Since when each position's price has been beyond; the stop counts before the target."""
    passed = {hit.id: hit.level for hit in sorted(hits, key=lambda hit: hit.level == "sl")}
    noted = {row.id: row.breached_level for row in rows(MARKED)}
    changed = [(one, level) for one, level in passed.items() if noted.get(one) != level]
    changed += [(one, "") for one in noted if one not in passed]
    if changed:
        lock_positions(sorted(one for one, _ in changed))
        run(MARK_BREACHED, columns(changed, 2))
