"""Since when an execution is known: its own time is the server's, in a zone that a setting names.

A zone that is wrong, as in the weeks in which only one of two countries has summer time, makes a
new execution look old. So what this process has seen arrive counts from then on, by its own clock.
Only what was there at its first read counts by the server's time, and from that read at the latest;
so does what no zone explains: a terminal that has just started reads its history by and by.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from brokers.dwx.server_time import earliest_possible

MAX_SEEN = 1000  # executions remembered, of each account
NEVER = datetime.min.replace(tzinfo=UTC)


class Dated(Protocol):
    """An execution. Later ones have higher numbers; at: by the server's clock."""

    @property
    def number(self) -> int: ...
    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Sightings:
    """Since when executions were known at one read. first_seen: by number; others count by their
    own time. wait: how long the server may open again what an execution closed."""

    read_at: datetime = NEVER
    first_seen: Mapping[int, datetime] = field(default_factory=dict)
    wait: timedelta = timedelta(0)

    def known_since(self, deal: Dated, utc: Callable[[datetime], datetime]) -> datetime:
        """Return since when an execution is known. utc: converts the server's time."""
        return self.first_seen.get(deal.number) or utc(deal.at)


class FirstSeen:
    """When this process first saw each new execution of a terminal, by account: the owner may log
    the terminal in to another one."""

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}
        self._seen: dict[str, dict[int, datetime]] = {}

    def highest(self, account: str) -> int:
        """Return the highest number of an account's executions; below 0 if none were read yet."""
        return self._highest.get(account, -1)

    def note(
        self,
        account: str,
        deals: Sequence[Dated],
        utc: Callable[[datetime], datetime],
        now: datetime,
        wait: timedelta,
    ) -> Sightings:
        """Take in a read of an account's history, oldest first."""
        seen, highest = self._seen.setdefault(account, {}), self._highest.get(account)
        early = earliest_possible(now)
        for deal in deals:
            has_arrived = highest is not None and deal.number > highest
            if deal.at >= early and (has_arrived or utc(deal.at) > now):
                seen.setdefault(deal.number, now)
        for number in list(seen)[:-MAX_SEEN]:
            del seen[number]
        self._highest[account] = max([highest or 0, *(deal.number for deal in deals)])
        return Sightings(now, dict(seen), wait)
