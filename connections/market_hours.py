"""When the market of a symbol is open, by its asset class and its instrument's hours. Pure.

Currencies and metals are traded from Sunday to Friday, 17:00 in New York. Coins are always traded.
The hours of other symbols belong to the instrument (`brokers/trading_hours.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from brokers.trading_hours import (
    StoredHours,
    closes_at,
    is_closed,
    is_known,
    known_until,
    opened_at,
    opens_at,
)
from common.units import AssetClass
from connections.trading_sessions import DAY, minute_of_week
from signals.symbols import asset_class

ZONE = "America/New_York"
FRIDAY_END = 4 * DAY + 17 * 60
SUNDAY_START = 6 * DAY + 17 * 60
METALS_OPEN = time(18)  # each day in New York, an hour after they close
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def is_market_open(pair: str, at: datetime) -> bool:
    """Return whether a canonical pair is traded at an aware time, as far as that is known."""
    if asset_class(pair) not in (AssetClass.FX, AssetClass.METAL):
        return True
    return not FRIDAY_END <= minute_of_week(at, ZONE) < SUNDAY_START


def open_since(pair: str, hours: Iterable[StoredHours], at: datetime) -> datetime | None:
    """Return since when a canonical pair is traded; None: it is not, or that is not known.

    hours: those that brokers state of it; all must be open. Without any, only coins, currencies and
    metals are known to be traded; metals have a break each day.
    """
    known = [one for one in hours if is_known(one, at)]
    kind = asset_class(pair)
    if any(is_closed(one, at) for one in known) or not is_market_open(pair, at):
        return None
    starts = [began for one in known if (began := opened_at(one, at)) is not None]
    if kind in (AssetClass.FX, AssetClass.METAL):
        starts.append(_last(SUNDAY_START, at))
        if kind is AssetClass.METAL and not known:
            if (began := _after_daily_break(at)) is None:
                return None
            starts.append(began)
    elif kind is not AssetClass.CRYPTO and not known:
        return None
    return max(starts, default=ALWAYS)


def _after_daily_break(at: datetime) -> datetime | None:
    """Return when metals opened after their last daily break; None: it goes on."""
    local = at.astimezone(ZoneInfo(ZONE))
    began = datetime.combine(local.date(), METALS_OPEN, local.tzinfo)
    if timedelta(0) < began - local <= timedelta(hours=1):
        return None
    return began if began <= local else began - timedelta(days=1)


class HoursSource(StrEnum):
    """Whose trading hours are known of a symbol."""

    BROKER = "BROKER"
    EXCHANGE = "EXCHANGE"  # the calendar of its exchange
    WEEK = "WEEK"  # currencies and metals
    ALWAYS = "ALWAYS"  # coins
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class MarketState:
    """Whether a symbol's market is open now, as `market_hours_only` sees it. Market times, UTC.

    is_open: None: not known, so entries are not denied. opens_at: the next opening of a closed
    market; closes_at: the next close of an open one; None: not known, or never. calendar: the
    exchange's, '' if another source counts. known_until: until when the source states hours; None:
    without an end, or nothing is known.
    """

    is_open: bool | None
    source: HoursSource
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    known_until: datetime | None = None
    calendar: str = ""

    @property
    def source_text(self) -> str:
        """Whose hours they are, for people."""
        return {
            HoursSource.BROKER: "stated by the broker",
            HoursSource.EXCHANGE: f"calendar of {self.calendar}",
            HoursSource.WEEK: "week of currencies and metals",
            HoursSource.ALWAYS: "traded at all times",
            HoursSource.UNKNOWN: "the broker states none",
        }[self.source]


def market_state(pair: str, calendar: str, hours: StoredHours | None, at: datetime) -> MarketState:
    """Return the state of an instrument's market at an aware market time."""
    kind = asset_class(pair)
    has_week = kind in (AssetClass.FX, AssetClass.METAL)
    if hours:
        return _by_hours(pair, calendar, hours, at, has_week=has_week)
    if has_week:
        return _by_week(pair, at)
    is_always = kind is AssetClass.CRYPTO
    return MarketState(is_always or None, HoursSource.ALWAYS if is_always else HoursSource.UNKNOWN)


def _by_hours(
    pair: str, calendar: str, hours: StoredHours, at: datetime, *, has_week: bool
) -> MarketState:
    """Return the state by the instrument's own hours. A currency's week counts beside them."""
    week = _by_week(pair, at)
    is_closed_by_week = has_week and not week.is_open
    if has_week and (is_closed_by_week or not is_known(hours, at)):
        return week
    source = HoursSource.EXCHANGE if calendar else HoursSource.BROKER
    until = known_until(hours, at)
    if not is_known(hours, at):
        return MarketState(None, source, known_until=until, calendar=calendar)
    if is_closed(hours, at):
        opens = opens_at(hours, at)
        return MarketState(False, source, opens, known_until=until, calendar=calendar)
    ends = [
        end
        for end in (closes_at(hours, at), week.closes_at if has_week else None)
        if end is not None
    ]
    closes = min(ends, default=None)
    return MarketState(True, source, closes_at=closes, known_until=until, calendar=calendar)


def _by_week(pair: str, at: datetime) -> MarketState:
    if is_market_open(pair, at):
        return MarketState(True, HoursSource.WEEK, closes_at=_next(FRIDAY_END, at))
    return MarketState(False, HoursSource.WEEK, opens_at=_next(SUNDAY_START, at))


def _last(minute: int, at: datetime) -> datetime:
    """Return when a minute of the week last began in New York: at `at` or before.

    A week has an hour more or less where clocks change.
    """
    found = _next(minute, at - timedelta(days=7, hours=1))
    following = _next(minute, found)
    return following if following <= at else found


def _next(minute: int, at: datetime) -> datetime:
    """Return the next time after `at` that a minute of the week begins in New York."""
    zone = ZoneInfo(ZONE)
    local = at.astimezone(zone)
    clock = time(minute % DAY // 60, minute % 60)
    day = local.date() + timedelta(days=(minute // DAY - local.weekday()) % 7)
    found = datetime.combine(day, clock, zone)
    if found <= local:
        found = datetime.combine(day + timedelta(days=7), clock, zone)
    return found.astimezone(UTC)
