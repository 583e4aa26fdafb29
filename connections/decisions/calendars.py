"""Import news calendars from CSV: the whole file is checked before anything is written."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from django.db import transaction

from common.clocks import market_now
from common.errors import InvalidInputError
from common.names import has_invisible
from common.permissions import Right, require
from common.reason_codes import Code
from connections.models import Impact, NewsCalendar, NewsEvent
from users.models import User

COLUMNS = ("time", "currency", "impact", "title")
MAX_BYTES = 5_000_000
MAX_EVENTS = 50_000
MAX_FAULTS = 100
MAX_GAP = timedelta(days=7)
"""A calendar without any event for longer has a hole: every week has news."""
IMPACTS = {impact.value: impact for impact in Impact}


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as the file has it. at: aware UTC. line: its line number, from 1."""

    line: int
    at: datetime
    currency: str
    impact: Impact
    title: str


def read_calendar(data: bytes) -> tuple[list[EventRow], list[str]]:
    """Return the events of a CSV file in order of time, and all faults with their line numbers.

    Columns: time (ISO 8601 with its offset), currency, impact (LOW, MEDIUM, HIGH), title. Pure.
    """
    if len(data) > MAX_BYTES:
        return [], [f"The file has {len(data)} bytes; the maximum is {MAX_BYTES}."]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return [], [f"Line {line}: this is not UTF-8."]
    if "\x00" in text:
        return [], [f"Line {text[: text.index(chr(0))].count(chr(10)) + 1}: a zero byte."]
    events: list[EventRow] = []
    faults: list[str] = []
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if header != list(COLUMNS):
            return [], [f"Line 1: the columns must be {', '.join(COLUMNS)}."]
        for cells in reader:
            _read_line(reader.line_num, cells, events, faults)
    except csv.Error as error:
        faults.append(f"Line {reader.line_num}: {error}.")
    if len(events) > MAX_EVENTS:
        faults.append(f"The file has {len(events)} events; the maximum is {MAX_EVENTS}.")
    if not events and not faults:
        faults.append("The file has no events.")
    events.sort(key=lambda event: (event.at, event.line))
    return events, [*faults, *_duplicates(events), *_holes(events)]


def _read_line(line: int, cells: Sequence[str], events: list[EventRow], faults: list[str]) -> None:
    """Add the event of a line, or all its faults. An empty line is skipped."""
    if not any(cell.strip() for cell in cells):
        return
    if len(cells) != len(COLUMNS):
        faults.append(f"Line {line}: {len(cells)} columns instead of {len(COLUMNS)}.")
        return
    time, currency, impact, title = (cell.strip() for cell in cells)
    at = _time(time)
    wrong = []
    if at is None:
        wrong.append(f"{time!r} is no time with an offset, such as 2026-12-04T13:30:00Z")
    if not (currency.isascii() and currency.isalpha() and 3 <= len(currency) <= 10):
        wrong.append(f"{currency!r} is no currency")
    if impact.upper() not in IMPACTS:
        wrong.append(f"{impact!r} is none of {', '.join(IMPACTS)}")
    if not title or len(title) > 200:
        wrong.append("the title has 1 to 200 characters")
    if has_invisible(title):
        wrong.append("the title has invisible characters, or more than one line")
    if wrong or at is None:
        faults.append(f"Line {line}: {'; '.join(wrong)}.")
        return
    events.append(EventRow(line, at, currency.upper(), IMPACTS[impact.upper()], title))


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _duplicates(events: Sequence[EventRow]) -> Iterator[str]:
    lines: dict[tuple[datetime, str, str], int] = {}
    for event in events:
        first = lines.setdefault((event.at, event.currency, event.title), event.line)
        if first != event.line:
            yield f"Line {event.line}: the same event as in line {first}."


def _holes(events: Sequence[EventRow]) -> Iterator[str]:
    for before, after in pairwise(events):
        if after.at - before.at > MAX_GAP:
            yield (
                f"Line {after.line}: no event in the {(after.at - before.at).days} days since line "
                f"{before.line}; the calendar has a hole."
            )


def import_calendar(calendar_id: int, data: bytes, *, by: User | None) -> int:
    """Replace the events of a calendar by those of a CSV file; return how many.

    Raises InvalidInputError with all faults, and NotAllowedError; then nothing has changed.
    """
    events, faults = read_calendar(data)
    with transaction.atomic():
        calendar = NewsCalendar.objects.select_for_update(no_key=True).get(pk=calendar_id)
        require(by, Right.LIMITS, owner_id=calendar.user_id)
        if faults:
            more = len(faults) - MAX_FAULTS
            shown = [*faults[:MAX_FAULTS], *([f"And {more} more faults."] if more > 0 else [])]
            raise InvalidInputError(Code.FIELD_INVALID, "\n".join(shown), field="file")
        calendar.events.all().delete()
        NewsEvent.objects.bulk_create(
            [
                NewsEvent(
                    calendar=calendar, at=event.at, currency=event.currency, impact=event.impact,
                    title=event.title,
                )
                for event in events
            ],
            batch_size=2000,
        )  # fmt: skip
        calendar.starts_at, calendar.ends_at = events[0].at, events[-1].at
        calendar.event_count, calendar.imported_at = len(events), market_now()
        calendar.save(update_fields=["starts_at", "ends_at", "event_count", "imported_at"])
    return len(events)
