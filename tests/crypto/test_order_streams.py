"""Order streams end to end: a fill at the exchange is stored long before the next poll."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from brokers import registry
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from common.clocks import market_now
from connections.credentials.sealing import seal_credentials
from connections.health.connection_checks import run_test
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.services import set_credentials
from execution.models import AccountSyncState, Fill, Order, WorkerLease
from execution.runtime import order_stream, order_streams, trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.crypto import test_engine
from tests.crypto.factories import DIALECTS, SYMBOLS, unlimited_rates
from tests.crypto.test_engine import engine, feed, until
from tests.execution import factories
from tests.fakes.exchange import actions
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Market, Venue

__all__ = ["engine", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
NEVER = 3600  # seconds between polls: what is stored before was announced
RESTING, REACHED = D("49000.0"), D("48990.0")
MARKETS = [
    pytest.param((name, swap), id=f"{name}-{'swap' if swap else 'spot'}") for name, swap in SYMBOLS
]
ONE = [pytest.param(("binance", True), id="binance-swap")]
EACH = [pytest.param((name, name != "kraken"), id=name) for name in DIALECTS]


@dataclass
class Exchange:
    """A fake exchange with one account."""

    name: str
    server: Server
    swap: bool

    @property
    def venue(self) -> Venue:
        return self.server.venue

    @property
    def symbol(self) -> str:
        return "BTC/USDT:USDT" if self.swap else "BTC/USDT"

    def reach(self) -> None:
        """Move the price to where the entry rests; it is filled."""
        actions.move_price(self.venue, next(iter(self.venue.prices)), REACHED)

    def polls(self) -> int:
        """How often the account's open orders were read."""
        names = ("openOrders", "/order/realtime?", "orders-pending", "OpenOrders")
        with self.venue.lock:
            return sum(any(n in line for n in names) for line in self.venue.request_lines)


@pytest.fixture
def exchange(request: pytest.FixtureRequest) -> Iterator[Exchange]:
    name, swap = request.param
    symbol, size = SYMBOLS[name, swap]
    market = Market("BTC", "USDT", D("0.001") if size == 1 else D("0.1"), D("0.1"), D(5), size)
    venue = Venue(
        {symbol: market}, {symbol: D("50000.0")}, {"USDT": D(100_000)}, derivatives=swap,
        refuses_duplicates="always" if name == "bybit" else "open",
    )  # fmt: skip
    server = Server(DIALECTS[name], venue)
    test_engine._adapters.append(CryptoAdapter(ClientPool({name: server.base}, unlimited_rates)))
    before = registry.BUILT_IN["crypto"]
    registry.BUILT_IN["crypto"] = f"{test_engine.__name__}:adapter"
    registry.clear_cache()
    order_streams.watched_broker_types.cache_clear()
    yield Exchange(name, server, swap)
    registry.BUILT_IN["crypto"] = before
    registry.clear_cache()
    order_streams.watched_broker_types.cache_clear()
    test_engine._adapters.pop()
    server.stop()


