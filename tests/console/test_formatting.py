"""Formatting of numbers and times, and the charts: pure functions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.test import RequestFactory

from common.clocks import MarketClock, set_market_clock
from common.templatetags.fillcast import page_time
from common.web.admin import time_column
from common.web.formatting import STATES, age, milliseconds, number, signed
from console import charts, unfold_settings
from execution.models import Status


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (Decimal("1234.500"), None, "1,234.5"),
        (Decimal("1E+3"), None, "1,000"),
        (Decimal(-5), None, "−5"),
        (Decimal("1.005"), 2, "1.00"),
        (0, None, "0"),
        (None, None, ""),
    ],
)
def test_numbers_are_formatted(value: Decimal | int | None, places: int | None, text: str) -> None:
    assert number(value, places) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("150.08", "+150.08"), ("-48.4", "−48.40"), ("-0.001", "0.00"), ("0", "0.00")],
)
def test_amounts_are_formatted_with_their_sign(value: str, text: str) -> None:
    assert signed(Decimal(value)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.94, "1.9 s"), (59, "59 s"), (382, "6 min 22 s"), (3600, "1 h"), (97200, "1 d 3 h")],
)
def test_ages_are_formatted(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_milliseconds_are_whole() -> None:
    assert milliseconds(1039.6) == "1,040"
    assert milliseconds(None) == ""


def test_every_status_of_an_order_has_a_label() -> None:
    assert set(STATES) == set(Status.values)


def test_bar_displays_its_smallest_part_and_fills_the_width() -> None:
    parts = charts.segments({"filled": 9999, "unknown": 1, "failed": 0})
    assert [part.css for part in parts] == ["filled", "unknown"]
    last = parts[-1]
    assert float(last.width.rstrip("%")) >= charts.MIN_SEGMENT * 0.99
    assert float(last.x.rstrip("%")) + float(last.width.rstrip("%")) == pytest.approx(100, abs=0.1)
    assert charts.segments({}) == []


def test_histogram_keeps_every_count() -> None:
    histogram = charts.histogram({0: 3, 13: 5, 26: 1}, 90, 8192)
    assert histogram is not None
    assert sum(column.count for column in histogram.columns) == 9
    assert histogram.ticks[0].text == "1 ms"
    assert charts.histogram({}, 1, 1) is None


def test_replay_is_marked_on_every_page() -> None:
    request = RequestFactory().get("/admin/")
    try:
        set_market_clock(None)
        assert unfold_settings.environment(request) is None
        start = datetime(2014, 5, 2, 12, 25, tzinfo=UTC)
        set_market_clock(MarketClock(start, datetime.now(UTC), 60))
        label = unfold_settings.environment(request)
        assert label is not None
        assert label[0].startswith("replay 60× · 2 May 2014")
    finally:
        set_market_clock(None)


def test_pages_display_machine_times_on_the_market_clock_of_a_replay() -> None:
    began, replayed = datetime(2026, 11, 1, 9, tzinfo=UTC), datetime(2014, 5, 2, 12, 30, tzinfo=UTC)
    later = began + timedelta(seconds=2)
    assert page_time(later) == later
    set_market_clock(MarketClock(replayed, began, 60))
    try:
        assert page_time(later) == replayed + timedelta(minutes=2)
        assert page_time(None) is None
        created = time_column("created_at", "Created")
        assert created(SimpleNamespace(created_at=later)) == "2 May 2014, 12:32:00"
        assert created(SimpleNamespace(created_at=None)) == ""
        used = time_column("health__last_used_at", "Last used")
        connection = SimpleNamespace(health=SimpleNamespace(last_used_at=later))
        assert used(connection) == "2 May 2014, 12:32:00"
    finally:
        set_market_clock(None)
