"""Convert the trade server's time to UTC.

All times of the package are the server's local time, encoded as if it were UTC (the manual states
UTC; recorded ticks and users' reports differ). Most brokers' servers use New York's time plus seven
hours, so that a day ends at New York's close: their summer time is America's.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from brokers.base import ReadFailed
from common.clocks import market_now
from common.reason_codes import Code

_HOURS = r"(?P<sign>[+-])(?P<hours>\d{1,2})"
_FIXED = re.compile(rf"(?:UTC|GMT)?{_HOURS}(?::(?P<minutes>\d\d))?", re.ASCII)
_SHIFTED = re.compile(rf"(?P<zone>(?!Etc)[A-Za-z_]+/[A-Za-z_/]+){_HOURS}", re.ASCII)
STEP = timedelta(minutes=15)  # zones differ by no less
TOLERANCE = timedelta(seconds=90)  # maximum age of a new tick, and difference of the clocks
NONE = timedelta(0)
FRESH = timedelta(minutes=2)  # maximum time between two samples of a symbol that can be compared


@dataclass(frozen=True, slots=True)
class Zone:
    """A server's clock: a time zone's local time, plus a fixed shift."""

    zone: tzinfo
    shift: timedelta = timedelta(0)

    def utc(self, server: datetime) -> datetime:
        """Return the server's local time (naive) as UTC. A repeated hour is read as the first."""
        return (server - self.shift).replace(tzinfo=self.zone).astimezone(UTC)

    def server(self, moment: datetime) -> datetime:
        """Return a moment as the server's local time (naive)."""
        return moment.astimezone(self.zone).replace(tzinfo=None) + self.shift


def read_zone(text: str) -> Zone:
    """Read `Europe/Athens`, `UTC+2`, `+05:30` or `America/New_York+7`. Raises ValueError."""
    text = text.strip()
    if text.upper() in ("UTC", "GMT"):
        return Zone(UTC)
    if found := _FIXED.fullmatch(text):
        offset = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
        return Zone(timezone(offset if found["sign"] == "+" else -offset))
    try:
        if found := _SHIFTED.fullmatch(text):
            hours = timedelta(hours=int(found["hours"]))
            return Zone(ZoneInfo(found["zone"]), hours if found["sign"] == "+" else -hours)
        return Zone(ZoneInfo(text))
    except (KeyError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{text!r} is not a time zone") from error


class ServerTime:
    """One trade server's clock: as configured, else measured by new ticks.

    A measured offset is valid now: executions before the server's last change of summer time are
    an hour off. A configured zone has no such error.
    """

    def __init__(self, zone: Zone | None, now: Callable[[], datetime] = market_now) -> None:
        self._configured, self._now = zone, now
        self._measured: Zone | None = None
        self._seen: dict[str, tuple[int, datetime]] = {}
        self.sampled_at = float("-inf")  # time.monotonic(), set by the caller
        self.skew: timedelta | None = None  # minimum difference of the two clocks

    @property
    def zone(self) -> Zone | None:
        """The configured zone, else the measured one; None if it is unknown."""
        return self._configured or self._measured

    @property
    def ahead(self) -> timedelta:
        """By how much its times, as UTC, are ahead of our clock, as far as ticks show it; below
        zero: behind. A configured zone may be wrong, as in the other half of the year."""
        return self.skew or NONE

    def record(self, symbol: str, time_msc: int) -> None:
        """Sample a symbol's latest tick. time_msc: the tick's time by the server.

        A tick that is new since the previous sample measures the offset: it is at most as old as
        that sample."""
        now = self._now()
        before = self._seen.get(symbol)
        self._seen[symbol] = time_msc, now
        if before is None or before[0] >= time_msc or now - before[1] > FRESH:
            return
        ahead = _wall(time_msc / 1000) - now.replace(tzinfo=None)
        offset = round(ahead / STEP) * STEP
        if abs(ahead - offset) <= TOLERANCE and abs(offset) <= timedelta(hours=14):
            self._measured = Zone(timezone(offset))
        if self.zone is not None:
            skew = self.zone.utc(_wall(time_msc / 1000)) - now
            self.skew = skew if skew > NONE else min(NONE, skew + (now - before[1]))

    def utc(self, seconds: float) -> datetime:
        """Return the server's time as aware UTC. Raises ReadFailed if its zone is not known yet."""
        return self._known().utc(_wall(seconds))

    def seconds(self, moment: datetime) -> int:
        """Return a moment in the server's encoding. Raises ReadFailed."""
        return int(self._known().server(moment).replace(tzinfo=UTC).timestamp())

    def _known(self) -> Zone:
        if self.zone is None:
            raise ReadFailed(
                Code.QUOTE_STALE, "the server's time zone is not known; set server_timezone"
            )
        return self.zone


def _wall(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
