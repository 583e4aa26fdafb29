"""Paper: the broker in this process, and over TCP. Both use the test's database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from decimal import Decimal as D
from itertools import count
from typing import Any, TypeVar

from django.db import connection
from django.db.models import F

from brokers.base import BrokerAdapter
from brokers.paper.adapter import create
from brokers.paper.models import (
    PaperAccount,
    PaperEvent,
    PaperInstrument,
    PaperOrder,
    PaperPosition,
)
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Quote, Side
from common.clocks import market_now
from conformance.harness import Harness, HarnessFeature, InjectedFault, JournalEntry
from conformance.runner import OpenHarness
from conformance.scenario import allow
from tests.conformance.paper_host import Host
from tests.fakes.paper_server.adapter import RemotePaper
from tests.fakes.paper_server.operations import OPERATIONS

T = TypeVar("T")
Wrap = Callable[[BrokerAdapter], BrokerAdapter]
PASSWORD = "correct horse"
BID = D("1.10000")
NO_FAULTS = {
    "reject_code": "", "unreachable": False, "silent_before": False, "silent_after": False,
    "latency_ms": 0, "reply_delay_ms": 0, "partial_fill_max": None, "trading_allowed": True,
    "drops_levels": False,
}  # fmt: skip
TERMS: dict[InjectedFault, dict[str, Any]] = {
    InjectedFault.REFUSED: {"reject_code": "REQUOTE"},
    InjectedFault.LOST: {"silent_before": True},
    InjectedFault.NO_ANSWER: {"silent_after": True},
    InjectedFault.LATE: {"reply_delay_ms": 3_000},
    InjectedFault.CONNECTION_LOST: {"reply_delay_ms": 30_000},
    InjectedFault.DISABLED: {"trading_allowed": False},
    InjectedFault.DROPS_LEVELS: {"drops_levels": True},
}
KEEPS_NUMBERS = "the paper broker keeps the numbers of its positions"
NO_FLAG = "the paper broker keeps no trading flag of a symbol"
KEEPS_SYMBOLS = "the paper broker never delists a symbol"
IN_MONEY = "fees are charged in the account's currency"
NO_FREEZE = "the paper broker has no freeze level: orders are changed at any price"
NO_STEP = "the paper broker takes every exit that reduces, whatever its step"
NO_CODES = "the paper broker has no unlisted codes"
OUR_CLOCK = "the paper broker uses our market clock"
KEEPS_LEVELS = "the paper broker keeps each level that it has confirmed"
NO_LINE = "the broker is in this process: there is no connection to it"
NO_HOST = "a connection names no host of the paper broker"
NO_ENGINE = "an installation has the paper broker in its own process: the stage 'paper' tests that"
_numbers = count(1)


async def in_database(work: Callable[..., T], *arguments: Any, **words: Any) -> T:
    """Run `work` on a thread without an event loop, where it may use the database."""

    def run() -> T:
        try:
            return work(*arguments, **words)
        finally:
            connection.close()

    return await asyncio.to_thread(run)


class PaperStage(Harness):
    """An account with 100,000 USD. host: the server over TCP; None: the broker in this process."""

    name = "paper"
    symbol = "EURUSD"
    quantity = D(12_000)

    def __init__(self, mode: str, host: Host | None, wrap: Wrap) -> None:
        self.host, self.mode, self._wrap = host, mode, wrap
        self.account = f"conform-{next(_numbers)}"
        self.adapter = self._adapter()
        self.spec = self._spec(self.account, PASSWORD)
        self.unavailable = {InjectedFault.UNLISTED: NO_CODES, HarnessFeature.HOST: NO_HOST}
        self.unavailable |= {InjectedFault.DROPS_LATER: KEEPS_LEVELS}
        self.unavailable |= {InjectedFault.FROZEN: NO_FREEZE, InjectedFault.COARSER: NO_STEP}
        self.unavailable |= {InjectedFault.RENUMBERED: KEEPS_NUMBERS}
        self.unavailable |= {
            InjectedFault.HALT_ENDED: NO_FLAG, InjectedFault.DELISTED: KEEPS_SYMBOLS,
            InjectedFault.FEE_IN_COIN: IN_MONEY,
        }  # fmt: skip
        self.unavailable |= dict.fromkeys(
            (InjectedFault.CLOCK_AHEAD, InjectedFault.CLOCK_BEHIND), OUR_CLOCK
        )
        if host is not None:
            self.unavailable[HarnessFeature.ENGINE] = NO_ENGINE
        if host is None:
            remote_only = (
                InjectedFault.CONNECTION_LOST,
                InjectedFault.LATE,
                InjectedFault.HALF_REPLY,
                InjectedFault.READS,
                HarnessFeature.RESTART,
            )
            self.unavailable |= dict.fromkeys(remote_only, NO_LINE)
        self._ticking: asyncio.Task[None] | None = None
        self._cutting: asyncio.Task[None] | None = None
        self._factor = D(1)

    def _adapter(self) -> BrokerAdapter:
        if self.host is None:
            return self._wrap(create())
        return self._wrap(RemotePaper("127.0.0.1", self.host.port))

    def _spec(self, account: str, password: str) -> ConnectionSpec:
        wait = 0.1 if self.host is None else 2.5
        return ConnectionSpec(
            f"c-{account}",
            account,
            settings={"reply_timeout": wait, "position_mode": self.mode},
            credentials={"password": password},
        )

    async def open(self) -> None:
        await in_database(OPERATIONS["list_instruments"])
        terms = {"position_mode": self.mode}
        await in_database(OPERATIONS["open_accounts"], [self.account], D(100_000), PASSWORD, terms)
        far_end = (market_now() + timedelta(hours=12)).time()  # of orders for the day
        await self._instrument(quote_max_age_seconds=600, stops_level=D(0), day_ends=far_end)
        await self.move(D(1))

    async def close(self) -> None:
        await self.end()
        await self.adapter.disconnect()

    # ---- features ---------------------------------------------------------------------------
    async def quote(self) -> Quote:
        bid = (BID * self._factor).quantize(D("0.00001"))
        return Quote("EUR/USD", bid, bid + D("0.00002"), market_now())

    async def accepted(self, client_order_id: str) -> int:
        orders = PaperOrder.objects.filter(client_order_id=client_order_id)
        return await in_database(orders.exclude(status=PaperOrder.Status.REJECTED).count)

    async def journal(self) -> Sequence[JournalEntry]:
        accepted = PaperOrder.objects.filter(account__number=self.account).exclude(
            status=PaperOrder.Status.REJECTED
        )
        known: list[PaperOrder] = await in_database(
            list, accepted.exclude(client_order_id="").order_by("id")
        )
        return [
            JournalEntry(
                one.client_order_id, OrderType(one.order_type), Side(one.side), one.quantity
            )
            for one in known
        ]

    async def stops(self) -> Sequence[D]:
        held = PaperPosition.objects.filter(
            account__number=self.account, quantity__gt=0, stop_loss__isnull=False
        )
        return await in_database(list, held.values_list("stop_loss", flat=True))

    async def move(self, factor: D) -> None:
        self._factor = factor
        await in_database(OPERATIONS["on_quotes"], [await self.quote()])

    async def second_account(self) -> ConnectionSpec:
        other = f"{self.account}-second"
        await in_database(
            OPERATIONS["open_accounts"], [other], D(10_000), "", {"position_mode": self.mode}
        )
        return self._spec(other, "")

    async def with_mistake(self, mistake: HarnessFeature) -> ConnectionSpec:
        if mistake is HarnessFeature.ACCOUNT:
            return self._spec("conform-missing", PASSWORD)
        return self._spec(self.account, "wrong battery")

    async def new_process(self) -> None:
        await self.adapter.disconnect()
        self.adapter = self._adapter()

    async def restart(self) -> None:
        assert self.host is not None
        await self._go_down()
        await asyncio.to_thread(self.host.open)

    async def owner_closes(self, broker_position_id: str) -> None:
        await in_database(OPERATIONS["owner_closes"], self.account, broker_position_id)

    async def execute_again(self, request: OrderRequest) -> None:
        """The paper broker accepts an id any number of times."""
        await self.adapter.submit(self.spec, request, allow)

    async def half_reply(self) -> Sequence[str]:
        assert self.host is not None
        assert self.host.last_partial_answer
        return [self.host.last_partial_answer[4:].decode()[:300]]

    # ---- faults -----------------------------------------------------------------------------
    async def begin(self, fault: InjectedFault) -> None:
        if fault in TERMS:
            await self._terms(**TERMS[fault])
        match fault:
            case InjectedFault.CONNECTION_LOST:
                self._cutting = asyncio.create_task(self._cut_soon(await self._taken()))
            case InjectedFault.HALF_REPLY | InjectedFault.READS:
                await self._host_fault("half_answers", 1)
            case InjectedFault.THREE_FILLS:
                await self._terms(partial_fill_max=self.quantity / 3)
                self._ticking = asyncio.create_task(self._tick())
            case InjectedFault.PARTIAL:
                await self._terms(partial_fill_max=self.quantity / 2)
            case InjectedFault.OVERTAKEN:
                await self.move(1 - self.far_fraction * 2)
            case InjectedFault.REPLAY:
                events = PaperEvent.objects.filter(account__number=self.account)
                await in_database(events.update, acknowledged_at=None)
            case InjectedFault.CLOSED:
                await self._instrument(quote_max_age_seconds=0)
            case InjectedFault.NO_MONEY:
                await self._terms(balance=F("balance") - 99_990)
            case InjectedFault.STOPS_NEAR:
                await self._instrument(stops_level=D("0.001"))
            case InjectedFault.DOWN if self.host is None:
                await self._terms(unreachable=True)
            case InjectedFault.DOWN:
                await self._go_down()
            case _:
                assert fault in TERMS, fault

    async def end(self) -> None:
        for task in (self._ticking, self._cutting):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._ticking = self._cutting = None
        if self.host is not None:
            await asyncio.to_thread(self.host.open)
            await self._host_fault("half_answers", 0)
        await self._terms(**NO_FAULTS)
        await self._instrument(quote_max_age_seconds=600, stops_level=D(0))

    async def _terms(self, **terms: Any) -> None:
        await in_database(PaperAccount.objects.filter(number=self.account).update, **terms)

    async def _instrument(self, **fields: Any) -> None:
        await in_database(PaperInstrument.objects.filter(symbol=self.symbol).update, **fields)

    async def _host_fault(self, name: str, *numbers: Any) -> None:
        assert self.host is not None
        await asyncio.to_thread(self.host.fault, name, *numbers)

    async def _go_down(self) -> None:
        assert self.host is not None
        await asyncio.to_thread(self.host.close)

    async def _taken(self) -> int:
        return await in_database(PaperOrder.objects.filter(account__number=self.account).count)

    async def _cut_soon(self, before: int) -> None:
        """Reset the connection as soon as one more order is in the books."""
        while await self._taken() == before:  # noqa: ASYNC110 (the books are the broker's)
            await asyncio.sleep(0.005)
        await self._host_fault("reset")

    async def _tick(self) -> None:
        while True:
            await self.move(self._factor)
            await asyncio.sleep(0.01)


def opening(
    mode: str = "HEDGING", *, by_tcp: bool = False, wrap: Wrap = lambda adapter: adapter
) -> OpenHarness:
    """Return the function that opens a stage. wrap: replaces its adapter."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        host = await asyncio.to_thread(Host) if by_tcp else None
        stage = PaperStage(mode, host, wrap)
        await stage.open()
        try:
            yield stage
        finally:
            await stage.close()
            if host is not None:
                await asyncio.to_thread(host.stop)

    return opened


STAGES = {
    "paper": opening(),
    "paper by TCP": opening(by_tcp=True),
    "paper netting": opening("NETTING"),
}
