"""When TWS's day begins: it lists ended orders and executions since midnight in its own time zone.

With a wrong `timezone` setting, an order of this morning would look as if it had never existed. So
we use the local time that TWS sends in its greeting. Pure.
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

GREETING = re.compile(rb"\d{8} \d{2}:\d{2}:\d{2}")
QUARTER = timedelta(minutes=15)  # zones differ by multiples; less is a difference of the clocks


def offset_of(greeting: bytes, now: datetime) -> timedelta | None:
    """Return TWS's UTC offset by its greeting; None if the greeting has no time."""
    found = GREETING.search(greeting)
    if found is None:
        return None
    local_time = datetime.strptime(found[0].decode(), "%Y%m%d %H:%M:%S").replace(tzinfo=UTC)
    return round((local_time - now) / QUARTER) * QUARTER


def zone_of(setting: str, offset: timedelta | None, now: datetime) -> tuple[str, str]:
    """Return the zone of TWS's times, and a sentence if the setting is wrong, else ''."""
    try:
        expected = now.astimezone(ZoneInfo(setting)).utcoffset()
    except (KeyError, ValueError, OSError):
        expected = None
    if offset is None or offset == expected:
        return setting, ""
    hours = offset / timedelta(hours=1)
    fixed = f"Etc/GMT{-hours:+.0f}" if hours.is_integer() and abs(hours) <= 12 else setting
    return fixed, f"the gateway's clock is UTC{hours:+g}, which is not {setting}"
