"""The times of executions, as ib_async can read them. Pure.

A gateway writes them in its own zone, in the instrument's, or in UTC (its setting "Send
instrument-specific attributes for dual-mode API client in"). ib_async 2.1 takes UTC, which has a
hyphen and no zone, for TWS's own zone, and raises for a zone that the database of zones does not
have. What was executed must be booked, whatever its time is.
"""

import re
from zoneinfo import ZoneInfo

_UTC = re.compile(r"(\d{8})-(\d\d:\d\d:\d\d)")
_WITH_ZONE = re.compile(r"(\d{8}) +(\d\d:\d\d:\d\d) +(\S.*)")
IBKR_ZONES = {
    "JST": "Asia/Tokyo", "KST": "Asia/Seoul", "HKT": "Asia/Hong_Kong", "SGT": "Asia/Singapore",
    "BST": "Europe/London", "CST": "America/Chicago", "PST": "America/Los_Angeles",
}  # fmt: skip
"""Names of zones that are in no database of zones, or only there for something else."""


def readable(text: str) -> str:
    """Return the time with a zone that can be read, or without one: then it is in TWS's own."""
    if found := _UTC.fullmatch(text):
        return f"{found[1]} {found[2]} UTC"
    if (found := _WITH_ZONE.fullmatch(text)) is None:
        return text
    zone = IBKR_ZONES.get(found[3], found[3])
    return f"{found[1]} {found[2]} {zone}" if _is_zone(zone) else f"{found[1]} {found[2]}"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
