"""What a search of the history asks for, and its rows as CSV or JSON, row by row."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from analytics.history.rows import MOST_TEXT, HistoryFilter
from analytics.results.exports import Row, cell, csv_lines
from common.web.api_parameters import MOST_DIGITS, YEARS


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Return the rows as CSV, safe against formulas of spreadsheets."""
    return csv_lines(table_of(columns, rows))


def table_of(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Return the header, then each row."""
    yield columns
    for row in rows:
        yield [row[name] for name in columns]


def as_json(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Return the rows as one JSON list; numbers are texts, as everywhere in the API."""
    separator = "["
    for row in rows:
        yield separator + json.dumps(exact(row))
        separator = ",\n"
    yield "]" if separator != "[" else "[]"


def wanted_of(query: Mapping[str, str]) -> HistoryFilter:
    """Return the filter of an address; what cannot be read is left out."""
    feed, before = query.get("feed", ""), query.get("before", "")
    return HistoryFilter(
        text=query.get("q", "").strip().replace("\0", "")[:MOST_TEXT],
        pair=query.get("pair", "").strip().replace("\0", "")[:20],
        account=_uuid(query.get("account", "")),
        feed=int(feed) if _is_id(feed) else None,
        state=query.get("state", "").replace("\0", "")[:20],
        since=_day(query.get("from", "")),
        until=_day(query.get("to", "")),
        before=int(before) if _is_id(before) else None,
    )


def exact(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return a row as texts, without its key: numbers in plain digits, times in UTC."""
    return {
        name: value if value is None or isinstance(value, str) else cell(value)
        for name, value in row.items()
        if name != "key"
    }


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.year in YEARS else None
