"""A broker adapter with prices set by a test, and helpers that follow them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal as D

import pytest

from brokers.account_capabilities import Capabilities
from brokers.base import ReadFailed
from brokers.types import ConnectionSpec, Quote
from common.clocks import market_now
from common.reason_codes import Code
from prices import broker_stream, quote_intake
from prices.broker_stream import BrokerStream
from tests import until as conditions
from tests.execution.fake_broker import FakeBroker
from tests.simulated_loop import SimulatedLoop

SPEC = ConnectionSpec("c-1", "1", credentials={"password": "hunter22"})
EUR, GBP = "EUR/USD", "GBP/USD"
BROKER_SYMBOLS = {EUR: "EURUSD.x", GBP: "GBPUSD.x"}


class FakePriceBroker(FakeBroker):
    """A broker's adapter as a third party might write it. A test sets what it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.streams_prices = self.quotes = True
        self.hangs = False  # where its stream ends
        self.is_endless = False  # its stream goes on when it is cancelled
        self.looked: list[str] = []
        self.coming: asyncio.Queue[Quote | Exception] | None = None
        self.asked: list[list[str]] = []
        self.unknown: set[str] = set()
        self.refuses: ReadFailed | None = None  # any stream
        self.answers: dict[str, Quote | Exception] = {}
        self.dated: datetime | None = None  # of what it answers; None: now

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return replace(
            super().capabilities(spec), price_stream=self.streams_prices, quotes=self.quotes
        )

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        self.looked.append(symbol)
        answer = self.answers.get(symbol, ReadFailed(Code.NOT_CONNECTED, "hunter22 is away"))
        if isinstance(answer, Exception):
            raise answer
        return replace(answer, time=self.dated or max(answer.time, market_now()))

    async def stream_quotes(
        self, spec: ConnectionSpec, symbols: Sequence[str]
    ) -> AsyncIterator[Quote]:
        coming: asyncio.Queue[Quote | Exception] = asyncio.Queue()  # of this stream alone
        wrong = self.unknown & set(symbols)
        if not wrong:
            self.coming = coming  # before `asked` shows that it is there
        self.asked.append(list(symbols))
        if self.refuses is not None:
            raise self.refuses
        if wrong:
            raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, str(wrong))
        try:
            while True:
                try:
                    one = await coming.get()
                except asyncio.CancelledError:
                    if not self.is_endless:
                        raise
                    continue
                if isinstance(one, Exception):
                    raise one
                yield one
                coming.task_done()  # it was received
        finally:
            if self.hangs:
                await asyncio.Event().wait()


_simulated: list[SimulatedLoop] = []


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    """A loop on the test's own thread; its time passes only inside of `until`."""
    made = SimulatedLoop()
    _simulated.append(made)
    yield made
    _simulated.remove(made)
    all_ended = made.until(lambda: not made.unfinished(), 60)
    made.close()
    assert all_ended, "what a test begins to follow, it ends: else a later test is blamed"


@pytest.fixture
def threaded_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop on a thread of its own, in real time."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(60)
    left = asyncio.all_tasks(made)
    made.close()
    assert not left, "what a test begins to follow, it ends: else a later test is blamed"


@pytest.fixture
def price_broker() -> FakePriceBroker:
    return FakePriceBroker()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, loop: SimulatedLoop) -> None:
    """All patience is short, by the loop's own clock."""
    for module in (broker_stream, quote_intake):
        monkeypatch.setattr(module, "machine_time", loop.time)
    for name, seconds in (
        ("MIN_PAUSE", 0.02), ("MAX_PAUSE", 0.1), ("QUIET_SECONDS", 0.2),
        ("QUERY_EVERY", 0.02), ("RECHECK_SECONDS", 0.2), ("LANE_CHECK_SECONDS", 0.02),
    ):  # fmt: skip
        monkeypatch.setattr(broker_stream, name, seconds)


Follow = Callable[..., BrokerStream]


@pytest.fixture
def follow(price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop) -> Iterator[Follow]:
    made: list[BrokerStream] = []

    def begin(pairs: dict[str, str] = BROKER_SYMBOLS) -> BrokerStream:
        made.append(BrokerStream(price_broker, SPEC, "", pairs, loop))
        made[-1].expect([quote("1.1"), quote("1.3", GBP)])  # what was stored before
        return made[-1]

    yield begin
    for one in made:
        one.close()
        until(lambda one=one: one.is_over)  # type: ignore[misc]  # mypy knows no such default


def until(is_so: Callable[[], object]) -> None:
    """Wait for a condition: in the simulated time of the test's loop if it has one."""
    if _simulated:
        loop = _simulated[-1]
        conditions.until(lambda: loop.until(is_so, 30, every=0.005), seconds=0, seen=is_so)
        return
    conditions.until(is_so)


def quote(bid: str, pair: str = EUR, ask: str = "", at: datetime | None = None) -> Quote:
    return Quote(pair, D(bid), D(ask) if ask else D(bid) + D("0.0002"), at or market_now())


@contextmanager
def emitting(
    price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> Iterator[Callable[..., None]]:
    """Items go through the stream that is open now."""
    until(lambda: price_broker.coming is not None)

    def emit(*items: Quote | Exception) -> None:
        for one in items:
            assert price_broker.coming is not None
            loop.call_soon_threadsafe(price_broker.coming.put_nowait, one)

    yield emit


def wait_for_quotes(stream: BrokerStream, enough: Callable[[list[Quote]], bool]) -> list[Quote]:
    quotes: list[Quote] = []

    def more() -> bool:
        quotes.extend(stream.due(market_now()))
        return enough(quotes)

    until(more)
    return quotes
