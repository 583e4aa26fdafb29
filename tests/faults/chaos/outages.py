"""When what was broken: separates a system that would not trade from one that could not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

FOREVER = float("inf")
SIDE = {  # whose fault it is; our own processes and Redis excuse no lack of trading
    "broker": {
        "broker-kill", "broker-stop", "broker-reset", "broker-refuse", "broker-half",
        "silent-before", "silent-after", "slow", "late", "partition", "mute", "delay",
    },
    "database": {"postgres-restart", "postgres-crash"},
}  # fmt: skip
SOME = {"silent-before", "silent-after", "slow", "late"}  # every fifth account: the rest can trade
ALL = set[str]().union(*SIDE.values()) - SOME


@dataclass(slots=True)
class Outage:
    """A fault in force. since, until: seconds since the epoch. over: asked until it says yes."""

    kind: str
    since: float
    until: float = FOREVER
    over: Callable[[], bool] = field(default=bool, compare=False)


@dataclass(frozen=True, slots=True)
class Outages:
    """What was broken between two moments, in seconds since the epoch."""

    spans: Sequence[Outage]
    since: float
    until: float

    def excuses(self, at: float, grace: float) -> bool:
        """Whether either was broken for every account then, or less than `grace` seconds before."""
        return any(span.since <= at < span.until + grace for span in self.spans if span.kind in ALL)

    def share(self, side: str) -> float:
        """The part of the time in which something of this side was broken."""
        covered, end = 0.0, self.since
        for span in sorted(self.spans, key=lambda span: span.since):
            begin, ended = max(span.since, end), min(span.until, self.until)
            if span.kind in SIDE[side] and ended > begin:
                covered += ended - begin
                end = ended
        return covered / (self.until - self.since)
