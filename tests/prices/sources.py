"""Sources with quotes and times set by a test, and the batches received from them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.paper import exchange
from brokers.paper.db_sessions import sessions
from brokers.types import Quote
from common.clocks import MarketClock, set_market_clock
from connections.models import DataConnection
from prices.signals import quotes_stored

NOON = datetime(2014, 5, 2, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def quote(bid: str, second: float, symbol: str = "EUR/USD") -> Quote:
    return Quote(symbol, D(bid), D(bid) + D("0.0002"), at(second))


def stand_at(second: float) -> None:
    set_market_clock(MarketClock(at(second), datetime.now(UTC), 0))


class Source:
    """A stream that a test fills."""

    def __init__(self, *quotes: Quote) -> None:
        self.coming = list(quotes)

    def due(self, now: datetime) -> list[Quote]:
        due, self.coming = self.coming, []
        return due


@pytest.fixture
def source() -> Iterator[DataConnection]:
    stand_at(100)
    exchange.list_instruments()
    yield DataConnection.objects.create(name="Recorded", settings={})
    set_market_clock(None)
    sessions.close()


@pytest.fixture
def received_batches() -> Iterator[list[list[Quote]]]:
    """The batches of quotes that receivers got."""
    batches: list[list[Quote]] = []

    def receiver(quotes: list[Quote], **_: object) -> None:
        batches.append(quotes)

    quotes_stored.connect(receiver)
    yield batches
    quotes_stored.disconnect(receiver)
