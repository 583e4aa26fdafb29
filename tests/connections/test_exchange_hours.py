"""Hours of exchanges: read by a process of its own, stored until they end, renewed before."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.trading_hours import TradingHours, hours_of, is_closed, read_sessions
from brokers.types import Instrument as BrokerInstrument
from connections.accounts.snapshots import store_instruments
from connections.market_data.exchange_hours import read_calendars, refresh_exchange_hours
from connections.models import Instrument

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
APPLE = BrokerInstrument(
    symbol="AAPL", pair="AAPL/USD", digits=2, pip=D("0.01"), quantity_min=D(1), quantity_step=D(1),
    quantity_max=D(1000), contract_size=D(1), exchange="NASDAQ",
)  # fmt: skip


class Calendars:
    """Answers for every calendar in `names`, and notes what was asked for."""

    def __init__(self, *names: str) -> None:
        self.names, self.calls = names, list[list[str]]()

    def __call__(self, names: Sequence[str], first: date) -> dict[str, TradingHours]:
        self.calls.append(list(names))
        days = [first + timedelta(days=n) for n in range(14)]
        return {name: hours_of(days, [], "UTC") for name in names if name in self.names}


@pytest.mark.processes
def test_calendars_are_read_without_importing_the_library_here() -> None:
    hours = read_calendars(["XNYS", "XHKG", "NOPE"], date(2026, 11, 23))
    assert set(hours) == {"XNYS", "XHKG"}
    new_york, hong_kong = hours["XNYS"].stored(), hours["XHKG"].stored()

    def utc(day: int, hour: int, minute: int = 0) -> datetime:
        return datetime(2026, 11, day, hour, minute, tzinfo=UTC)

    assert is_closed(new_york, utc(26, 16))  # Thanksgiving
    assert not is_closed(new_york, utc(27, 17, 59))
    assert is_closed(new_york, utc(27, 18))  # it closes early
    assert not is_closed(hong_kong, utc(24, 3, 59))
    assert is_closed(hong_kong, utc(24, 4, 30))  # its break at noon
    assert not is_closed(hong_kong, utc(24, 5))
    assert "exchange_calendars" not in sys.modules


@pytest.mark.django_db
def test_hours_are_stored_once_and_renewed_before_they_end() -> None:
    store_instruments("book", [APPLE, replace(APPLE, symbol="BTCUSD", pair="BTC/USD", exchange="")])
    read = Calendars("XNYS")
    assert refresh_exchange_hours(NOW, read) == 1
    assert Instrument.objects.get(symbol="BTCUSD").hours is None
    hours = Instrument.objects.get(symbol="AAPL").hours
    assert hours
    assert hours["known"] == [[int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()),
                      int(datetime(2026, 12, 6, tzinfo=UTC).timestamp())]]  # fmt: skip
    store_instruments("book", [APPLE])  # the broker's list leaves them
    assert Instrument.objects.get(symbol="AAPL").hours == hours
    assert refresh_exchange_hours(NOW + timedelta(days=5), read) == 0
    assert refresh_exchange_hours(NOW + timedelta(days=6), read) == 1
    assert read.calls == [["XNYS"], ["XNYS"]]


@pytest.mark.django_db
def test_calendar_that_cannot_be_read_leaves_the_hours_as_they_are() -> None:
    store_instruments("book", [APPLE, replace(APPLE, symbol="VOD", pair="VOD/GBP", exchange="LSE")])
    assert refresh_exchange_hours(NOW, Calendars("XLON")) == 1
    assert Instrument.objects.get(symbol="AAPL").hours is None
    assert Instrument.objects.get(symbol="VOD").hours


@pytest.mark.django_db
def test_hours_of_the_broker_replace_those_of_the_calendar() -> None:
    store_instruments("book", [APPLE])
    refresh_exchange_hours(NOW, Calendars("XNYS"))
    for text in ("20261123:0930-20261123:1600", "20261124:0930-20261124:1600"):
        hours = read_sessions(text, "America/New_York")
        assert hours
        store_instruments("book", [replace(APPLE, hours=hours)])
        row = Instrument.objects.get(symbol="AAPL")
        assert (row.exchange, row.hours) == ("", hours.stored())
    read = Calendars("XNYS")
    assert refresh_exchange_hours(NOW, read) == 0
    assert read.calls == []
