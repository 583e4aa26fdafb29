"""The times of faults: they separate a system that would not trade from one that could not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

FOREVER = float("inf")
SIDE = {  # who caused it; failures of our own processes and Redis excuse no lack of trading
    "broker": {
        "broker-kill", "broker-stop", "broker-reset", "broker-refuse", "broker-half",
        "silent-before", "silent-after", "slow", "late", "partition", "mute", "delay",
    },
    "database": {"postgres-restart", "postgres-crash"},
}  # fmt: skip
SOME = {
    "silent-before",
    "silent-after",
    "slow",
    "late",
}  # affects every fifth account; the others can trade
ALL = set[str]().union(*SIDE.values()) - SOME


@dataclass(slots=True)
class Outage:
    """An active fault. since, until: seconds since the epoch. over: polled until it is true."""

    kind: str
    since: float
    until: float = FOREVER
    over: Callable[[], bool] = field(default=bool, compare=False)


@dataclass(frozen=True, slots=True)
class Outages:
    """The faults between two times, in seconds since the epoch."""

    spans: Sequence[Outage]
    since: float
    until: float

    def excuses(self, at: float, grace: float) -> bool:
        """Return whether a fault affected all accounts at that time or up to `grace` s before."""
        return any(span.since <= at < span.until + grace for span in self.spans if span.kind in ALL)

    def share(self, side: str) -> float:
        """Return the fraction of the time in which a fault of this side was active."""
        covered, end = 0.0, self.since
        for span in sorted(self.spans, key=lambda span: span.since):
            begin, ended = max(span.since, end), min(span.until, self.until)
            if span.kind in SIDE[side] and ended > begin:
                covered += ended - begin
                end = ended
        return covered / (self.until - self.since)
