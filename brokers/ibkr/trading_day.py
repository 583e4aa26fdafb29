"""When TWS's day ends: it tells ended orders and executions since midnight of its own time zone.

A wrong `timezone` in the settings would make an order of this morning look as if it had never been:
TWS greets with its local time, and that is what counts. Pure.
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

GREETING = re.compile(rb"\d{8} \d{2}:\d{2}:\d{2}")
QUARTER = timedelta(minutes=15)  # zones differ by whole ones; less is two clocks apart


def offset_of(greeting: bytes, now: datetime) -> timedelta | None:
    """Return how far TWS's clock is ahead of UTC by what it greeted with; None: it told no time."""
    found = GREETING.search(greeting)
    if found is None:
        return None
    there = datetime.strptime(found[0].decode(), "%Y%m%d %H:%M:%S").replace(tzinfo=UTC)
    return round((there - now) / QUARTER) * QUARTER


def zone_of(setting: str, offset: timedelta | None, now: datetime) -> tuple[str, str]:
    """Return the zone to read TWS's times in, and a sentence where the setting is wrong."""
    try:
        expected = now.astimezone(ZoneInfo(setting)).utcoffset()
    except (KeyError, ValueError, OSError):
        expected = None
    if offset is None or offset == expected:
        return setting, ""
    hours = offset / timedelta(hours=1)
    fixed = f"Etc/GMT{-hours:+.0f}" if hours.is_integer() and abs(hours) <= 12 else setting
    return fixed, f"the gateway's clock is UTC{hours:+g}, which is not {setting}"