@pytest.fixture
def alice(
    feed: Feed, exchange: Exchange, engine: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """An account that is practically never polled by itself."""
    venue = exchange.venue
    account_settings = {
        "market": "swap" if exchange.swap else "spot", "symbols": [exchange.symbol],
        "currency": "USDT", "update_interval_seconds": NEVER,
    }  # fmt: skip
    preset = make.preset(sizing_mode="FIXED", fixed_quantity=D("0.1"), max_signal_age_seconds=600)
    row = make.connection(
        type="crypto", account="main", exchange_name=exchange.name, settings=account_settings,
        preset=preset, sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    credentials = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(
        credentials, connection_id=row.pk, owner_id=row.owner_id
    )
    row.save()
    make.subscription(row, feed)
    factories.quote(row, "50000.0", "50000.1", pair="BTC/USDT")
    assert [check for check in run_test(row.pk) if check.result == "fail"] == []
    until(lambda: ConnectionHealth.objects.get(pk=row.pk).reconciled_at is not None)
    return row


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What streams log, on whatever thread."""
    lines = LogCapture()
    log = structlog.wrap_logger(None, processors=[lines])
    monkeypatch.setattr(order_stream, "log", log)
    return lines.entries


def state() -> AccountSyncState:
    return AccountSyncState.objects.get()


def resting(feed: Feed) -> Order:
    """Publish an entry that rests at the exchange; return it."""
    signal = factories.signal(
        feed, currency_pair="BTC/USDT", order_type="LIMIT", open_price=RESTING, sl=D("45000.0")
    )
    until(lambda: Order.objects.filter(signal=signal, status="SUBMITTED").exists())
    return Order.objects.get(signal=signal)


def is_filled() -> bool:
    return Order.objects.filter(leg="entry", status="FILLED").exists() and Fill.objects.exists()


@pytest.mark.parametrize("exchange", MARKETS, indirect=True)
def test_fill_is_stored_when_the_stream_announces_it(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    assert exchange.server.sockets.opened == 0  # nothing is open: nothing to listen for
    resting(feed)
    until(lambda: state().stream_since)
    until(lambda: state().poll_after is not None and state().poll_began_at is None)
    exchange.reach()
    until(is_filled)
    assert exchange.server.sockets.live_with_orders == 1
    assert ExecutionPosition.objects.get().quantity > 0


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_stream_is_opened_while_the_order_is_sent(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_streams, "SECONDS", NEVER)  # until the process looks by itself
    resting(feed)
    until(lambda: state().stream_since)


@pytest.mark.parametrize("exchange", EACH, indirect=True)
def test_lost_connection_is_made_again(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_stream, "FIRST_PAUSE", 0.1)
    resting(feed)
    until(lambda: state().stream_since)
    exchange.server.drop_sockets()
    until(lambda: exchange.server.sockets.opened == 2)
    until(lambda: exchange.server.sockets.live_with_orders == 1)
    exchange.reach()
    until(is_filled)
    until(lambda: state().stream_since and not state().stream_error)


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_account_is_polled_while_its_stream_is_refused(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange,
    logged: list[Any],
) -> None:  # fmt: skip
    poll_often(alice)
    exchange.venue.refuses_streams = True
    resting(feed)
    until(lambda: state().stream_error.startswith("CREDENTIALS_REFUSED"))
    exchange.reach()
    until(is_filled)
    assert state().stream_since is None
    with exchange.venue.lock:
        assert sum("listenKey" in line for line in exchange.venue.request_lines) == 1
    (notice,) = [line for line in logged if line["event"] == "order_stream_lost"]
    assert (notice["code"], notice["exchange"]) == ("CREDENTIALS_REFUSED", "binance")
    assert exchange.venue.secret not in str(logged)


@pytest.mark.parametrize("exchange", EACH, indirect=True)
def test_account_is_polled_until_its_exchange_accepts_connections(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch,
    logged: list[Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(order_stream, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(order_stream, "MAX_PAUSE", 0.2)
    poll_often(alice)
    sockets = exchange.server.sockets
    sockets.is_refusing = True
    resting(feed)
    until(lambda: sockets.refused >= 3)
    exchange.reach()
    until(is_filled)
    assert state().stream_error.startswith("BROKER_UNREACHABLE")
    assert [line["event"] for line in logged].count("order_stream_lost") == 1
    sockets.is_refusing = False
    until(lambda: state().stream_since)
    assert state().stream_error == ""


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_lost_message_costs_no_more_than_a_poll(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    poll_often(alice)
    exchange.server.sockets.is_mute = True
    resting(feed)
    until(lambda: state().stream_since)
    exchange.reach()
    until(is_filled)
    assert exchange.server.sockets.pushed == 0


@pytest.mark.parametrize("exchange", EACH, indirect=True)
def test_burst_of_doubled_messages_is_few_polls_and_each_fill_once(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    exchange.server.sockets.repeats = 3
    entry = resting(feed)
    until(lambda: state().stream_since)
    until(lambda: state().poll_began_at is None)
    venue, polls, began = exchange.venue, exchange.polls(), time.monotonic()
    with venue.lock:
        (order,) = [one for one in venue.orders if one.is_open]
    parts = 10
    for _ in range(parts):
        venue.prices[order.symbol] = REACHED
        venue.match(order, D(1) / parts)
        pushed = exchange.server.sockets.pushed
        until(lambda pushed=pushed: exchange.server.sockets.pushed > pushed)  # type: ignore[misc]
    until(is_filled)
    until(lambda: exchange.server.sockets.quiet_looks > 100)
    entry.refresh_from_db()
    assert entry.filled_quantity == entry.quantity
    assert Fill.objects.filter(order=entry).count() == parts
    assert exchange.server.sockets.pushed >= 3 * parts
    seconds = time.monotonic() - began
    # Each poll reads the open orders once or twice; the next one follows after 0.1 s.
    assert exchange.polls() - polls <= 2 * (seconds / 0.1 + 2)


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_stream_ends_once_nothing_is_open(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_streams, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(order_streams, "CHECK_SECONDS", 0.1)
    resting(feed)
    until(lambda: state().stream_since)
    exchange.reach()
    until(is_filled)
    factories.close_signal(Signal.objects.get())
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    until(lambda: exchange.server.sockets.live == 0)
    until(lambda: state().stream_holder == "")
    assert (state().stream_since, state().stream_error) == (None, "")


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_another_process_takes_over_from_a_dead_one(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    later = market_now() + timedelta(hours=1)
    WorkerLease.objects.create(id="other", role="execution", host="h", pid=1, lease_until=later)
    AccountSyncState.objects.update(stream_holder="other")
    resting(feed)
    until(lambda: state().poll_after is not None)
    assert exchange.server.sockets.opened == 0  # the other process listens
    WorkerLease.objects.filter(id="other").update(lease_until=market_now() - timedelta(seconds=1))
    until(lambda: state().stream_since)
    exchange.reach()
    until(is_filled)


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_process_that_ends_closes_its_streams(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange,
    engine: trading_runtime.TradingRuntime,
) -> None:  # fmt: skip
    resting(feed)
    until(lambda: state().stream_since)
    engine.stop()
    assert exchange.server.sockets.live == 0


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_new_key_opens_the_stream_again(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_streams, "CHECK_SECONDS", 0.1)
    exchange.venue.refuses_streams = True
    resting(feed)
    until(lambda: state().stream_error)
    exchange.venue.refuses_streams = False
    alice.refresh_from_db()
    set_credentials(
        alice.pk, by=alice.user,
        values={"api_key": exchange.venue.key, "secret": exchange.venue.secret},
    )  # fmt: skip
    until(lambda: state().stream_since)  # not after the pause of a refused key


def poll_often(row: ExecutionConnection) -> None:
    row.refresh_from_db()
    row.settings = {**row.settings, "update_interval_seconds": 0.3}
    row.save(update_fields=["settings"])
    AccountSyncState.objects.update(poll_after=None)
