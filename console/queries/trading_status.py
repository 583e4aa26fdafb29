"""The dashboard's figures on live orders and positions: one statement, partial indexes alone."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from common.db.sql import Query, rows
from execution.base.statements import ALL_PENDING_SQL

MAX_COUNTED = 10_000  # a backlog is counted up to this number


class StatusRow(NamedTuple):
    """All of these figures. at: the database's clock; oldest, longest: seconds, NULL for none."""

    at: datetime
    unknown: int
    unknown_oldest: float | None
    unknown_connections: int
    pending: int
    submitting: int
    submitted: int
    partially_filled: int
    cancel_requested: int
    due_exits: int
    oldest_exit: float | None
    due_entries: int
    oldest_entry: float | None
    unprotected: int
    unprotected_longest: float | None
    drift: int
    drift_oldest: float | None


def _since(time: str, only: str = "") -> str:
    return f"extract(epoch FROM clock_timestamp() - min({time}) {only})::float8"


STATUS = Query(
    StatusRow,
    f"""
SELECT clock_timestamp() AS at, unknown.*, pending.*, working.*, due.*, unprotected.*, drift.*
FROM (
  SELECT count(*) AS unknown, {_since("submitted_at")} AS unknown_oldest,
    count(DISTINCT connection_id) AS unknown_connections
  FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN') AND status = 'UNKNOWN'
) unknown, (
  SELECT count(*) AS pending FROM execution_order WHERE {ALL_PENDING_SQL}
) pending, (
  SELECT count(*) FILTER (WHERE status = 'SUBMITTING') AS submitting,
    count(*) FILTER (WHERE status = 'SUBMITTED') AS submitted,
    count(*) FILTER (WHERE status = 'PARTIALLY_FILLED') AS partially_filled,
    count(*) FILTER (WHERE status = 'CANCEL_REQUESTED') AS cancel_requested
  FROM execution_order
  WHERE status IN ('SUBMITTING', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
) working, (
  SELECT count(*) FILTER (WHERE is_exit) AS due_exits,
    {_since("due_at", "FILTER (WHERE is_exit)")} AS oldest_exit,
    count(*) FILTER (WHERE NOT is_exit) AS due_entries,
    {_since("due_at", "FILTER (WHERE NOT is_exit)")} AS oldest_entry
  FROM (SELECT NOT leg::text LIKE 'entry%%' AS is_exit, due_at FROM execution_order
        WHERE {ALL_PENDING_SQL} AND due_at <= statement_timestamp()
        ORDER BY due_at LIMIT {MAX_COUNTED + 1}) first
) due, (
  SELECT count(*) AS unprotected,
    {_since("coalesce(unprotected_since, last_activity_at)")} AS unprotected_longest
  FROM (
    SELECT id, unprotected_since, last_activity_at FROM positions_executionposition
    WHERE quantity > 0 AND sl IS NOT NULL AND (sl_guardian = ''
      OR sl_guardian = 'BROKER' AND broker_sl IS NULL
      OR sl_guardian = 'BROKER' AND broker_sl_quantity < quantity)
    UNION
    SELECT id, unprotected_since, last_activity_at FROM positions_executionposition
    WHERE quantity > 0 AND unprotected_since IS NOT NULL
  ) either
) unprotected, (
  SELECT count(*) AS drift, {_since("found_at")} AS drift_oldest
  FROM execution_driftitem WHERE state = 'OPEN'
) drift
""",
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Unknown orders. oldest: seconds since the first was sent; connections: how many have one."""

    count: int
    oldest: float | None
    connections: int


@dataclass(frozen=True, slots=True)
class Working:
    """Orders that have not ended, by status."""

    parts: dict[str, int]

    @property
    def count(self) -> int:
        return sum(self.parts.values())

    @property
    def ours(self) -> int:
        """Orders that no broker has acknowledged yet."""
        return self.parts.get("PENDING", 0) + self.parts.get("SUBMITTING", 0)

    @property
    def at_broker(self) -> int:
        return self.count - self.ours


@dataclass(frozen=True, slots=True)
class Unprotected:
    """Open positions without the stop that they should have. longest: seconds."""

    count: int
    longest: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Open drift items. oldest: seconds since the first was found."""

    count: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Queue:
    """Due orders that no worker has claimed. oldest, slow_after: seconds."""

    name: str
    note: str
    count: int
    oldest: float
    slow_after: float

    @property
    def display_count(self) -> str:
        return f"{MAX_COUNTED:,}+" if self.count > MAX_COUNTED else f"{self.count:,}"

    @property
    def state(self) -> tuple[str, str]:
        if not self.count:
            return "ok", "Empty"
        return ("attention", "Slow") if self.oldest > self.slow_after else ("ok", "Moving")


@dataclass(frozen=True, slots=True)
class TradingStatus:
    """All of it, at one moment. at: machine time. queues: exits, which go first, and entries."""

    at: datetime
    unknown: Unknown
    working: Working
    unprotected: Unprotected
    drift: Drift
    queues: list[Queue]


def trading_status() -> TradingStatus:
    """Count the live orders, the due ones, the unprotected positions and the open differences."""
    (row,) = rows(STATUS)
    return TradingStatus(
        row.at,
        Unknown(row.unknown, row.unknown_oldest, row.unknown_connections),
        _working(row),
        Unprotected(row.unprotected, row.unprotected_longest),
        Drift(row.drift, row.drift_oldest),
        [
            Queue("exits", "before entries", row.due_exits, row.oldest_exit or 0.0, slow_after=1),
            Queue("execution", "entries", row.due_entries, row.oldest_entry or 0.0, slow_after=5),
        ],
    )


def _working(row: StatusRow) -> Working:
    counts = {
        "PENDING": row.pending, "SUBMITTING": row.submitting, "SUBMITTED": row.submitted,
        "PARTIALLY_FILLED": row.partially_filled, "CANCEL_REQUESTED": row.cancel_requested,
    }  # fmt: skip
    return Working({status: count for status, count in counts.items() if count})
