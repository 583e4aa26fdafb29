"""Trading days: where one begins and ends, by the zone and the start of the preset. Pure.

A trading day has the date on which most of it lies. One that starts at 17:00 in New York has the
date of the next calendar day; one that starts at 09:30 has the date on which it starts. Starts and
ends are wall-clock times: the day on which clocks change has 23 or 25 hours. A start that the
clocks show twice that night is the second one; one that they skip is as much later. PostgreSQL
reads local times so, too.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

DEFAULT_ZONE = "America/New_York"
DEFAULT_START = time(17)
NOON = time(12)
# Where each date's trading day begins first: at noon of the day before, in the first zone.
FIRST_ZONE = "Pacific/Kiritimati"


class HasTradingDay(Protocol):
    """What a trading day depends on: a preset, or a row with its columns."""

    @property
    def trading_day_zone(self) -> str: ...
    @property
    def trading_day_start(self) -> time: ...


@dataclass(frozen=True, slots=True)
class DayRule:
    """The zone in which a trading day starts, and the wall-clock time at which it does."""

    zone: str = DEFAULT_ZONE
    starts_at: time = DEFAULT_START

    @property
    def offset(self) -> timedelta:
        """From midnight of a trading day's date to its start: from −12 h to less than 12 h."""
        since_midnight = timedelta(
            hours=self.starts_at.hour, minutes=self.starts_at.minute, seconds=self.starts_at.second
        )
        return since_midnight - timedelta(days=int(self.starts_at >= NOON))


@dataclass(frozen=True, slots=True)
class TradingDay:
    """A trading day: [start, end), aware UTC."""

    date: date
    start: datetime
    end: datetime


DEFAULT_RULE = DayRule()
FIRST_RULE = DayRule(FIRST_ZONE, NOON)


def rule_of(preset: HasTradingDay | None) -> DayRule:
    """Return the rule of a preset; without one, or without a zone, the default."""
    if preset is None:
        return DEFAULT_RULE
    return DayRule(preset.trading_day_zone or DEFAULT_ZONE, preset.trading_day_start)


def trading_day(preset: HasTradingDay | None, at: datetime) -> TradingDay:
    """Return the trading day that an aware time lies in, for accounts with this preset."""
    rule = rule_of(preset)
    day = trading_date(at, rule)
    return TradingDay(day, *bounds(day, rule))


def trading_date(at: datetime, rule: DayRule = DEFAULT_RULE) -> date:
    """Return the date of the trading day that an aware time lies in.

    At the start exactly the next one begins.
    """
    local = at.astimezone(ZoneInfo(rule.zone)).replace(tzinfo=None)
    day = (local - rule.offset).date()
    start, end = bounds(day, rule)
    # In a night in which the clocks change, the hours from the start on may show another time.
    return day + timedelta(days=int(at >= end) - int(at < start))


def latest_date(at: datetime) -> date:
    """Return the latest trading day that has begun for any preset.

    It is the "until today" for all accounts: in New York tomorrow's trading day begins in the
    evening.
    """
    return trading_date(at, FIRST_RULE)


def bounds(day: date, rule: DayRule = DEFAULT_RULE) -> tuple[datetime, datetime]:
    """Return [start, end) of the trading day of a date, aware UTC."""
    return _start_of(day, rule), _start_of(day + timedelta(days=1), rule)


def _start_of(day: date, rule: DayRule) -> datetime:
    local = datetime.combine(day, time(), ZoneInfo(rule.zone)) + rule.offset
    return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def zone_sql(preset: str = "t") -> str:
    """Return SQL of the zone of a preset, which may be absent. preset: its alias."""
    return f"coalesce(nullif({preset}.trading_day_zone, ''), '{DEFAULT_ZONE}')"


def offset_sql(preset: str = "t") -> str:
    """Return SQL of `DayRule.offset` of a preset, which may be absent, as an interval."""
    start = f"coalesce({preset}.trading_day_start, time '{DEFAULT_START:%H:%M}')"
    return (
        f"({start}::interval - CASE WHEN {start} >= time '{NOON:%H:%M}' THEN interval '1 day'"
        " ELSE interval '0' END)"
    )


def trading_date_sql(at: str, *, zone: str, offset: str) -> str:
    """Return SQL of `trading_date`: all arguments are SQL expressions."""
    day = f"(({at} AT TIME ZONE {zone}) - {offset})::date"
    start = day_start_sql(day, zone=zone, offset=offset)
    end = day_start_sql(f"({day} + 1)", zone=zone, offset=offset)
    return f"({day} + CASE WHEN {at} < {start} THEN -1 WHEN {at} >= {end} THEN 1 ELSE 0 END)"


def day_start_sql(day: str, *, zone: str, offset: str) -> str:
    """Return SQL of the start of the trading day of a date: all arguments are SQL expressions."""
    return f"(({day} + {offset}) AT TIME ZONE {zone})"
