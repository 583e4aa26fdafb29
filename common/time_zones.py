"""Whether a time zone exists."""

from functools import cache
from zoneinfo import available_timezones


def is_time_zone(name: str) -> bool:
    """Whether this machine knows a time zone of this name."""
    return name in _names()


@cache
def _names() -> frozenset[str]:
    """Return all names: looking for them reads 600 files, which takes 20 ms."""
    return frozenset(available_timezones())
