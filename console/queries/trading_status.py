"""The dashboard's figures on live orders and positions, each from a partial index."""

from dataclasses import dataclass

from common.sql import rows
from execution.base.statements import ALL_PENDING_SQL

_UNKNOWN = """
SELECT count(*) AS count, extract(epoch FROM clock_timestamp() - min(submitted_at)) AS oldest,
       count(DISTINCT connection_id) AS connections
FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN') AND status = 'UNKNOWN'
"""
_WORKING = f"""
SELECT status, count(*) AS count FROM execution_order
WHERE status IN ('SUBMITTING', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED') GROUP BY status
UNION ALL
SELECT 'PENDING', count(*) FROM execution_order WHERE {ALL_PENDING_SQL}
"""
_UNPROTECTED = """
SELECT count(*) AS count,
  extract(epoch FROM clock_timestamp() - min(coalesce(unprotected_since,
  last_activity_at))) AS longest
FROM (
  SELECT id, unprotected_since, last_activity_at FROM positions_executionposition
  WHERE quantity > 0 AND sl IS NOT NULL AND (sl_guardian = ''
    OR sl_guardian = 'BROKER' AND broker_sl IS NULL
    OR sl_guardian = 'BROKER' AND broker_sl_quantity < quantity)
  UNION
  SELECT id, unprotected_since, last_activity_at FROM positions_executionposition
  WHERE quantity > 0 AND unprotected_since IS NOT NULL
) unprotected
"""
_DRIFT = """
SELECT count(*) AS count, extract(epoch FROM clock_timestamp() - min(found_at)) AS oldest
FROM execution_driftitem WHERE state = 'OPEN'
"""


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


def unknown() -> Unknown:
    """Count the unknown orders."""
    row = rows(_UNKNOWN)[0]
    return Unknown(row.count, row.oldest, row.connections)


def working() -> Working:
    """Count the orders that have not ended."""
    return Working({row.status: row.count for row in rows(_WORKING) if row.count})


def unprotected() -> Unprotected:
    """Count the unprotected positions."""
    row = rows(_UNPROTECTED)[0]
    return Unprotected(row.count, row.longest)


def drift() -> Drift:
    """Count the open drift items."""
    row = rows(_DRIFT)[0]
    return Drift(row.count, row.oldest)
