"""What the last reads of brokers have shown of positions, and which positions to read next.

A position is read at its broker from `broker_check_due_at` on. `broker_quantity` is what the broker
certainly held of it when the read began (`broker_checked_at`).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common.db.sql import Query, columns, periodic_run, rows, run
from connections.session_lanes import in_held_lanes_sql


class BreachedPosition(NamedTuple):
    """A position whose price is beyond a broker-guarded level, `sl` or `tp`."""

    id: int
    breached_level: str


class MissedLevel(NamedTuple):
    """A broker-guarded level that the broker has not executed, `sl` or `tp`."""

    id: int
    level: str


# ---- reads on request ----------------------------------------------------------------------------
# The claim lasts as long as the call may take (parameter `longest`, seconds). Closed positions need
# no read: theirs is only ended. An account that is being read (parameter `reading`) is read again
# afterwards, for all of its due positions: one for each would keep all waiting for a slot.
CLAIM_READS_SQL = f"""WITH due AS (
  SELECT id FROM positions_executionposition
  WHERE broker_check_due_at <= statement_timestamp() AND {in_held_lanes_sql("connection_id")}
    AND connection_id <> ALL(%(reading)s::uuid[])
  ORDER BY broker_check_due_at LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
  UPDATE positions_executionposition p SET broker_check_due_at =
    CASE WHEN p.quantity > 0 THEN clock_timestamp() + make_interval(secs => %(longest)s) END
  FROM due WHERE p.id = due.id
  RETURNING p.id, p.connection_id, p.broker_check_due_at
)"""
"""The WITH of a statement that claims due reads: `claimed` has id, connection_id and
broker_check_due_at, NULL for positions that are closed."""

RETRY_READS = """
UPDATE positions_executionposition
  SET broker_check_due_at = clock_timestamp() + interval '2 seconds'
WHERE id = ANY(%s) AND broker_check_due_at IS NOT NULL
"""

STORE_READS = """
UPDATE positions_executionposition p SET broker_quantity = d.quantity,
  broker_quantity_is_shared = d.is_shared,
  broker_checked_at = d.began, broker_check_due_at = NULL,
  broker_position_id = coalesce(nullif(d.broker_position_id, ''), p.broker_position_id)
FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::text[], %s::boolean[])
  AS d(id, began, quantity, broker_position_id, is_shared)
WHERE p.id = d.id AND (p.broker_checked_at IS NULL OR p.broker_checked_at < d.began)
"""


def request_reads_sql(ids: str) -> str:
    """Return an UPDATE that requests a read of the positions of a subquery, which locks them."""
    return (
        "UPDATE positions_executionposition SET broker_check_due_at = clock_timestamp()"
        f" WHERE id = ANY(ARRAY({ids}))"
    )


def retry_reads(position_ids: Sequence[int]) -> None:
    """Schedule failed reads again, in 2 s."""
    run(RETRY_READS, (list(position_ids),))


class BrokerRead(NamedTuple):
    """What a broker holds of a position. began: when the read began, by the database's clock.

    is_shared: quantities of other positions were deducted.
    """

    position_id: int
    began: datetime
    quantity: Decimal
    broker_position_id: str
    is_shared: bool


def store_reads(reads: Collection[BrokerRead]) -> None:
    """Store what brokers hold, one read for each position, unless a later one was stored.

    Lock the positions first.
    """
    periodic_run(STORE_READS, columns(sorted(reads), 5))


# ---- the broker's ids of positions ---------------------------------------------------------------
SET_BROKER_POSITION_IDS = """
UPDATE positions_executionposition p SET broker_position_id = d.broker_position_id
FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[])
  AS d(connection_id, signal_id, entry_leg, broker_position_id)
WHERE p.connection_id = d.connection_id AND p.signal_id = d.signal_id
  AND p.entry_leg = d.entry_leg AND p.broker_position_id = ''
