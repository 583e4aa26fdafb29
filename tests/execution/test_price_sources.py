"""Price sources are followed if an account or something open uses them."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from brokers.types import ConnectionSpec, Quote
from common.clocks import market_now
from common.db.sql import rows
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
from tests.prices.fake_price_broker import quote, until
from tests.prices.fake_price_broker import threaded_loop as loop

__all__ = ["loop"]

pytestmark = pytest.mark.django_db
LANE = "mt.x"


def test_open_position_keeps_the_source_it_was_opened_with(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Its stop is evaluated with that source's prices only, whatever its account uses since."""
    provider = make.connection(user=alice.user, type="mt4")
    live = get_or_create_broker_source(provider)
    ExecutionConnection.objects.filter(pk=provider.pk).update(lane=LANE)
    assert list(sources_in_lanes([LANE])) == []

    held = ExecutionPosition.objects.filter(pk=factories.filled(factories.signal(feed, HALVES)).pk)
    held.update(price_source=live)
    assert list(sources_in_lanes([LANE])) == [live]
    assert sources_in_lanes([]).count() == 0
    assert vars(with_status(DataConnection.objects.all()).get(pk=live.pk))["is_used"]
    assert provides_prices(provider)  # its session does not idle

    held.update(quantity=0, reserved=0)
    assert list(sources_in_lanes([LANE])) == []
    assert not provides_prices(provider)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    assert list(sources_in_lanes([LANE])) == [live]
    assert provides_prices(provider)
    archived = {"is_active": False, "archived_at": market_now()}
    ExecutionConnection.objects.filter(pk=alice.pk).update(**archived)
    assert list(sources_in_lanes([LANE])) == []
    assert not provides_prices(provider)


@pytest.fixture
def long_book(alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch) -> DataConnection:
    """The source of Alice's own account: only the needed symbols are followed."""
    monkeypatch.setattr(symbol_selection, "SHORT_BOOK_PAIRS", 0)
    factories.instrument("GBP/USD")
    live = DataConnection.objects.create(name="x", kind="broker", broker_connection=alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    return live


def test_open_positions_are_followed_before_newer_orders(
    feed: Feed, long_book: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many pairs, those with stops are kept."""
    factories.quote(ExecutionConnection.objects.get(price_source=long_book))
    assert factories.filled(factories.signal(feed, HALVES)).price_source_id == long_book.pk
    ordered(feed, "GBP/USD")
    assert followed(long_book) == ["EUR/USD", "GBP/USD"]
    monkeypatch.setattr(symbol_selection, "MAX_PAIRS", 1)
    assert followed(long_book) == ["EUR/USD"]


def test_newest_orders_decide_which_pairs_are_followed(
    feed: Feed, long_book: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered(feed, "EUR/USD")
    ordered(feed, "GBP/USD")
    assert followed(long_book) == ["GBP/USD", "EUR/USD"]
    monkeypatch.setattr(symbol_selection, "MAX_ORDERS_PER_ACCOUNT", 1)
    assert followed(long_book) == ["GBP/USD"]


def test_fallback_follows_the_pairs_of_the_sources_that_have_it(
    feed: Feed, long_book: DataConnection
) -> None:
    """It needs no account of its own, and another one's pairs come after what its own need."""
    primary = DataConnection.objects.create(
        name="Ours", kind="push", settings={"symbols": ["GBP/USD"]}, user=long_book.user
    )
    assert followed(long_book) == []
    DataConnection.objects.filter(pk=primary.pk).update(fallback=long_book)
    assert followed(long_book) == ["GBP/USD"]
    ordered(feed, "EUR/USD")
    assert followed(long_book) == ["EUR/USD", "GBP/USD"]
    DataConnection.objects.filter(pk=primary.pk).update(is_active=False)
    assert followed(long_book) == ["EUR/USD"]


def test_fallback_that_no_account_uses_is_followed(alice: ExecutionConnection) -> None:
    provider = make.connection(user=alice.user, type="mt4")
    live = get_or_create_broker_source(provider)
    ExecutionConnection.objects.filter(pk=provider.pk).update(lane=LANE)
    assert list(sources_in_lanes([LANE])) == []
    primary = DataConnection.objects.create(name="Ours", kind="push", fallback=live)
    assert list(sources_in_lanes([LANE])) == [live]
    assert provides_prices(provider)
    DataConnection.objects.filter(pk=primary.pk).update(is_active=False)
    assert list(sources_in_lanes([LANE])) == []


def ordered(feed: Feed, pair: str) -> None:
    factories.signal(feed, currency_pair=pair)
    assert Order.objects.filter(pair=pair).exists()


def followed(source: DataConnection) -> list[str]:
    return list(symbol_selection.select_symbols([source])[source.pk].symbols)


def test_paper_broker_uses_sources_that_operators_share_with_all(
    alice: ExecutionConnection, feed: Feed
) -> None:
    live = DataConnection.objects.create(name="x", kind="broker", broker_connection=alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    assert not serves_paper(sources_in_lanes([""]).get())  # no paper account uses it
    paper = make.connection(data_connection=live)
    assert serves_paper(sources_in_lanes([""]).get())
    DataConnection.objects.update(user=alice.user)
    assert not serves_paper(sources_in_lanes([""]).get())
    DataConnection.objects.update(user=None)
    ExecutionConnection.objects.filter(pk=paper.pk).update(archived_at=market_now())
    assert not serves_paper(sources_in_lanes([""]).get())


def provides_prices(account: ExecutionConnection) -> bool:
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
    """The symbols that the broker was asked for, by its own names."""
    names: list[str] = []

    async def get_quote(spec: ConnectionSpec, symbol: str) -> Quote:
        names.append(symbol)
        return quote("1.1")

    can = replace(broker.capabilities(ConnectionSpec("", "")), quotes=True)
    monkeypatch.setattr(broker, "capabilities", lambda spec: can)
    monkeypatch.setattr(broker, "quote", get_quote)
    before = get_loop()
    set_loop(loop)
    yield names
    event_loop.shutdown(loop, 10)
    set_loop(before)


def test_pair_with_a_changed_symbol_is_followed_by_the_new_one(
    alice: ExecutionConnection, asked: list[str]
) -> None:
    """Orders use the new symbol and must not be priced by the old one."""
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
