"""Which sources of prices are followed: those that an account goes by, or something open does."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from brokers.types import ConnectionSpec, Quote
from common.clocks import market_now
from common.sql import rows
from connections.market_data.source_status import with_status
from connections.market_data.sources import (
    get_or_create_broker_source,
    provides_prices_sql,
    serves_paper,
    sources_in_lanes,
)
from connections.models import DataConnection, ExecutionConnection, Instrument
from execution.models import Order
from positions.models import ExecutionPosition
from prices import event_loop, symbol_selection
from prices.broker_feeds import BrokerFeedManager
from prices.event_loop import get_loop, set_loop
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.monitoring.test_tick_monitor import HALVES
from tests.prices.fake_price_broker import loop, quote, until

__all__ = ["loop"]

pytestmark = pytest.mark.django_db
LANE = "mt.x"


def test_what_is_open_keeps_the_source_that_it_was_opened_by(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Its stop is judged by that one's prices only, whatever its account goes by since."""
    teller = make.connection(user=alice.user, type="mt4")
    live = get_or_create_broker_source(teller)
    ExecutionConnection.objects.filter(pk=teller.pk).update(lane=LANE)
    assert list(sources_in_lanes([LANE])) == []

    held = ExecutionPosition.objects.filter(pk=factories.filled(factories.signal(feed, HALVES)).pk)
    held.update(price_source=live)
    assert list(sources_in_lanes([LANE])) == [live]
    assert sources_in_lanes([]).count() == 0
    assert vars(with_status(DataConnection.objects.all()).get(pk=live.pk))["is_used"]
    assert tells(teller)  # its session does not rest

    held.update(quantity=0, reserved=0)
    assert list(sources_in_lanes([LANE])) == []
    assert not tells(teller)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    assert list(sources_in_lanes([LANE])) == [live]
    assert tells(teller)
    archived = {"is_active": False, "archived_at": market_now()}
    ExecutionConnection.objects.filter(pk=alice.pk).update(**archived)
    assert list(sources_in_lanes([LANE])) == []
    assert not tells(teller)


@pytest.fixture
def long_book(alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch) -> DataConnection:
    """The source that alice's account is: only what is needed of it is followed."""
    monkeypatch.setattr(symbol_selection, "SHORT_BOOK_PAIRS", 0)
    factories.instrument("GBP/USD")
    live = DataConnection.objects.create(name="x", kind="broker", broker_connection=alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    return live


def test_what_is_held_is_followed_before_what_was_ordered_since(
    feed: Feed, long_book: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many pairs those of the stops are not left out."""
    factories.quote(ExecutionConnection.objects.get(price_source=long_book))
    assert factories.filled(factories.signal(feed, HALVES)).price_source_id == long_book.pk
    ordered(feed, "GBP/USD")
    assert followed(long_book) == ["EUR/USD", "GBP/USD"]
    monkeypatch.setattr(symbol_selection, "MAX_PAIRS", 1)
    assert followed(long_book) == ["EUR/USD"]


def test_of_many_orders_the_newest_say_what_is_followed(
    feed: Feed, long_book: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered(feed, "EUR/USD")
    ordered(feed, "GBP/USD")
    assert followed(long_book) == ["GBP/USD", "EUR/USD"]
    monkeypatch.setattr(symbol_selection, "MAX_ORDERS_PER_ACCOUNT", 1)
    assert followed(long_book) == ["GBP/USD"]


def ordered(feed: Feed, pair: str) -> None:
    factories.signal(feed, currency_pair=pair)
    assert Order.objects.filter(pair=pair).exists()


def followed(source: DataConnection) -> list[str]:
    return list(symbol_selection.select_symbols([source])[source.pk].symbols)


def test_the_paper_broker_goes_by_what_operators_offer_to_all(
    alice: ExecutionConnection, feed: Feed
) -> None:
    live = DataConnection.objects.create(name="x", kind="broker", broker_connection=alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    assert not serves_paper(sources_in_lanes([""]).get())  # no paper account goes by it
    paper = make.connection(data_connection=live)
    assert serves_paper(sources_in_lanes([""]).get())
    DataConnection.objects.update(user=alice.user)
    assert not serves_paper(sources_in_lanes([""]).get())
    DataConnection.objects.update(user=None)
    ExecutionConnection.objects.filter(pk=paper.pk).update(archived_at=market_now())
    assert not serves_paper(sources_in_lanes([""]).get())


def tells(account: ExecutionConnection) -> bool:
    [row] = rows(
        f"SELECT {provides_prices_sql('c.id')} AS so FROM connections_executionconnection c "
        f"WHERE id = %s",
        (account.pk,),
    )
    return bool(row.so)


@pytest.fixture
def asked(
    broker: FakeBroker, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Whose prices the broker was asked for, by its own names."""
    names: list[str] = []

    async def tell(spec: ConnectionSpec, symbol: str) -> Quote:
        names.append(symbol)
        return quote("1.1")

    can = replace(broker.capabilities(ConnectionSpec("", "")), quotes=True)
    monkeypatch.setattr(broker, "capabilities", lambda spec: can)
    monkeypatch.setattr(broker, "quote", tell)
    before = get_loop()
    set_loop(loop)
    yield names
    event_loop.shutdown(loop, 10)
    set_loop(before)


def test_a_pair_whose_symbol_changes_is_followed_by_the_new_one(
    alice: ExecutionConnection, asked: list[str]
) -> None:
    """Orders go out in the new one: they are not priced by the old one."""
    source = DataConnection.objects.create(name="x", kind="broker", broker_connection=alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    live = BrokerFeedManager(lambda: [""])
    try:
        live.maintain()
        until(lambda: asked)
        Instrument.objects.filter(book=alice.instrument_book).update(symbol="EURUSD.pro")
        live.maintain()
        until(lambda: asked[-1] == "EURUSD.pro")
    finally:
        live.close()