"""


def set_broker_position_ids(records: Collection[tuple[str, int, str, str]]) -> None:
    """Store the broker's ids of positions that have none.

    records: connection id, signal id, the leg of the entry that opened it, broker's id.
    """
    run(SET_BROKER_POSITION_IDS, columns(sorted(records), 4))


RELINK_SQL = """WITH moved AS (
  UPDATE positions_executionposition p SET broker_position_id = d.new, missing_since = NULL,
    last_activity_at = clock_timestamp()
  FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS d(id, old, new)
  WHERE p.id = d.id AND p.broker_position_id = d.old AND p.quantity > 0
  RETURNING p.id, p.signal_id, p.connection_id, d.old, d.new
)"""
"""The WITH of a statement that gives positions, which the caller has locked, the number that their
broker has for them now: `moved`. Parameters: ids, former numbers, new ones."""


# ---- breached levels -----------------------------------------------------------------------------
BREACHED = Query(
    BreachedPosition,
    "SELECT id, breached_level FROM positions_executionposition WHERE breached_since IS NOT NULL",
)

MARK_BREACHED = """
UPDATE positions_executionposition p SET breached_level = d.level,
  breached_since = CASE WHEN d.level <> '' THEN clock_timestamp() END
FROM unnest(%s::bigint[], %s::text[]) AS d(id, level) WHERE p.id = d.id
"""


def read_breached_sql(*, take_over_seconds: int, valid_seconds: int) -> str:
    """Return an UPDATE that requests a read of positions breached for `take_over_seconds`.

    A read is valid for `valid_seconds`, so it is repeated while the breach lasts.
    """
    return request_reads_sql(f"""
  SELECT id FROM positions_executionposition
  WHERE breached_since < clock_timestamp() - interval '{take_over_seconds} s'
    AND quantity > reserved AND broker_check_due_at IS NULL
    AND coalesce(broker_checked_at < greatest(breached_since,
      clock_timestamp() - interval '{valid_seconds} s'), true)
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED""")


def missed_levels_sql(
    *, take_over_seconds: int, valid_seconds: int, unread_seconds: int
) -> Query[MissedLevel]:
    """Return the statement that finds breached levels which brokers do not execute.

    The broker still holds the position, or could not be read for `unread_seconds`.
    """
    return Query(
        MissedLevel,
        f"""
SELECT id, breached_level AS level FROM positions_executionposition
WHERE breached_since < clock_timestamp() - interval '{take_over_seconds} s' AND quantity > reserved
  AND (broker_quantity > 0 AND broker_checked_at > greatest(breached_since,
      clock_timestamp() - interval '{valid_seconds} s')
    OR breached_since < clock_timestamp() - interval '{unread_seconds} s'
      AND coalesce(broker_checked_at < breached_since, true))
""",
    )


def breached_levels() -> dict[int, str]:
    """Return the positions that are recorded as breached, and which level."""
    return {row.id: row.breached_level for row in rows(BREACHED)}


def mark_breached(levels: Sequence[tuple[int, str]]) -> None:
    """Record which level of a position is breached, "" for none any more. Lock the rows first."""
    run(MARK_BREACHED, columns(levels, 2))


# ---- missing positions ---------------------------------------------------------------------------
MARK_MISSING = """
UPDATE positions_executionposition SET missing_since = %s
WHERE id = ANY(%s) AND quantity > 0 AND (missing_since IS NULL OR missing_since <= last_activity_at)
"""

UNMARK_MISSING = """
UPDATE positions_executionposition SET missing_since = NULL
WHERE connection_id = ANY(%s) AND quantity > 0 AND missing_since IS NOT NULL AND NOT id = ANY(%s)
"""

UNMARK_ALL_MISSING = """
UPDATE positions_executionposition SET missing_since = NULL WHERE missing_since IS NOT NULL
"""


def mark_missing(position_ids: Sequence[int], began: datetime) -> None:
    """Record that a read which began at this time did not show these positions.

    An earlier mark stays, unless the position had activity since.
    """
    run(MARK_MISSING, (began, list(position_ids)))


def unmark_missing(connection_ids: Sequence[UUID], still_missing: Sequence[int]) -> None:
    """Remove the marks of these connections' positions, except those that are still missing."""
    run(UNMARK_MISSING, (list(connection_ids), list(still_missing)))


def unmark_all_missing() -> None:
    """Remove the marks of all positions: after a restore each needs two new reads."""
    run(UNMARK_ALL_MISSING)
