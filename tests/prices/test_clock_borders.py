"""A broker's clock beside ours: how far it is ahead, for how long, and how old its quotes are."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.types import Quote
from prices import quote_intake
from prices.broker_clock import ClockOffset
from prices.quote_intake import QuoteIntake

NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
HOUR, QUARTER, NOTHING = timedelta(hours=1), timedelta(minutes=15), timedelta(0)
INSTANT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("seen", "ahead"),
    [
        ([(3 * HOUR, 0.0)], 3 * HOUR),
        ([(-HOUR, 0.0)], NOTHING),
        ([(15 * HOUR, 0.0)], 15 * HOUR),
        ([(15 * HOUR + INSTANT, 0.0)], NOTHING),  # no time zone: a wrong time
        ([(3 * HOUR, 0.0), (HOUR, 20.0)], 3 * HOUR),
        ([(3 * HOUR, 0.0), (HOUR, 20.5)], HOUR),  # the clock was corrected
        ([(3 * HOUR, 0.0), (-HOUR, 20.5)], NOTHING),
        ([(3 * HOUR, 0.0), (3 * HOUR, 19.0), (HOUR, 25.0)], 3 * HOUR),
        ([(3 * HOUR, 0.0), (HOUR, 19.0), (HOUR, 20.5)], HOUR),
    ],
)
def test_clock_is_ahead_as_seen_in_the_last_seconds(
    seen: Sequence[tuple[timedelta, float]], ahead: timedelta
) -> None:
    clock = ClockOffset()
    for difference, machine in seen:
        clock.observe(difference, machine)
    assert clock.ahead == ahead


@pytest.mark.parametrize(
    ("moved", "time", "is_current"),
    [
        (None, -QUARTER, True),
        (None, -QUARTER - INSTANT, False),
        (None, 3 * HOUR, True),  # its clock is ahead, by how much is not known yet
        (3 * HOUR, 3 * HOUR - QUARTER, True),
        (3 * HOUR, 3 * HOUR - QUARTER - INSTANT, False),
        (3 * HOUR, NOTHING, False),  # three hours old, although it is now by our clock
        (-HOUR, -QUARTER, True),
    ],
)
def test_quote_is_current_by_its_brokers_clock(
    monkeypatch: pytest.MonkeyPatch, moved: timedelta | None, time: timedelta, is_current: bool
) -> None:
    monkeypatch.setattr(quote_intake, "market_now", lambda: NOON)
    intake = QuoteIntake({"EUR/USD": "eurusd", "GBP/USD": "gbpusd"}, {})
    intake.expect([Quote("GBP/USD", D("1.3"), D("1.3"), NOON)])
    if moved is not None:
        for price in (D("1.1"), D("1.2")):
            intake.accept(Quote("EUR/USD", price, price, NOON + moved))
        intake.take_accepted()
    assert intake.accept(Quote("GBP/USD", D("1.3"), D("1.3"), NOON + time)) is is_current
    assert [one.time for one in intake.take_accepted()] == [NOON] * is_current
