"""End to end with live prices: an exchange provides them, they size an entry and hit its stop.

The account's price source is its own exchange; the prices process follows it with ccxt.
"""

import threading
from collections.abc import Iterator
from decimal import Decimal as D

import pytest

from brokers.paper.db_sessions import sessions
from connections.health.connection_checks import run_test
from connections.market_data.sources import get_or_create_broker_source
from connections.models import ExecutionConnection, HealthStatus, SourceHealth
from connections.sealing import seal_credentials
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
from tests.crypto.engine.test_engine import engine, exchange, feed, is_reconciled
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault

__all__ = ["engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def prices(engine: trading_runtime.TradingRuntime) -> Iterator[None]:
    """The broker feeds of the prices process, beside the worker."""
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
    thread.join(60)
    sessions.close()


@pytest.fixture
def alice(
    feed: Feed, exchange: tuple[str, Server], engine: trading_runtime.TradingRuntime, prices: None
) -> ExecutionConnection:
    """An account that is its own price source."""
    name, server = exchange
    venue = server.venue
    account_settings = {"market": "spot", "symbols": ["EUR/USD"], "currency": "USD"}
    row = make.connection(
        type="crypto", account="main", exchange_name=name, settings=account_settings,
        preset=make.preset(risk_percent=D(1), max_signal_age_seconds=600),
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    credentials = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(
        credentials, connection_id=row.pk, owner_id=row.owner_id
    )
    row.data_connection = get_or_create_broker_source(row)
    row.save()
    make.subscription(row, feed)
    assert [check for check in run_test(row.pk) if check.result == "fail"] == []
    until(lambda: is_reconciled(row))
    return row


def source_of(row: ExecutionConnection) -> int:
    assert row.data_connection_id is not None
    return row.data_connection_id


def set_price(exchange: tuple[str, Server], price: str) -> None:
    venue = exchange[1].venue
    venue.prices[next(iter(venue.prices))] = D(price)


def test_entry_is_sized_by_live_price_and_stop_triggers_when_it_falls(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    source = source_of(alice)
    until(lambda: latest(source))
    set_price(exchange, "1.2000")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.2000"))
    signal = factories.signal(feed, sl=D("1.1000"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    position = ExecutionPosition.objects.get(signal=signal)
    # 1 % of 100,000 USD over the 0.1001 from the live ask to the stop: 9,990, in the exchange's
    # quantity steps.
    assert position.quantity in (9000, 9990)
    assert (position.sl, position.price_source_id) == (D("1.1000"), source)

    set_price(exchange, "1.0990")
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    orders = exchange[1].venue.orders
    assert [order.side for order in orders if order.filled] == ["BUY", "SELL"]
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "")
    health = SourceHealth.objects.get(pk=source)
    assert (health.pairs, health.missing) == (["EUR/USD"], [])
    assert health.last_contact_at is not None


def test_unchanged_price_stays_fresh_and_broken_stream_is_reported(
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
    set_price(exchange, "1.1500")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.1500"))
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "")


def test_deactivated_account_provides_no_prices(
    alice: ExecutionConnection, exchange: tuple[str, Server]
) -> None:
    source = source_of(alice)
    until(lambda: latest(source))
    deactivate(alice.pk, by=None)
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "CONNECTION_INACTIVE")
    set_price(exchange, "1.3000")
    received_at = LatestQuote.objects.get(data_connection=source).received_at
    assert latest(source)["EUR/USD"].bid == D("1.1000")
    assert LatestQuote.objects.get(data_connection=source).received_at == received_at
