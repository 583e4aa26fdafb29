"""Two clocks that must never be mixed.

The *market clock* says what time it is at the exchange: signal age, valid_until, sessions, trading
days. A replay injects it, at any speed. *Machine time* says how long this machine has waited:
leases, time-outs, send deadlines. A replay never touches it.
"""

import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

_SPEC = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)@(\d{1,12}(?:\.\d{1,6})?)x(\d{1,5}(?:\.\d{1,3})?)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Market time: `start` when the wall clock read `anchor`, running `speed` times as fast."""

    start: datetime
    anchor: datetime
    speed: float

    def now(self) -> datetime:
        """Return the market's time, aware UTC."""
        return self.at(datetime.now(UTC))

    def at(self, wall: datetime) -> datetime:
        """Return the market's time when a wall clock reads this."""
        return self.start + (wall - self.anchor) * self.speed

    def spec(self) -> str:
        """Return the text that `read_market_clock` reads; child processes inherit it."""
        start = self.start.isoformat().replace("+00:00", "Z")
        return f"{start}@{self.anchor.timestamp():.6f}x{self.speed:g}"


def read_market_clock(spec: str) -> MarketClock:
    """Read `2014-05-02T12:25:00Z@1763628000.5x60`: market time, its unix time, speed.

    Raises ValueError.
    """
    if not (found := _SPEC.fullmatch(spec)) or not 0 < float(found[3]) <= 10_000:
        raise ValueError(f"{spec!r} is not START@UNIXTIMExSPEED")
    return MarketClock(
        start=datetime.fromisoformat(found[1]),
        anchor=datetime.fromtimestamp(float(found[2]), UTC),
        speed=float(found[3]),
    )


_market: MarketClock | None = None
_market_read = False


def set_market_clock(clock: MarketClock | None) -> None:
    """Inject the market clock of this process; None is real time."""
    global _market, _market_read
    _market, _market_read = clock, True


def market_clock() -> MarketClock | None:
    """Return the injected clock, or None where market time is real time."""
    global _market, _market_read
    if not _market_read:
        spec = os.environ.get("FILLCAST_MARKET_CLOCK", "")
        _market, _market_read = (read_market_clock(spec) if spec else None), True
    return _market


def market_now() -> datetime:
    """Return the market's time, aware UTC: real time unless a replay injected its own."""
    clock = market_clock()
    return clock.now() if clock else datetime.now(UTC)


def market_at(wall: datetime) -> datetime:
    """Return the market's time when a wall clock reads this: another machine's, say."""
    clock = market_clock()
    return clock.at(wall) if clock else wall


def machine_seconds_until(moment: datetime) -> float:
    """Return how many seconds of machine time pass before the market clock shows `moment`."""
    clock = market_clock()
    left = (moment - market_now()).total_seconds()
    speed = clock.speed if clock else 1.0
    return left / speed if speed else float("inf")


def machine_time() -> float:
    """Return seconds on a clock that also runs while the machine sleeps.

    CLOCK_BOOTTIME where there is one (Linux): `time.monotonic()` stands still during a suspend, and
    a send deadline that stands still lets a stale order out.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
