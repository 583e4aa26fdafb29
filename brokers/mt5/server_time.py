"""The trade server's time in UTC.

Every time that the package tells is the server's wall clock counted as if it were UTC (the manual
says UTC; recorded ticks and users' reports say otherwise). Most brokers' servers show New York's
time plus seven hours, so that a day ends at New York's close: their summer time is America's.
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
TOLERANCE = timedelta(seconds=90)  # a tick that has just come is no older, and no clock further off
NONE = timedelta(0)
FRESH = timedelta(minutes=2)  # two looks at a symbol so far apart show a tick that came meanwhile


@dataclass(frozen=True, slots=True)
class Zone:
    """A server's clock: a time zone's wall clock, perhaps some hours on."""

    zone: tzinfo
    shift: timedelta = timedelta(0)

    def utc(self, server: datetime) -> datetime:
        """server: its wall clock, without a zone. An hour that comes twice is read as its first."""
        return (server - self.shift).replace(tzinfo=self.zone).astimezone(UTC)

    def server(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None) + self.shift


def read_zone(text: str) -> Zone:
    """Read `Europe/Athens`, `UTC+2`, `+05:30` or `America/New_York+7`. Raises ValueError."""
    text = text.strip()
    if text.upper() in ("UTC", "GMT"):
        return Zone(UTC)
    if found := _FIXED.fullmatch(text):
        away = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
        return Zone(timezone(away if found["sign"] == "+" else -away))
    try:
        if found := _SHIFTED.fullmatch(text):
            hours = timedelta(hours=int(found["hours"]))
            return Zone(ZoneInfo(found["zone"]), hours if found["sign"] == "+" else -hours)
        return Zone(ZoneInfo(text))
    except (KeyError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{text!r} is not a time zone") from error


class ServerTime:
    """One trade server's clock: as configured, else as measured by ticks that have just come.

    A measured difference holds for now: what was executed before the server's last change of summer
    time is told an hour off. A configured zone knows.
    """

    def __init__(self, zone: Zone | None, now: Callable[[], datetime] = market_now) -> None:
        self._configured, self._now = zone, now
        self._measured: Zone | None = None
        self._seen: dict[str, tuple[int, datetime]] = {}
        self.sampled_at = float("-inf")  # time.monotonic(), for whoever looks
        self.skew: timedelta | None = None  # by how much the two clocks differ, at the least

    @property
    def zone(self) -> Zone | None:
        return self._configured or self._measured

    def see(self, symbol: str, time_msc: int) -> None:
        """Look at a symbol's latest tick. Two looks with a new tick between them measure: it came
        then, so that one behind our clock may be as old as the first look."""
        now = self._now()
        before = self._seen.get(symbol)
        self._seen[symbol] = time_msc, now
        if before is None or before[0] >= time_msc or now - before[1] > FRESH:
            return
        ahead = _wall(time_msc / 1000) - now.replace(tzinfo=None)
        away = round(ahead / STEP) * STEP
        if abs(ahead - away) <= TOLERANCE and abs(away) <= timedelta(hours=14):
            self._measured = Zone(timezone(away))
        if self.zone is not None:
            skew = self.zone.utc(_wall(time_msc / 1000)) - now
            self.skew = skew if skew > NONE else min(NONE, skew + (now - before[1]))

    def utc(self, seconds: float) -> datetime:
        """Return the server's time as aware UTC. Raises ReadFailed if its zone is not known yet."""
        return self._known().utc(_wall(seconds))

    def seconds(self, moment: datetime) -> int:
        """Return how the server counts a moment. Raises ReadFailed."""
        return int(self._known().server(moment).replace(tzinfo=UTC).timestamp())

    def _known(self) -> Zone:
        if self.zone is None:
            raise ReadFailed(
                Code.QUOTE_STALE, "the server's time zone is not known; set server_timezone"
            )
        return self.zone


def _wall(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
