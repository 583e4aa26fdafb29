"""Stored times that lie in the future because the database's clock was set back.

Every duration is measured against stored times. If the clock goes back by an hour, each of these
lies in the future for an hour: nothing is overdue, no lease ends, a retry waits, a stale price
counts as fresh. So they are found and set to now, and what waits for them goes on from now on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from common.db.sql import Query, rows, run

AHEAD_SECONDS = 5.0
"""How far a stored time may lie in the future: clocks of two machines differ by less."""
LEASE_SECONDS = 10.0  # no process takes a longer lease
BATCH = 1000


@dataclass(frozen=True, slots=True)
class StoredTimes:
    """The times of a table by the database's clock.

    past: when something happened, so never in the future. bounded: when something ends, in so many
    seconds at most. Only these two prove that the clock was set back; after that they are set to
    now, or to that many seconds from now, and so are those of `due`: when something is tried again,
    which may be far ahead. kept: an end by its start, which is in `past`: it keeps its distance.
    where: the rows that still matter; an index finds them.
    """

    table: str
    key: str = "id"
    past: Sequence[str] = ()
    bounded: Mapping[str, float] = field(default_factory=dict)
    due: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    where: str = "true"

    def _proof(self) -> dict[str, float]:
        """Return the columns that prove something, with the seconds that they may lie ahead."""
        return dict.fromkeys(self.past, 0.0) | dict(self.bounded)

    @property
    def proves(self) -> bool:
        """Whether a time in the future is a fault here."""
        return bool(self._proof())

    def count_sql(self) -> str:
        """Return the SQL of how many rows prove it, and of the seconds they are ahead."""
        furthest = ", ".join(
            f"extract(epoch FROM {column} - now.at) - {seconds}"
            for column, seconds in self._proof().items()
        )
        return f"""
SELECT count(*) AS number, coalesce(max(greatest({furthest})), 0)::float8 AS seconds
FROM {self.table}, (SELECT clock_timestamp() AS at) now
WHERE ({self.where}) AND ({_any_ahead(self._proof())})"""

    def correct_sql(self) -> str:
        """Return the SQL that corrects the next rows. Locked ones are left for the next call."""
        limits = self._proof() | dict(self.due)
        changes = [
            f"{column} = CASE WHEN t.{column} > found.now + interval '{seconds + AHEAD_SECONDS} s'"
            f" THEN found.now + interval '{seconds} s' ELSE t.{column} END"
            for column, seconds in limits.items()
        ] + [
            f"{end} = CASE WHEN t.{start} > found.now + interval '{AHEAD_SECONDS} s'"
            f" THEN t.{end} - (t.{start} - found.now) ELSE t.{end} END"
            for end, start in self.kept.items()
        ]
        return f"""
WITH found AS (
  SELECT {self.table}.ctid AS row, now.at AS now
  FROM {self.table}, (SELECT clock_timestamp() AS at) now
  WHERE ({self.where}) AND ({_any_ahead(limits)})
  ORDER BY {self.key} LIMIT {BATCH} FOR NO KEY UPDATE OF {self.table} SKIP LOCKED)
UPDATE {self.table} t SET {", ".join(changes)} FROM found WHERE t.ctid = found.row"""


def _any_ahead(limits: Mapping[str, float]) -> str:
    return " OR ".join(
        f"{column} > now.at + interval '{seconds + AHEAD_SECONDS} s'"
        for column, seconds in limits.items()
    )


class AheadRow(NamedTuple):
    """How many rows of a table have times in the future, and how far."""

    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of a table with times in the future. seconds: how far the furthest one is."""

    table: str
    count: int
    seconds: float


_registered: list[StoredTimes] = []


def register_stored_times(*times: StoredTimes) -> None:
    """Let the times of these tables be corrected, in this order, after the clock was set back."""
    _registered.extend(times)


def registered_times() -> Sequence[StoredTimes]:
    return tuple(_registered)


def find_times_ahead() -> list[Found]:
    """Return the tables with times in the future that prove that the clock was set back."""
    found = (_found(times) for times in _registered if times.proves)
    return [one for one in found if one.count]


def correct_times_ahead() -> list[Found]:
    """If the clock was set back, set the stored times that lie in the future to now.

    Returns what proved it; [] and changes nothing if nothing does. Each batch is a statement of its
    own. What another session has locked is not waited for.
    """
    if proof := find_times_ahead():
        for times in _registered:
            while run(times.correct_sql()) == BATCH:
                pass
    return proof


def _found(times: StoredTimes) -> Found:
    (row,) = rows(Query(AheadRow, times.count_sql()))
    return Found(times.table, row.number, row.seconds)
