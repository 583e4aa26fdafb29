"""A fake exchange and an account there whose interval of polls is practically endless."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal as D

import pytest

from brokers import registry
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from connections.health.connection_checks import run_test
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.sealing import seal_credentials
from execution.models import AccountSyncState, Fill, Order
from execution.runtime import order_streams, trading_runtime
from signals.models import Feed
from tests.connections import make
from tests.crypto.engine import test_engine
from tests.crypto.factories import DIALECTS, SYMBOLS, unlimited_rates
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.exchange import actions
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Market, Venue

NEVER = 3600  # seconds between polls: what is stored before was announced
RESTING, REACHED = D("49000.0"), D("48990.0")
MARKETS = [
    pytest.param(
        (name, swap), id=f"{name}-{'swap' if swap else 'spot'}",
        marks=() if name == "okx" else pytest.mark.exhaustive,
    )
    for name, swap in SYMBOLS
]  # fmt: skip
ONE = [pytest.param(("binance", True), id="binance-swap")]
EACH = [
    pytest.param(
        (name, name != "kraken"), id=name, marks=() if name == "kraken" else pytest.mark.exhaustive
    )
    for name in DIALECTS
]


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
    """An account whose interval of polls is practically endless."""
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


def poll_often(row: ExecutionConnection) -> None:
    row.refresh_from_db()
    row.settings = {**row.settings, "update_interval_seconds": 0.3}
    row.save(update_fields=["settings"])
    AccountSyncState.objects.update(poll_after=None)
