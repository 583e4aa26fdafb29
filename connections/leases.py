"""The leases of session lanes: which process holds which lane, and until when.

Times are the database's. `execution/runtime/lane_leases.py` decides which leases a process takes.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from common.db.sql import Query, array, columns, rows, run


class TakenLease(NamedTuple):
    """A lease that was taken, with its fencing token."""

    lane: str
    fence: int


class LaneRow(NamedTuple):
    """A lane by its name."""

    lane: str


TAKE = Query(
    TakenLease,
    """
INSERT INTO connections_lanelease AS l (lane, owner, fence, acquired_at, until)
SELECT lane, %(owner)s, 1, clock_timestamp(), clock_timestamp() + make_interval(secs => %(lease)s)
FROM unnest(%(lanes)s::text[]) AS t (lane) ORDER BY lane
ON CONFLICT (lane) DO UPDATE SET owner = EXCLUDED.owner, fence = l.fence + 1,
  acquired_at = EXCLUDED.acquired_at, until = EXCLUDED.until
WHERE l.until < clock_timestamp()
RETURNING lane, fence
""",
)

RENEW = Query(
    LaneRow,
    """
UPDATE connections_lanelease l SET until = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::text[], %s::bigint[]) AS t (lane, fence)
WHERE l.lane = t.lane AND l.fence = t.fence AND l.owner = %s
RETURNING l.lane
""",
)

RELEASE = """
UPDATE connections_lanelease l SET owner = '', until = clock_timestamp()
FROM unnest(%s::text[], %s::bigint[]) AS t (lane, fence)
WHERE l.lane = t.lane AND l.fence = t.fence AND l.owner = %s
"""

FREE = Query(
    LaneRow,
    """
SELECT t.lane FROM unnest(%s::text[]) AS t (lane)
LEFT JOIN connections_lanelease l ON l.lane = t.lane
WHERE l.lane IS NULL OR l.until < clock_timestamp() ORDER BY t.lane
""",
)


def take_leases(lanes: Collection[str], *, owner: str, seconds: float) -> dict[str, int]:
    """Take the leases of these lanes for so long; return the fencing tokens of those taken.

    A lane whose lease another process has taken meanwhile is left out.
    """
    parameters = {"owner": owner, "lease": seconds, "lanes": array(lanes)}
    return {row.lane: row.fence for row in rows(TAKE, parameters)}


def renew_leases(
    fences: Sequence[tuple[str, int]], *, owner: str, seconds: float
) -> frozenset[str]:
    """Extend an owner's leases, lanes with fencing tokens; return the lanes that it still holds."""
    renewed = rows(RENEW, (seconds, *columns(fences, 2), owner))
    return frozenset(row.lane for row in renewed)


def release_leases(fences: Sequence[tuple[str, int]], *, owner: str) -> None:
    """End an owner's leases, lanes with fencing tokens, unless another owner has taken them."""
    run(RELEASE, (*columns(fences, 2), owner))


def free_lanes(lanes: Iterable[str]) -> list[str]:
    """Return those of these lanes that no process holds, by name."""
    return [row.lane for row in rows(FREE, (array(lanes),))]
