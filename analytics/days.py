"""Trading days: a day has the date on which it ends, at 17:00 in its zone. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ENDS_AT = time(17)
DEFAULT_ZONE = "America/New_York"
FIRST_ZONE = "Pacific/Kiritimati"  # the zone where each day begins first


def trading_day(at: datetime, zone: str = DEFAULT_ZONE) -> date:
    """Return the trading day of an aware time; at 17:00 exactly the next one begins.

    By the zone's wall clock: the day on which clocks change has 23 or 25 hours.
    """
    local = at.astimezone(ZoneInfo(zone))
    return local.date() + timedelta(days=int(local.time() >= ENDS_AT))


def latest_day(at: datetime) -> date:
    """Return the latest trading day that has begun in any zone.

    It is the "until today" for accounts of every zone: in New York tomorrow's trading day begins in
    the evening.
    """
    return trading_day(at, FIRST_ZONE)


def bounds(day: date, zone: str = DEFAULT_ZONE) -> tuple[datetime, datetime]:
    """Return [start, end) of a trading day, aware UTC."""
    start, end = (
        datetime.combine(date_, ENDS_AT, ZoneInfo(zone)).astimezone(UTC)
        for date_ in (day - timedelta(days=1), day)
    )
    return start, end
