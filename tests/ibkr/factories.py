"""One account at a fake TWS, and our adapter with ib_async's real client."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

from brokers.ibkr.adapter import IbkrAdapter
from brokers.ibkr.session import Session
from brokers.ibkr.timing import Timing
from brokers.rate_limits import Priority, RateLimiter
from brokers.types import (
    ConnectionSpec,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from tests.fakes.tws.faults import Fault
from tests.fakes.tws.server import FakeTws
from tests.fakes.tws.venue import Venue
from tests.steady_loop import run as run_steadily
from tests.until import until_async

MAX_SECONDS = 240.0  # for one test
WAIT_SECONDS = 90.0  # for one condition
ACCOUNT, CONNECTION = "DU1234567", "c1"
SYMBOLS: Mapping[str, Any] = {
    "EURUSD": {"secType": "CASH", "exchange": "IDEALPRO"},
    "AAPL": {"secType": "STK", "exchange": "SMART", "currency": "USD"},
    "ES 202612": {"secType": "FUT"},
    "IBUS500": {"secType": "CFD"},
    "AAPL CFD": {"symbol": "AAPL", "secType": "CFD"},
    "VOD": {"secType": "STK", "exchange": "LSE", "currency": "GBP"},
    "SIE": {"secType": "STK", "exchange": "IBIS", "currency": "EUR"},
}
QUICK = Timing(
    connect=2.0, read=1.0, reply=1.0, price=0.5, first_delay=0.02, longest_delay=0.1,
    client_id_delay=0.1, min_retry_delay=0.01, ping=0.05, resync=30.0, settle=0.0,
)  # fmt: skip


class UnlimitedRate:
    """A rate limiter that admits everything at once."""

    async def acquire(
        self,
        tokens: float = 1,
        *,
        priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None: ...

    def back_off(self, seconds: float) -> None: ...


def adapter(rate_limiter: RateLimiter | None = None, timing: Timing = QUICK) -> IbkrAdapter:
    """Return an adapter with an empty cache."""
    limiter = rate_limiter or UnlimitedRate()
    return IbkrAdapter(timing, rate_limiter_for=lambda name, rate: limiter)


T = TypeVar("T")
Test = Callable[["Environment"], Awaitable[None]]


def spec_at(port: int, client_id: int = 7, **more: Any) -> ConnectionSpec:
    """Return the spec of a connection to a gateway on this machine. more: other settings."""
    settings = {
        "host": "127.0.0.1", "port": port, "client_id": client_id, "symbols": SYMBOLS,
        "timezone": "UTC", **more,
    }  # fmt: skip
    return ConnectionSpec(CONNECTION, ACCOUNT, settings=settings)


class Environment:
    """A fake TWS, its venue and our adapter. The venue survives `crash`."""

    def __init__(self) -> None:
        self.venue = Venue()
        self.tws = FakeTws(self.venue)
        self.adapter = adapter()
        self.client_id = 7
        self.settings: dict[str, Any] = {}  # of the connection, besides those that it has always
        self.reports: list[OrderReport] = []

    @property
    def spec(self) -> ConnectionSpec:
        return spec_at(self.tws.port, self.client_id, **self.settings)

    @property
    def session(self) -> Session:
        return self.adapter._state().sessions[CONNECTION]

    async def submit(self, request: OrderRequest) -> list[OrderReport]:
        return await self.adapter.submit(self.spec, request, lambda _: None)

    async def find(self, client_order_id: str) -> list[OrderReport] | None:
        """Look an order up as soon as the session is usable."""
        await self.wait_until(lambda: self.session.usable)
        return await self.adapter.find_order(self.spec, client_order_id)

    async def drain_events(self) -> list[OrderReport]:
        """Take new reports as the event drain does; return all so far."""
        new = await self.adapter.events(500)
        await self.adapter.acknowledge([report.event_id for report in new])
        self.reports += new
        return self.reports

    async def wait_for_reports(
        self, kind: ReportKind, count: int = 1, of: Callable[[OrderReport], bool] = lambda _: True
    ) -> list[OrderReport]:
        """Wait for `n` reports of a kind and return them."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                found = [r for r in await self.drain_events() if r.kind is kind and of(r)]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.002)

    async def crash(self) -> None:
        """Replace the adapter, as if our process had been killed and started again."""
        old, self.adapter = self.adapter, adapter()
        await old.disconnect()
        await self.wait_until(lambda: not self.tws.sessions)
        self.reports = []

    async def wait_until(self, condition: Callable[[], object]) -> None:
        await until_async(condition)

    def start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a call beside the test."""
        return asyncio.get_running_loop().create_task(call)

    def fault(self, kind: str, number: int = 0, text: str = "", seconds: float = 0.0) -> None:
        """Inject a fault into the next order."""
        self.tws.faults.append(Fault(kind, number, text, seconds))


def with_environment(test: Test) -> Callable[[], None]:
    """Run a test with its own environment and event loop. Adapter and fake share the loop, whose
    clock stands while a busy machine lets neither of them run."""

    @functools.wraps(test)
    def run() -> None:
        run_steadily(_run(test))

    del run.__wrapped__  # else pytest takes `stage` for a fixture
    return run


async def _run(test: Test) -> None:
    stage = Environment()
    await stage.tws.open()
    stage.venue.quote("EURUSD", "1.1000", "1.1002")
    try:
        async with asyncio.timeout(MAX_SECONDS):
            await test(stage)
    finally:
        await stage.adapter.disconnect()
        await stage.tws.close()


def order(client_order_id: str = "abc00000000000001", **changed: Any) -> OrderRequest:
    """Return a market order to buy 20,000 euros."""
    request = OrderRequest(
        client_order_id=client_order_id,
        connection_id=CONNECTION,
        account=ACCOUNT,
        symbol="EURUSD",
        side=Side.BUY,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        quantity=Decimal(20000),
        oca_group=client_order_id[:-1],
    )
    return replace(request, **changed)


def limit(client_order_id: str = "abc00000000000001", price: str = "1.0900") -> OrderRequest:
    """Return a limit order that does not fill at once."""
    return order(client_order_id, order_type=OrderType.LIMIT, limit_price=Decimal(price))


def protected(client_order_id: str = "abc00000000000001") -> OrderRequest:
    """Return a market order with stop-loss and take-profit."""
    return order(client_order_id, stop_loss=Decimal("1.0900"), take_profit=Decimal("1.1200"))


def exit_of(
    entry: str = "abc00000000000001", client_order_id: str = "abc00000000000091",
    quantity: int = 20000,
) -> OrderRequest:  # fmt: skip
    """Return a market order that closes part of an entry's position, in its levels' group."""
    return order(
        client_order_id, side=Side.SELL, quantity=Decimal(quantity), closes=entry,
        reduce_only=True, oca_group=entry[:-1],
    )  # fmt: skip
