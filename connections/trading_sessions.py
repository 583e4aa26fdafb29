"""Trading sessions of a preset: weekdays and times in which entries are sent. Pure.

A session is written `MON-FRI 08:00-16:30`, `SUN 22:00-24:00` or `FRI 22:00-02:00`, which ends on
the next day. Its start belongs to it, its end does not. Times are wall-clock times.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MAX_LENGTH = 19
MAX_SESSIONS = 50
DAY = 24 * 60
WEEK = 7 * DAY
_DAY = "|".join(DAYS)
_SESSION = re.compile(rf"({_DAY})(?: ?- ?({_DAY}))? +(\d\d?):(\d\d) ?- ?(\d\d?):(\d\d)", re.ASCII)
Span = tuple[int, int]  # minutes of the week from Monday 00:00: start, end


def read_sessions(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the sessions in their usual spelling, each once, and an error for each other text."""
    sessions: dict[str, None] = {}
    errors = []
    for text in texts:
        session = _read(text)
        if session is None:
            shown = repr(text if len(text) <= 40 else text[:40] + "…")
            errors.append(f"{shown} is no session. Write MON-FRI 08:00-16:30 or SUN 22:00-24:00.")
        else:
            sessions[session] = None
    return list(sessions), errors


def is_open(sessions: Sequence[str], at: datetime, zone: str) -> bool:
    """Return whether an aware time lies in one of the sessions; without sessions, True."""
    if not sessions:
        return True
    minute = minute_of_week(at, zone)
    return any(start <= minute < end for start, end in spans(sessions))


def minute_of_week(at: datetime, zone: str) -> int:
    """Return the minutes from Monday 00:00 in a zone to an aware time."""
    local = at.astimezone(ZoneInfo(zone))
    return local.weekday() * DAY + local.hour * 60 + local.minute


def outside(inner: Sequence[str], outer: Sequence[str]) -> list[str]:
    """Return the sessions of `inner` that lie partly outside of `outer`; none if that is empty."""
    if not outer:
        return []
    allowed = spans(outer)
    return [
        session
        for session in inner
        if not all(_is_covered(span, allowed) for span in spans([session]))
    ]


def spans(sessions: Iterable[str]) -> list[Span]:
    """Return the times of sessions in order, joined where they touch."""
    found: list[Span] = []
    for session in sessions:
        match = _SESSION.fullmatch(session)
        assert match is not None  # stored sessions have been read
        first = DAYS.index(match[1])
        last = DAYS.index(match[2]) if match[2] else first
        start, end = (int(match[h]) * 60 + int(match[h + 1]) for h in (3, 5))
        length = end - start if end > start else end - start + DAY
        for day in range(first, last + 1 + 7 * (last < first)):
            begin = day % 7 * DAY + start
            found.append((begin, min(begin + length, WEEK)))
            if begin + length > WEEK:  # it goes on after Sunday
                found.append((0, begin + length - WEEK))
    return _joined(sorted(found))


def _joined(ordered: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in ordered:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _is_covered(span: Span, allowed: Iterable[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in allowed)


def _read(text: str) -> str | None:
    """Return a session in its usual spelling; None if the text is none."""
    match = _SESSION.fullmatch(text.strip().upper())
    if match is None:
        return None
    start, end = (int(match[h]) * 60 + int(match[h + 1]) for h in (3, 5))
    if start >= DAY or end > DAY or start == end or int(match[4]) > 59 or int(match[6]) > 59:
        return None
    days = f"{match[1]}-{match[2]}" if match[2] and match[2] != match[1] else match[1]
    times = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (start, end))
    return f"{days} {'-'.join(times)}"
