"""Which periods the benchmark of the console's pages asks for: some with orders, on each day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from benchmarks.console_pages import PAGES, shown
from console.pages.execution_quality_pages import MOST_DAYS

NEW_YEAR = date(2027, 1, 1)
pytestmark = pytest.mark.usefixtures("world")


def address(part: str, today: date) -> str:
    """Return the address of the page with this part, a minute after midnight."""
    [path] = [path for path in PAGES if part in path]
    at = datetime(today.year, today.month, today.day, 0, 1, tzinfo=UTC)
    with time_machine.travel(at, tick=False):
        values: dict[str, Any] = shown()
    return path.format(**values)


def test_month_is_that_of_yesterday() -> None:
    assert address("{month}", NEW_YEAR).endswith("/2026/12/")
    assert address("{month}", NEW_YEAR + timedelta(days=1)).endswith("/2027/1/")


def test_days_since_are_a_year_and_no_more_if_midnight_comes_meanwhile() -> None:
    since = date.fromisoformat(address("?from=", NEW_YEAR)[-10:])
    assert (NEW_YEAR + timedelta(days=1) - since).days == MOST_DAYS - 1
