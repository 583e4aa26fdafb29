"""The whole way by live prices: an exchange tells them, an entry is sized by them, its stop is hit.

The account's source is its own exchange; the prices process follows it through ccxt's client.
"""

import threading
from collections.abc import Iterator
from decimal import Decimal as D

import pytest

from brokers.paper.db_sessions import sessions
from connections.credentials.sealing import seal_credentials
from connections.health.connection_checks import run_test
from connections.market_data.sources import get_or_create_broker_source
from connections.models import ExecutionConnection, HealthStatus, SourceHealth
from connections.services import deactivate
from execution.models import Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from prices.broker_feeds import BrokerFeedManager
from prices.feed_runner import FeedRunner
from prices.models import LatestQuote
from prices.selectors import latest
from signals.models import Feed
from tests.connections import make
from tests.crypto.test_engine import engine, exchange, feed, is_compared, until
from tests.execution import factories
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault

__all__ = ["engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def prices(engine: trading_runtime.TradingRuntime) -> Iterator[None]:
    """What the prices process does of brokers, beside the worker."""
    stop = threading.Event()
    runner = FeedRunner(BrokerFeedManager(lambda: [""], "prices"))

    def run() -> None:
        from django.db import connections

        try:
            while not stop.wait(0.02):
                runner.step()
        finally:
            runner.close()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join(20)
    sessions.close()


@pytest.fixture
def alice(
    feed: Feed, exchange: tuple[str, Server], engine: trading_runtime.TradingRuntime, prices: None
) -> ExecutionConnection:
    """Her account tells its own prices."""
    name, server = exchange
    venue = server.venue
    said = {"market": "spot", "symbols": ["EUR/USD"], "currency": "USD"}
    row = make.connection(
        type="crypto", account="main", exchange_name=name, settings=said,
        preset=make.preset(risk_percent=D(1), max_signal_age_seconds=600),
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    keys = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(keys, connection_id=row.pk, owner_id=row.owner_id)
    row.data_connection = get_or_create_broker_source(row)
    row.save()
    make.subscription(row, feed)
    assert [one for one in run_test(row.pk) if one.result == "fail"] == []
    until(lambda: is_compared(row))
    return row


def source_of(row: ExecutionConnection) -> int:
    assert row.data_connection_id is not None
    return row.data_connection_id


def move(exchange: tuple[str, Server], price: str) -> None:
    venue = exchange[1].venue
    venue.prices[next(iter(venue.prices))] = D(price)


def test_an_entry_is_sized_by_the_live_price_and_its_stop_leaves_when_that_falls(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    source = source_of(alice)
    until(lambda: latest(source))
    move(exchange, "1.2000")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.2000"))
    signal = factories.signal(feed, sl=D("1.1000"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    position = ExecutionPosition.objects.get(signal=signal)
    # 1 % of 100,000 USD is lost over the 0.1001 from the live ask to the stop: 9,990, in steps
    # of the exchange's.
    assert position.quantity in (9000, 9990)
    assert (position.sl, position.price_source_id) == (D("1.1000"), source)

    move(exchange, "1.0990")
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert [one.side for one in exchange[1].venue.orders] == ["BUY", "SELL"]
    well = SourceHealth.objects.get(pk=source)
    assert (well.error_code, well.pairs, well.missing) == ("", ["EUR/USD"], [])
    assert well.last_contact_at is not None


def test_a_price_that_does_not_move_stays_fresh_and_a_broken_stream_is_told(
    alice: ExecutionConnection, exchange: tuple[str, Server]
) -> None:
    source = source_of(alice)
    until(lambda: latest(source))
    since = LatestQuote.objects.get(data_connection=source).received_at
    until(lambda: LatestQuote.objects.get(data_connection=source).received_at > since)
    assert latest(source)["EUR/USD"].bid == D("1.1000")

    venue = exchange[1].venue
    venue.faults += [Fault("status", 503, "<html>", on="read") for _ in range(40)]
    until(lambda: SourceHealth.objects.get(pk=source).error_code != "")
    venue.faults.clear()
    move(exchange, "1.1500")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.1500"))
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "")


def test_an_account_that_is_switched_off_tells_no_prices(
    alice: ExecutionConnection, exchange: tuple[str, Server]
) -> None:
    source = source_of(alice)
    until(lambda: latest(source))
    deactivate(alice.pk, by=None)
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "CONNECTION_INACTIVE")
    move(exchange, "1.3000")
    asked = LatestQuote.objects.get(data_connection=source).received_at
    assert latest(source)["EUR/USD"].bid == D("1.1000")
    assert LatestQuote.objects.get(data_connection=source).received_at == asked
