"""When an instrument can be traded, as its broker or its exchange's calendar states it. Pure.

Only whole known spans are judged: a day without data is neither open nor closed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Span = tuple[int, int]
"""Start and end in Unix seconds; the end does not belong to it."""
_SESSION = re.compile(r"(\d{8}):(?:(CLOSED)|(\d{4})-(?:(\d{8}):)?(\d{4}))", re.ASCII)

EXCHANGES = {
    "AMEX": "XNYS", "ARCA": "XNYS", "BATS": "XNYS", "ISLAND": "XNYS", "NASDAQ": "XNYS",
    "NYSE": "XNYS", "XNAS": "XNYS", "XNYS": "XNYS", "AEB": "XAMS", "XAMS": "XAMS", "ASX": "XASX",
    "XASX": "XASX", "BM": "XMAD", "XMAD": "XMAD", "BVME": "XMIL", "XMIL": "XMIL", "EBS": "XSWX",
    "XSWX": "XSWX", "IBIS": "XETR", "XETRA": "XETR", "XETR": "XETR", "LSE": "XLON",
    "LSEETF": "XLON", "XLON": "XLON", "SBF": "XPAR", "XPAR": "XPAR", "SEHK": "XHKG",
    "XHKG": "XHKG", "TSEJ": "XTKS", "XTKS": "XTKS", "XTSE": "XTSE",
}  # fmt: skip
"""Calendars by the names that brokers have for exchanges. Names that two exchanges share are not
in it, such as TSE (Tokyo and Toronto)."""

StoredHours = dict[str, list[list[int]]]
"""Trading hours as a column holds them: spans by `known` and `open`."""


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Spans that are known, and the parts of them in which there is trading. Both in order."""

    known: tuple[Span, ...]
    open: tuple[Span, ...]

    def stored(self) -> StoredHours:
        """Return them as a column holds them."""
        return {"known": [list(span) for span in self.known], "open": [list(s) for s in self.open]}


def calendar_of(exchange: str) -> str:
    """Return the calendar of an exchange by its broker's name for it; empty: not known."""
    return EXCHANGES.get(exchange.strip().upper(), "")


def is_known(hours: StoredHours, at: datetime) -> bool:
    """Return whether the hours cover an aware time."""
    return _span_at(hours["known"], at.timestamp()) is not None


def is_closed(hours: StoredHours, at: datetime) -> bool:
    """Return whether there is no trading at an aware time; False if that is not known."""
    seconds = at.timestamp()
    known = _span_at(hours["known"], seconds)
    return known is not None and _span_at(hours["open"], seconds) is None


def opens_at(hours: StoredHours, at: datetime) -> datetime | None:
    """Return when trading begins next after an aware time; None if a day before it is unknown."""
    seconds = at.timestamp()
    known = _span_at(hours["known"], seconds)
    if known is None:
        return None
    starts = [start for start, _ in hours["open"] if seconds < start < known[1]]
    return datetime.fromtimestamp(min(starts), UTC) if starts else None


def opened_at(hours: StoredHours, at: datetime) -> datetime | None:
    """Return when the trading began that goes on at an aware time; None: none does, or unknown."""
    span = _span_at(hours["open"], at.timestamp())
    return datetime.fromtimestamp(span[0], UTC) if span else None


def closes_at(hours: StoredHours, at: datetime) -> datetime | None:
    """Return when the trading that goes on at an aware time ends; None: none goes on, or unknown.

    Trading that lasts to the end of what is known may go on after it.
    """
    seconds = at.timestamp()
    known, span = _span_at(hours["known"], seconds), _span_at(hours["open"], seconds)
    if known is None or span is None or span[1] >= known[1]:
        return None
    return datetime.fromtimestamp(span[1], UTC)


def known_until(hours: StoredHours, at: datetime) -> datetime | None:
    """Return until when the hours are known without a gap, from an aware time on.

    If they are not known then, the end of the last span before; None: there is none.
    """
    seconds = at.timestamp()
    known = _span_at(hours["known"], seconds)
    ends = [known[1]] if known else [end for _, end in hours["known"] if end <= seconds]
    return datetime.fromtimestamp(max(ends), UTC) if ends else None


def hours_of(
    days: Iterable[date], sessions: Iterable[tuple[datetime, datetime]], zone: str
) -> TradingHours:
    """Return the hours of whole days in a zone, with their sessions as aware times."""
    tz = ZoneInfo(zone)
    known = [(_midnight(day, tz), _midnight(day + timedelta(days=1), tz)) for day in days]
    opened = [(int(start.timestamp()), int(end.timestamp())) for start, end in sessions]
    return TradingHours(_joined(known), _joined(opened))


def read_sessions(text: str, zone: str) -> TradingHours | None:
    """Read `20261125:0930-20261125:1600;20261126:CLOSED`, in local times; None if it is unreadable.

    The last day is known to the end of its last session: a further one may not be listed yet.
    """
    try:
        tz = ZoneInfo(zone)
        parts = [part for part in text.replace(" ", "").split(";") if part]
        return _read_parts(parts, tz)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None


def _read_parts(parts: Sequence[str], tz: ZoneInfo) -> TradingHours | None:
    days: set[date] = set()
    closed: set[date] = set()
    opened: list[Span] = []
    for part in parts:
        match = _SESSION.fullmatch(part)
        if match is None:
            return None
        day = _date(match[1])
        days.add(day)
        if match[2]:
            closed.add(day)
            continue
        until = _date(match[4] or match[1])
        days.add(until)
        span = (_instant(day, match[3], tz), _instant(until, match[5], tz))
        if span[0] >= span[1]:
            return None
        opened.append(span)
    if not days:
        return None
    last = max(days)
    known = [(_midnight(day, tz), _midnight(day + timedelta(days=1), tz)) for day in days]
    if last not in closed:
        ends = max(end for _, end in opened)
        known = [(start, min(end, ends)) for start, end in known if start < ends]
    return TradingHours(_joined(known), _joined(opened))


def _date(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def _instant(day: date, clock: str, tz: ZoneInfo) -> int:
    hours, minutes = int(clock[:2]), int(clock[2:])
    if (hours, minutes) == (24, 0):
        return _midnight(day + timedelta(days=1), tz)
    return int(datetime.combine(day, time(hours, minutes), tz).timestamp())


def _midnight(day: date, tz: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), tz).timestamp())


def _span_at(spans: Iterable[Sequence[int]], seconds: float) -> Span | None:
    return next(((start, end) for start, end in spans if start <= seconds < end), None)


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
