"""Which process polls which bot. Times are the database's; the row is the lease."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from common.sql import Query, array, rows, run

# A bot that is due and that is free. One whose lease has mostly passed is renewed.
TAKE = """
UPDATE signals_telegrambot b SET holder = %(holder)s,
  fence = CASE WHEN b.holder = %(holder)s AND b.lease_until > clock_timestamp() THEN b.fence
    ELSE b.fence + 1 END,
  lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE b.id = ANY(ARRAY(
  SELECT t.id FROM signals_telegrambot t JOIN signals_feed f ON f.id = t.feed_id
    JOIN users_user u ON u.id = f.owner_id
  WHERE NOT t.is_paused AND f.archived_at IS NULL AND u.is_active
    AND (t.lease_until < clock_timestamp() OR t.holder = %(holder)s
      AND t.lease_until < clock_timestamp() + make_interval(secs => %(seconds)s * 0.6))
  ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED))
"""


class HeldBot(NamedTuple):
    """A bot of this process. is_due: it may be polled now."""

    id: int
    fence: int
    next_offset: int
    is_due: bool
    is_checked: bool
    token_sealed: bytes
    update_at: datetime | None
    failures: int


HELD = Query(
    HeldBot,
    """
SELECT b.id, b.fence, b.next_offset, b.due_at <= clock_timestamp() AS is_due,
  b.checked_at IS NOT NULL AS is_checked, b.token_sealed, b.update_at, b.failures
FROM signals_telegrambot b JOIN signals_feed f ON f.id = b.feed_id
  JOIN users_user u ON u.id = f.owner_id
WHERE b.holder = %s AND b.lease_until > clock_timestamp() AND NOT b.is_paused
  AND f.archived_at IS NULL AND u.is_active
ORDER BY b.id
""",
)
FREE_OR_AGED = """
SELECT 1 AS one FROM signals_telegrambot t
WHERE NOT t.is_paused AND (t.lease_until < clock_timestamp() OR t.holder = %s
  AND t.lease_until < clock_timestamp() + make_interval(secs => %s)) LIMIT 1
"""
RELEASE = """
UPDATE signals_telegrambot SET holder = '', lease_until = clock_timestamp()
WHERE holder = %s AND id = ANY(%s::bigint[])
"""


def take_bots(holder: str, seconds: float) -> Sequence[HeldBot]:
    """Take the bots that are free, renew those of this process, and return its own."""
    if rows(FREE_OR_AGED, (holder, seconds * 0.6)):
        run(TAKE, {"holder": holder, "seconds": seconds})
    return rows(HELD, (holder,))


def release_bots(holder: str, ids: Collection[int]) -> None:
    """End the leases of a process, so that another one polls at once."""
    run(RELEASE, (holder, array(ids)))
