"""Until when a message waits: quiet hours and digests, in the user's time zone. Pure.

Nothing is lost: what waits is stored as a delivery and sent when its time has come.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from common.time_zones import is_time_zone
from events.models import Digest

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WaitingRules:
    """When a channel is quiet, and how often it receives messages. Times are the user's."""

    zone: str
    quiet_from: time | None = None
    quiet_until: time | None = None
    digest: str = Digest.AT_ONCE
    digest_at: time | None = None


def held_until(rules: WaitingRules, *, now: datetime) -> datetime | None:
    """Return when a message that is not urgent goes out; None: now. now, result: UTC.

    A digest that falls into quiet hours goes out at their end.
    """
    zone = ZoneInfo(rules.zone if is_time_zone(rules.zone) else "UTC")
    due = _next_digest(rules, zone, now)
    return _end_of_quiet(rules, zone, due or now) or due


def _next_digest(rules: WaitingRules, zone: ZoneInfo, now: datetime) -> datetime | None:
    if rules.digest == Digest.HOURLY:
        local = now.astimezone(zone)  # its hour may have begun before a change of the clocks
        begun = timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        return now + HOUR - begun
    if rules.digest == Digest.DAILY and rules.digest_at is not None:
        return _next(rules.digest_at, zone, now)
    return None


def _end_of_quiet(rules: WaitingRules, zone: ZoneInfo, at: datetime) -> datetime | None:
    begins, ends = rules.quiet_from, rules.quiet_until
    if begins is None or ends is None or begins == ends:
        return None
    local = at.astimezone(zone).time()
    is_quiet = begins <= local < ends if begins < ends else local >= begins or local < ends
    return _next(ends, zone, at) if is_quiet else None


def _next(clock: time, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the next moment at which the user's clock shows this time."""
    day = after.astimezone(zone).date()
    moment = _moment(day, clock, zone)
    return moment if moment > after else _moment(day + DAY, clock, zone)


def _moment(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """Return the moment in UTC. On the day of a change of clocks the later of two, so that a time
    that exists twice, or not at all, ends nothing too early."""
    both = (datetime.combine(day, clock.replace(fold=fold), zone) for fold in (0, 1))
    return max(moment.astimezone(UTC) for moment in both)
