"""Two clocks that must never be mixed.

The *market clock* is the time at the exchange: signal age, valid_until, sessions, trading days. A
replay injects it, at any speed. *Machine time* measures waits on this machine: leases, time-outs,
send deadlines. A replay does not change it.
"""

import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from common.rehearsal import VARIABLE, parts_of

_SPEC = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)@(\d{1,12}(?:\.\d{1,6})?)x(\d{1,5}(?:\.\d{1,3})?)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Market time: it was `start` at wall time `anchor`, and runs `speed` times as fast."""

    start: datetime
    anchor: datetime
    speed: float

    def now(self) -> datetime:
        """Return the current market time, aware UTC."""
        return self.at(datetime.now(UTC))

    def at(self, wall: datetime) -> datetime:
        """Return the market time at a wall-clock time."""
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
    """Return the injected clock; None if market time is real time."""
    global _market, _market_read
    if not _market_read:
        spec = parts_of(os.environ.get(VARIABLE, "")).get("clock", "")
        _market, _market_read = (read_market_clock(spec) if spec else None), True
    return _market


def market_now() -> datetime:
    """Return the current market time, aware UTC: real time unless a replay injected its own."""
    clock = market_clock()
    return clock.now() if clock else datetime.now(UTC)


def market_at(wall: datetime) -> datetime:
    """Return the market time at a wall-clock time, for example one of another machine."""
    clock = market_clock()
    return clock.at(wall) if clock else wall


def machine_seconds_until(moment: datetime) -> float:
    """Return the seconds of machine time until the market clock reaches `moment`."""
    clock = market_clock()
    left = (moment - market_now()).total_seconds()
    speed = clock.speed if clock else 1.0
    return left / speed if speed else float("inf")


def machine_time() -> float:
    """Return seconds on a clock that also runs while the machine sleeps.

    It is CLOCK_BOOTTIME where available (Linux): `time.monotonic()` stops during a suspend, and a
    send deadline that stops would let a stale order out.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
