"""A venue of each kind, and the adapter that trades on it."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any, TypeVar

import pytest

from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.crypto.exchange_limits import limits_of
from brokers.crypto.exchanges import Exchange
from brokers.crypto.rate_limits import AccountRateLimits
from brokers.rate_limits import Rate, rate_limiter_for
from brokers.types import (
    CancelRequest,
    ConnectionSpec,
    OrderReport,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from tests.fakes.exchange.binance import Binance
from tests.fakes.exchange.bybit import Bybit
from tests.fakes.exchange.kraken import Kraken
from tests.fakes.exchange.okx import Okx
from tests.fakes.exchange.server import Dialect, Server
from tests.fakes.exchange.venue import Market, Venue

D = Decimal
NUMBERS = count()
T = TypeVar("T")
DIALECTS: dict[str, type[Dialect]] = {
    "binance": Binance, "bybit": Bybit, "okx": Okx, "kraken": Kraken,
}  # fmt: skip
NAMES = {  # the exchange's own names of the symbol, and a contract's size
    ("binance", False): ("BTCUSDT", D(1)),
    ("binance", True): ("BTCUSDT", D(1)),
    ("bybit", False): ("BTCUSDT", D(1)),
    ("bybit", True): ("BTCUSDT", D(1)),
    ("okx", False): ("BTC-USDT", D(1)),
    ("okx", True): ("BTC-USDT-SWAP", D("0.01")),
    ("kraken", False): ("XBTUSDT", D(1)),
}


def unlimited_rates(known: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
    """So many requests that no test waits; each account of a test has its own."""
    much = Rate(1000.0, 1000.0)
    name = f"test {next(NUMBERS)}"
    host, points, orders, reads = (
        rate_limiter_for(f"{name} {of}", much) for of in ("host", "points", "orders", "reads")
    )
    limits = limits_of(known.name, str(spec.settings.get("market")))
    return AccountRateLimits(host, points, orders, limits, reads)


def allow(_: OrderRequest) -> None:
    """A guard that lets everything through."""


@dataclass
class VenueSetup:
    """One account at one venue. run: drives a coroutine on this account's loop."""

    venue: Venue
    server: Server
    adapter: CryptoAdapter
    spec: ConnectionSpec
    symbol: str
    their_symbol: str
    runner: asyncio.Runner
    made: int = field(default=0)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def order(self, **said: Any) -> OrderRequest:
        """A market buy of 0.5 unless said otherwise."""
        self.made += 1
        standard: dict[str, Any] = {
            "client_order_id": f"abc{self.made:014d}0",
            "connection_id": self.spec.connection_id,
            "account": self.spec.account,
            "symbol": self.symbol,
            "side": Side.BUY,
            "order_type": OrderType.LIMIT if "limit_price" in said else OrderType.MARKET,
            "time_in_force": TimeInForce.GTC,
            "quantity": D("0.5"),
        }
        return OrderRequest(**{**standard, **said})

    def submit(self, request: OrderRequest, guard: Any = allow) -> list[OrderReport]:
        return self.run(self.adapter.submit(self.spec, request, guard))

    def find(self, client_order_id: str) -> list[OrderReport] | None:
        return self.run(self.adapter.find_order(self.spec, client_order_id))

    def cancel(self, request: OrderRequest, send_by: float | None = None) -> list[OrderReport]:
        wanted = CancelRequest(request.client_order_id, "", request.symbol, send_by)
        return self.run(self.adapter.cancel(self.spec, wanted))

    def warm(self) -> None:
        """Open the account, so that what follows is the order alone."""
        self.run(self.adapter.instruments(self.spec))

    def another(self) -> CryptoAdapter:
        """An adapter of a fresh process: it remembers nothing."""
        return CryptoAdapter(
            ClientPool({self.spec.exchange_name: self.server.base}, unlimited_rates)
        )


def open_venue(name: str, *, swap: bool = False, **settings: Any) -> VenueSetup:
    """Open a venue with one symbol and an account with 100,000 USDT."""
    symbol, size = NAMES[(name, swap)]
    step = D("0.001") if size == 1 else D("0.1")
    market = Market("BTC", "USDT", step, D("0.1"), D(5), size)
    venue = Venue(
        {symbol: market}, {symbol: D("50000.0")}, {"USDT": D(100000)}, derivatives=swap,
        unique="always" if name == "bybit" else "open",
    )  # fmt: skip
    server = Server(DIALECTS[name], venue)
    ours = "BTC/USDT:USDT" if swap else "BTC/USDT"
    spec = ConnectionSpec(
        connection_id="11111111-1111-4111-8111-111111111111",
        account="main",
        exchange_name=name,
        settings={"market": "swap" if swap else "spot", "symbols": [ours], **settings},
        credentials={"api_key": venue.key, "secret": venue.secret, "password": venue.password},
    )
    adapter = CryptoAdapter(ClientPool({name: server.base}, unlimited_rates))
    return VenueSetup(venue, server, adapter, spec, ours, symbol, asyncio.Runner())


def close(house: VenueSetup) -> None:
    house.run(house.adapter.disconnect())
    house.runner.close()
    house.server.stop()


KINDS = [
    pytest.param((name, swap), id=f"{name}-{'swap' if swap else 'spot'}") for name, swap in NAMES
]


@pytest.fixture(params=KINDS)
def house(request: pytest.FixtureRequest) -> Iterator[VenueSetup]:
    """Each venue in turn."""
    name, swap = request.param
    made = open_venue(name, swap=swap)
    yield made
    close(made)


@pytest.fixture(
    params=[("binance", True), ("bybit", True), ("okx", False), ("kraken", False)],
    ids=lambda kind: kind[0],
)
def each(request: pytest.FixtureRequest) -> Iterator[VenueSetup]:
    """Each exchange once."""
    name, swap = request.param
    made = open_venue(name, swap=swap)
    yield made
    close(made)


@pytest.fixture(params=["spot", "swap"])
def binance(request: pytest.FixtureRequest) -> Iterator[VenueSetup]:
    made = open_venue("binance", swap=request.param == "swap")
    yield made
    close(made)
