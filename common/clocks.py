"""Two clocks that must never be mixed.

The *market clock* says what time it is at the exchange: signal age, valid_until, sessions, trading
days. A replay injects it, at any speed. *Machine time* says how long this machine has waited:
leases, time-outs, send deadlines. A replay never touches it.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime


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
        """Return the text that `parse_market_clock` reads; child processes inherit it."""
        start = self.start.isoformat().replace("+00:00", "Z")
        return f"{start}@{self.anchor.timestamp():.6f}x{self.speed:g}"


def parse_market_clock(spec: str) -> MarketClock:
    """Read `2014-05-02T12:25:00Z@1763628000.5x60`.

    Raises MisconfiguredError with what is expected.
    """
    from common.errors import MisconfiguredError  # with all codes: MetaTrader's child needs neither

    try:
        start_text, rest = spec.split("@")
        anchor_text, speed_text = rest.split("x")
        start = datetime.fromisoformat(start_text)
        anchor = datetime.fromtimestamp(float(anchor_text), UTC)
        speed = float(speed_text)
        if start.tzinfo is None or not 0 < speed <= 10_000:
            raise ValueError(spec)
    except ValueError as error:
        raise MisconfiguredError(
            f"FILLCAST_MARKET_CLOCK={spec!r} is not START@ANCHORxSPEED, "
            "for example 2014-05-02T12:25:00Z@1763628000x60"
        ) from error
    return MarketClock(start, anchor, speed)


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
        _market, _market_read = (parse_market_clock(spec) if spec else None), True
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
