"""An account at each fake exchange, and the adapter that trades on it."""

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
from tests.sampling import often
from tests.steady_loop import SteadyLoop

D = Decimal
SERIALS = count()
T = TypeVar("T")
DIALECTS: dict[str, type[Dialect]] = {
    "binance": Binance, "bybit": Bybit, "okx": Okx, "kraken": Kraken,
}  # fmt: skip
SYMBOLS = {  # the exchange's own name of the symbol, and its contract size
    ("binance", False): ("BTCUSDT", D(1)),
    ("binance", True): ("BTCUSDT", D(1)),
    ("bybit", False): ("BTCUSDT", D(1)),
    ("bybit", True): ("BTCUSDT", D(1)),
    ("okx", False): ("BTC-USDT", D(1)),
    ("okx", True): ("BTC-USDT-SWAP", D("0.01")),
    ("kraken", False): ("XBTUSDT", D(1)),
}


def unlimited_rates(known: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
    """Return limits so high that no test waits; each account of a test has its own."""
    unlimited = Rate(1000.0, 1000.0)
    name = f"test {next(SERIALS)}"
    host, points, orders, reads = (
        rate_limiter_for(f"{name} {kind}", unlimited)
        for kind in ("host", "points", "orders", "reads")
    )
    limits = limits_of(known.name, str(spec.settings.get("market")))
    return AccountRateLimits(host, points, orders, limits, reads)


def allow(_: OrderRequest) -> None:
    """A guard that allows every order."""


@dataclass
class ExchangeAccount:
    """One account at one fake exchange. run: runs a coroutine on this account's event loop."""

    venue: Venue
    server: Server
    adapter: CryptoAdapter
    spec: ConnectionSpec
    symbol: str
    exchange_symbol: str
    runner: asyncio.Runner
    order_count: int = field(default=0)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def order(self, **fields: Any) -> OrderRequest:
        """Return a market buy of 0.5, changed by `fields`."""
        self.order_count += 1
        standard: dict[str, Any] = {
            "client_order_id": f"abc{self.order_count:014d}0",
            "connection_id": self.spec.connection_id,
            "account": self.spec.account,
            "symbol": self.symbol,
            "side": Side.BUY,
            "order_type": OrderType.LIMIT if "limit_price" in fields else OrderType.MARKET,
            "time_in_force": TimeInForce.GTC,
            "quantity": D("0.5"),
        }
        return OrderRequest(**{**standard, **fields})

    def submit(self, request: OrderRequest, guard: Any = allow) -> list[OrderReport]:
        return self.run(self.adapter.submit(self.spec, request, guard))

    def find(self, client_order_id: str) -> list[OrderReport] | None:
        return self.run(self.adapter.find_order(self.spec, client_order_id))

    def cancel(self, request: OrderRequest, send_by: float | None = None) -> list[OrderReport]:
        request_to_cancel = CancelRequest(request.client_order_id, "", request.symbol, send_by)
        return self.run(self.adapter.cancel(self.spec, request_to_cancel))

    def load_markets(self) -> None:
        """Load the markets, so that the next request is the order."""
        self.run(self.adapter.instruments(self.spec))

    def new_adapter(self) -> CryptoAdapter:
        """Return an adapter with an empty cache, as of a new process."""
        return CryptoAdapter(
            ClientPool({self.spec.exchange_name: self.server.base}, unlimited_rates)
        )


def open_account(
    name: str, *, swap: bool = False, listed: tuple[str, Market] | None = None, **settings: Any
) -> ExchangeAccount:
    """Open an exchange with one symbol and an account with 100,000 USDT.

    listed: another symbol than BTC, by the exchange's name for it.
    """
    symbol, size = SYMBOLS[(name, swap)]
    step = D("0.001") if size == 1 else D("0.1")
    market = Market("BTC", "USDT", step, D("0.1"), D(5), size)
    symbol, market = listed or (symbol, market)
    venue = Venue(
        {symbol: market}, {symbol: D("50000.0")}, {"USDT": D(100000)}, derivatives=swap,
        refuses_duplicates="always" if name == "bybit" else "open",
    )  # fmt: skip
    server = Server(DIALECTS[name], venue, make_loop=SteadyLoop)
    unified_symbol = f"{market.base}/{market.quote}{f':{market.quote}' if swap else ''}"
    spec = ConnectionSpec(
        connection_id="11111111-1111-4111-8111-111111111111",
        account="main",
        exchange_name=name,
        settings={"market": "swap" if swap else "spot", "symbols": [unified_symbol], **settings},
        credentials={"api_key": venue.key, "secret": venue.secret, "password": venue.password},
    )
    adapter = CryptoAdapter(ClientPool({name: server.base}, unlimited_rates))
    runner = asyncio.Runner(loop_factory=SteadyLoop)
    return ExchangeAccount(venue, server, adapter, spec, unified_symbol, symbol, runner)


def close(account: ExchangeAccount) -> None:
    account.run(account.adapter.disconnect())
    account.runner.close()
    account.server.stop()


MARKETS = [
    pytest.param((name, swap), id=f"{name}-{'swap' if swap else 'spot'}") for name, swap in SYMBOLS
]


@pytest.fixture(params=often(MARKETS, every=3))
def account(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    """An account at each exchange, on each of its markets."""
    name, swap = request.param
    account = open_account(name, swap=swap)
    yield account
    close(account)


EACH = [
    pytest.param((name, name in ("binance", "bybit")), id=name)
    for name in ("binance", "bybit", "okx", "kraken")
]


@pytest.fixture(params=often(EACH, every=2))
def any_account(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    """An account at each exchange, on one of its markets."""
    name, swap = request.param
    account = open_account(name, swap=swap)
    yield account
    close(account)


@pytest.fixture(params=["spot", "swap"])
def binance(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    account = open_account("binance", swap=request.param == "swap")
    yield account
    close(account)
