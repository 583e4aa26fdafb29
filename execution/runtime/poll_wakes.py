"""Wake the poll of accounts about which something is known that their broker does not report.

A wake makes an account due at once, whatever its interval is. It is stored, so that the process
that polls the account sees it: this one at once, another one with its next look. A wake during a
poll lets one more poll follow, since the running one may have read before. Wakes of an account that
come closer together than WAKE_SECONDS are one.
"""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from common.db.sql import Query, array, periodic_rows
from common.process.job_alarm import JobAlarm

WAKE_SECONDS = 0.1  # between the polls of an account that are woken
CLOCK_SECONDS = 0.001  # by which this process's clock may be quicker: a look must not be too early
polls = JobAlarm()  # of this process's polling job


class WokenRow(NamedTuple):
    """When the first of the woken accounts is due; None if each of them is being polled."""

    seconds: float | None


# Rows are locked in the order of their ids, as `request_reconciliation` locks them. A poll that is
# running keeps its claim; its end compares `woken_at` with its start. A process that died in a poll
# leaves `poll_began_at`: the account is due when its claim ends. GREATEST and LEAST ignore NULL.
WAKE = Query(
    WokenRow,
    """
WITH locked AS (
  SELECT r.connection_id, greatest(clock_timestamp(), CASE WHEN r.woken_at > clock_timestamp()
    THEN r.woken_at ELSE r.woken_at + make_interval(secs => %(gap)s) END) AS at
  FROM execution_accountsyncstate r WHERE r.connection_id = ANY(%(ids)s::uuid[])
  ORDER BY r.connection_id FOR NO KEY UPDATE OF r
), woken AS (
  UPDATE execution_accountsyncstate r SET woken_at = l.at, poll_after = CASE
    WHEN r.poll_began_at IS NULL THEN least(r.poll_after, l.at) ELSE r.poll_after END
  FROM locked l WHERE r.connection_id = l.connection_id
  RETURNING r.poll_began_at, r.poll_after
)
SELECT extract(epoch FROM min(poll_after) FILTER (WHERE poll_began_at IS NULL)
  - clock_timestamp())::float8 AS seconds
FROM woken
""",
)


def wake_polls(connection_ids: Collection[UUID]) -> None:
    """Poll these accounts at once, those that are polled now once more. Locks their rows.

    What is not polled at all (its broker has an event stream, nothing of it is open) stays so.
    """
    if not connection_ids:
        return
    [woken] = periodic_rows(WAKE, {"ids": array(connection_ids), "gap": WAKE_SECONDS})
    if woken.seconds is not None:
        poll_in(woken.seconds)


def poll_in(seconds: float) -> None:
    """Let this process look for due accounts in so many seconds of the database's clock."""
    polls.set(seconds + CLOCK_SECONDS if seconds > 0 else 0.0)
