"""The broker server's time into UTC. The files name no zone, so a setting does. Pure."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NEW_YORK_CLOSE = "NY+7"  # UTC+2, +3 in New York's summer: what most MT4 servers keep
MAX_OFFSET = timedelta(days=5)  # more than any zone that can be named is away from UTC
_FIXED = re.compile(r"UTC([+-]\d{1,2})(?::?(\d{2}))?")


class Zone:
    """`NY+7`, `UTC+3`, or a name such as `Europe/Moscow`. Raises ValueError for another."""

    def __init__(self, name: str) -> None:
        self._ahead = timedelta(0)
        self._zone: tzinfo = UTC
        fixed = _FIXED.fullmatch(name)
        try:
            if name == NEW_YORK_CLOSE:
                self._zone, self._ahead = ZoneInfo("America/New_York"), timedelta(hours=7)
            elif fixed:
                minutes = int(fixed[2] or 0) * (-1 if fixed[1].startswith("-") else 1)
                self._ahead = timedelta(hours=int(fixed[1]), minutes=minutes)
            elif name != "UTC":
                self._zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name[:40]!r} is no time zone; NY+7, UTC+3 are.") from error

    def utc(self, server_time: datetime) -> datetime:
        """Return what the server's clock showed as aware UTC."""
        return (server_time - self._ahead).replace(tzinfo=self._zone).astimezone(UTC)

    def server(self, moment: datetime) -> datetime:
        """Return what the server's clock shows at an aware moment, without a zone."""
        return moment.astimezone(self._zone).replace(tzinfo=None) + self._ahead


def earliest_possible(moment: datetime) -> datetime:
    """A time such that whatever a server's clock showed before it was before this moment: to leave
    out cheaply what is long over."""
    return moment.astimezone(UTC).replace(tzinfo=None) - MAX_OFFSET
