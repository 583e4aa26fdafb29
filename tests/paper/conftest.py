"""A paper broker with a fixed market time, and a trader on it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import count
from typing import Any, TypeVar

import pytest

from brokers.base import BrokerAdapter
from brokers.paper import exchange
from brokers.paper.adapter import create
from brokers.paper.db_sessions import sessions
from brokers.paper.models import PaperAccount, PaperInstrument, PaperOrder
from brokers.types import (
    AccountState,
    BrokerPosition,
    CancelRequest,
    ConnectionSpec,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    Quote,
    Side,
    TimeInForce,
    WhatIf,
)
from common.clocks import MarketClock, set_market_clock
from tests.fakes.paper_server.adapter import RemotePaper
from tests.fakes.paper_server.operations import ExchangeClient
from tests.fakes.paper_server.server import Server
from tests.sampling import exhaustive

T = TypeVar("T")
NOON = datetime(2014, 5, 2, 12, tzinfo=UTC)


def fixed_clock(at: datetime) -> MarketClock:
    """Return a market clock that does not move."""
    return MarketClock(at, datetime.now(UTC), 0)


class Trader:
    """Places orders on paper accounts and reads their results. Starts at EUR/USD 1.10000."""

    def __init__(self, adapter: BrokerAdapter) -> None:
        self.adapter = adapter
        self.now = NOON
        self.guard = lambda _: None
        self._ids = count(1)
        self.wait_until(NOON)
        exchange.list_instruments()
        self.price("1.10000")

    @property
    def short_timeout(self) -> dict[str, Any]:
        """Settings with a short reply time-out. In process it starts when the broker is done; over
        TCP an answer must arrive within it, on a busy machine too."""
        return {"settings": {"reply_timeout": 3 if isinstance(self.adapter, RemotePaper) else 0.05}}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)

    def wait_until(self, moment: datetime) -> None:
        """Set the market time."""
        self.now = moment
        set_market_clock(fixed_clock(moment))

    def price(self, bid: str, ask: str = "", symbol: str = "EUR/USD", after: float = 1) -> int:
        """Send a quote a second later; the default ask is 2 points above the bid."""
        self.wait_until(self.now + timedelta(seconds=after))
        ask_price = D(ask) if ask else D(bid) + D("0.00002")
        return exchange.on_quotes([Quote(symbol, D(bid), ask_price, self.now)])

    def account(self, number: str = "A1", **terms: Any) -> str:
        exchange.open_account(number, **{"balance": D(10_000), **terms})
        return number

    def set(self, number: str = "A1", **fields: Any) -> None:
        assert PaperAccount.objects.filter(number=number).update(**fields) == 1

    def set_instrument(self, symbol: str, **fields: Any) -> None:
        assert PaperInstrument.objects.filter(symbol=symbol).update(**fields) == 1

    def spec(self, number: str = "A1", **kwargs: Any) -> ConnectionSpec:
        return ConnectionSpec(connection_id=f"c-{number}", account=number, **kwargs)

    def request(self, side: Side, quantity: str, number: str = "A1", **kwargs: Any) -> OrderRequest:
        """Return a market order, or one of the type whose prices are given."""
        order_type = OrderType.MARKET
        if "limit_price" in kwargs:
            order_type = OrderType.LIMIT
        if "stop_price" in kwargs:
            order_type = OrderType.STOP_LIMIT if "limit_price" in kwargs else OrderType.STOP
        for name in ("limit_price", "stop_price", "stop_loss", "take_profit"):
            if kwargs.get(name) is not None:
                kwargs[name] = D(kwargs[name])
        defaults: dict[str, Any] = {
            "client_order_id": f"id{next(self._ids)}",
            "connection_id": f"c-{number}",
            "account": number,
            "symbol": "EURUSD",
            "side": side,
            "order_type": order_type,
            "time_in_force": TimeInForce.GTC,
            "quantity": D(quantity),
        }
        return OrderRequest(**{**defaults, **kwargs})

    def submit(self, request: OrderRequest, **spec: Any) -> list[OrderReport]:
        connection_spec = self.spec(request.account, **spec)
        return self.run(self.adapter.submit(connection_spec, request, self.guard))

    def buy(self, quantity: str, number: str = "A1", **kwargs: Any) -> list[OrderReport]:
        return self.submit(self.request(Side.BUY, quantity, number, **kwargs))

    def sell(self, quantity: str, number: str = "A1", **kwargs: Any) -> list[OrderReport]:
        return self.submit(self.request(Side.SELL, quantity, number, **kwargs))

    def close(self, position: str, quantity: str, side: Side, **kwargs: Any) -> list[OrderReport]:
        """Close a position by its id."""
        return self.submit(
            self.request(
                side, quantity, reduce_only=True, broker_position_id=position,
                time_in_force=TimeInForce.IOC, **kwargs,
            )
        )  # fmt: skip

    def cancel(
        self, report: OrderReport, number: str = "A1", send_by: float | None = None
    ) -> list[OrderReport]:
        request = CancelRequest(report.client_order_id, report.broker_order_id, "EURUSD", send_by)
        return self.run(self.adapter.cancel(self.spec(number), request))

    def modify(
        self,
        report: OrderReport,
        stop: str | None,
        target: str | None,
        send_by: float | None = None,
    ) -> list[OrderReport]:
        request = ModifyRequest(
            report.client_order_id, report.broker_position_id, "EURUSD",
            D(stop) if stop else None, D(target) if target else None, send_by=send_by,
        )  # fmt: skip
        return self.run(self.adapter.modify(self.spec("A1"), request))

    def find(self, client_order_id: str, number: str = "A1") -> list[OrderReport] | None:
        return self.run(self.adapter.find_order(self.spec(number), client_order_id))

    def positions(self, number: str = "A1") -> list[BrokerPosition]:
        return self.run(self.adapter.positions(self.spec(number)))

    def state(self, number: str = "A1") -> AccountState:
        return self.run(self.adapter.account(self.spec(number)))

    def new_events(self) -> list[OrderReport]:
        """Return the broker's new events and acknowledge them."""
        reports = self.run(self.adapter.events(1000))
        self.run(self.adapter.acknowledge([report.event_id for report in reports]))
        return reports

    def quote(self, symbol: str = "EURUSD", number: str = "A1", **spec: Any) -> Quote:
        return self.run(self.adapter.quote(self.spec(number, **spec), symbol))

    def what_if(self, request: OrderRequest) -> WhatIf:
        return self.run(self.adapter.what_if(self.spec(request.account), request))

    def journal(self) -> list[PaperOrder]:
        return list(PaperOrder.objects.order_by("id"))


IN_PROCESS, REMOTE = "in process", "remote"
# For what only the broker in this process does (its second deadline check), or what is slow.
IN_PROCESS_ONLY = pytest.mark.parametrize("trader", [IN_PROCESS], indirect=True)


@pytest.fixture(params=[IN_PROCESS, exhaustive(REMOTE)])
def trader(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Trader]:
    """A trader with a hedging account A1 of 10,000 USD at 1:30, in process or over TCP."""
    with ExitStack() as stack:
        adapter: BrokerAdapter = create()
        if request.param == REMOTE:
            address = "127.0.0.1", stack.enter_context(serving()).port
            adapter = RemotePaper(*address)
            exchange.use(ExchangeClient(*address))
            stack.callback(exchange.use, None)
        trader = Trader(adapter)
        trader.account()
        yield trader
        set_market_clock(None)
        sessions.close()


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    """Run a server in a thread of this process: real sockets, the test's database and clock."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = Server(**options)
    asyncio.run_coroutine_threadsafe(server.open("127.0.0.1", 0), loop).result(60)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(0.1), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
