"""One account's broker as a source: what it tells, and all the ways in which it fails to."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.messages import Capabilities, ConnectionSpec, Quote
from common.clocks import machine_time, market_now
from common.codes import Code
from connections import lanes
from prices import clock, following
from prices.buffer import MOST_OF_A_PAIR, squeezed
from prices.following import BrokerStream
from prices.wanted import MOST, chosen, with_rates
from tests.execution.double import Double

SPEC = ConnectionSpec("c-1", "1", credentials={"password": "hunter22"})
EUR, GBP = "EUR/USD", "GBP/USD"
WANTED = {EUR: "EURUSD.x", GBP: "GBPUSD.x"}


class Teller(Double):
    """A broker's adapter as a third party might write it. A test says what it tells."""

    def __init__(self) -> None:
        super().__init__()
        self.streams_prices = self.quotes = True
        self.hangs = False  # where its stream ends
        self.looked: list[str] = []
        self.coming: asyncio.Queue[Quote | Exception] | None = None
        self.asked: list[list[str]] = []
        self.unknown: set[str] = set()
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
        self.asked.append(list(symbols))
        if wrong := self.unknown & set(symbols):
            raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, str(wrong))
        self.coming = asyncio.Queue()
        try:
            while True:
                one = await self.coming.get()
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            if self.hangs:
                await asyncio.Event().wait()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(10)
    made.close()


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """All patience is short."""
    for name, seconds in (
        ("FIRST_PAUSE", 0.02), ("LONGEST_PAUSE", 0.1), ("QUIET_SECONDS", 0.2),
        ("LOOKS_EVERY", 0.02), ("UNTIL_LOOKED_AGAIN", 0.2), ("LANE_SECONDS", 0.02),
    ):  # fmt: skip
        monkeypatch.setattr(following, name, seconds)


Follow = Callable[..., BrokerStream]


@pytest.fixture
def follow(teller: Teller, loop: asyncio.AbstractEventLoop) -> Iterator[Follow]:
    made: list[BrokerStream] = []

    def begin(wanted: dict[str, str] = WANTED) -> BrokerStream:
        made.append(BrokerStream(teller, SPEC, "", wanted, loop))
        return made[-1]

    yield begin
    for one in made:
        one.close()
        until(lambda one=one: one.is_over)  # type: ignore[misc]  # mypy knows no such default


def until(is_so: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def quote(bid: str, pair: str = EUR, ask: str = "", at: datetime | None = None) -> Quote:
    return Quote(pair, D(bid), D(ask) if ask else D(bid) + D("0.0002"), at or market_now())


@contextmanager
def telling(teller: Teller, loop: asyncio.AbstractEventLoop) -> Iterator[Callable[..., None]]:
    """What is said goes through the stream that is open now."""
    until(lambda: teller.coming is not None)

    def tell(*said: Quote | Exception) -> None:
        for one in said:
            assert teller.coming is not None
            loop.call_soon_threadsafe(teller.coming.put_nowait, one)

    yield tell


def hear(stream: BrokerStream, enough: Callable[[list[Quote]], bool]) -> list[Quote]:
    heard: list[Quote] = []

    def more() -> bool:
        heard.extend(stream.due(market_now()))
        return enough(heard)

    until(more)
    return heard


def test_prices_come_in_order_and_are_of_when_they_came(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream, began = follow(), market_now()
    behind = market_now() - timedelta(minutes=10)  # the broker's clock
    with telling(teller, loop) as tell:
        tell(quote("1.10", at=behind), quote("1.11", at=behind), quote("1.30", GBP, at=behind))
    heard = hear(stream, lambda heard: len(heard) >= 3)
    assert [(q.symbol, q.bid) for q in heard[:3]] == [
        (EUR, D("1.10")), (EUR, D("1.11")), (GBP, D("1.30")),
    ]  # fmt: skip
    assert all(began <= q.time <= market_now() for q in heard)
    assert teller.asked[0] == ["EURUSD.x", "GBPUSD.x"]  # the broker's own symbols
    assert stream.fares().code is None


@pytest.mark.parametrize(
    "rubbish",
    [quote("1.2", ask="1.1"), quote("0", ask="1"), quote("-1", ask="1"), quote("NaN", ask="1.2"),
     quote("1", ask="Infinity"), quote("1.1", "XXX/YYY"),
     quote("1.7976931348623157E+308"), quote("1E-20", ask="2E-20")],
    ids=["crossed", "zero", "negative", "nan", "infinite", "unknown", "endless", "nothing"],
)  # fmt: skip
def test_nonsense_is_no_price_and_harms_no_other(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop, rubbish: Quote
) -> None:
    stream = follow()
    with telling(teller, loop) as tell:
        tell(rubbish, quote("1.30", GBP))
    heard = hear(stream, lambda heard: bool(heard))
    assert {q.symbol for q in heard} == {GBP}
    assert stream.fares().code is Code.PRICE_NONSENSE


def test_what_the_broker_calls_old_is_no_price(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    """On a Sunday the last tick is Friday's."""
    stream = follow()
    friday = market_now() - timedelta(hours=40)
    with telling(teller, loop) as tell:
        tell(quote("1.10", at=friday), quote("1.30", GBP))
    assert {q.symbol for q in hear(stream, lambda heard: bool(heard))} == {GBP}


def test_a_source_whose_prices_are_all_old_says_so(
    follow: Follow, teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "DEAD_SECONDS", 2.0)
    teller.dated = friday = market_now() - timedelta(hours=40)
    teller.answers = {symbol: quote("1.10", pair) for pair, symbol in WANTED.items()}
    stream = follow()
    until(lambda: stream.fares().code is Code.MARKET_CLOSED)
    assert f"{friday:%d %B, %H:%M}" in stream.fares().words


def test_a_clock_that_is_ahead_makes_no_old_price_new(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    ahead = timedelta(hours=3)
    with telling(teller, loop) as tell:
        tell(quote("1.10", at=market_now() + ahead))
        tell(quote("1.11", at=market_now() + ahead))  # it has moved: it is of now
        tell(quote("1.30", GBP, at=market_now() + ahead - timedelta(hours=1)))
        tell(quote("1.12", at=market_now() + ahead))
    heard = hear(stream, lambda heard: any(q.bid == D("1.12") for q in heard))
    assert {q.symbol for q in heard} == {EUR}


def test_a_clock_that_was_put_right_is_believed_again(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "STANDS_SECONDS", 0.0)
    stream, hours = follow(), timedelta(hours=3)
    with telling(teller, loop) as tell:
        tell(quote("1.10", at=market_now() + hours), quote("1.11", at=market_now() + hours))
        tell(quote("1.12"))  # right again; it has moved, so it is of now
        tell(quote("1.30", GBP, at=market_now() + timedelta(seconds=1)), quote("1.13"))
    heard = hear(stream, lambda heard: any(q.bid == D("1.13") for q in heard))
    assert [q.bid for q in heard] == [D("1.10"), D("1.11"), D("1.12"), D("1.30"), D("1.13")]


def test_one_wrong_time_hides_no_other_price(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with telling(teller, loop) as tell:
        tell(quote("1.10"), quote("1.11", at=market_now() + timedelta(days=1)))
        tell(quote("1.30", GBP), quote("1.12"))
    heard = hear(stream, lambda heard: any(q.bid == D("1.12") for q in heard))
    assert {q.symbol for q in heard} == {EUR, GBP}


def test_a_price_that_stands_is_told_again_while_its_broker_answers(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    teller.answers = {"EURUSD.x": quote("1.10")}
    with telling(teller, loop) as tell:
        tell(quote("1.10"), quote("1.30", GBP))
    heard = hear(stream, lambda heard: len([q for q in heard if q.symbol == EUR]) >= 4)
    assert len([q for q in heard if q.symbol == GBP]) == 1  # nobody has proved that this stands
    assert len(teller.asked) == 1


def test_a_stream_that_hangs_while_prices_move_is_begun_anew(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with telling(teller, loop) as tell:
        tell(quote("1.10"), quote("1.30", GBP))
    hear(stream, lambda heard: len(heard) >= 2)
    teller.answers = {"EURUSD.x": quote("1.20")}
    until(lambda: len(teller.asked) >= 2)
    assert hear(stream, lambda heard: bool(heard))[0].bid == D("1.20")


def test_a_stream_that_breaks_is_begun_again_and_what_was_wrong_is_told(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with telling(teller, loop) as tell:
        tell(ReadFailed(Code.BROKER_UNREACHABLE, "with hunter22 the line broke"))
    until(lambda: len(teller.asked) >= 2)
    fares = stream.fares()
    assert fares.code in (Code.BROKER_UNREACHABLE, Code.NOT_CONNECTED)
    assert "hunter22" not in fares.words
    with telling(teller, loop) as tell:
        tell(quote("1.10"))
    hear(stream, lambda heard: bool(heard))
    assert stream.fares().code is None


def test_an_adapters_own_fault_ends_nothing(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with telling(teller, loop) as tell:
        tell(ZeroDivisionError("a bug"))
    until(lambda: len(teller.asked) >= 2)
    with telling(teller, loop) as tell:
        tell(quote("1.10"))
    hear(stream, lambda heard: bool(heard))


def test_a_symbol_without_prices_keeps_none_of_the_others(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    teller.unknown = {"GBPUSD.x"}
    teller.answers = {
        "EURUSD.x": quote("1.10"), "GBPUSD.x": ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, "no"),
    }  # fmt: skip
    stream = follow()
    until(lambda: ["EURUSD.x"] in teller.asked)
    assert {q.symbol for q in hear(stream, lambda heard: len(heard) > 3)} == {EUR}
    teller.unknown, teller.answers["GBPUSD.x"] = set(), quote("1.30", GBP)  # it is listed now
    hear(stream, lambda heard: any(q.symbol == GBP for q in heard))
    until(lambda: teller.asked[-1] == ["EURUSD.x", "GBPUSD.x"])


def test_where_a_stream_refuses_what_is_quoted_all_are_asked_for_meanwhile(
    follow: Follow, teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "UNTIL_LOOKED_AGAIN", 3.0)
    teller.unknown = {"GBPUSD.x"}
    teller.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": quote("1.30", GBP)}
    stream = follow()
    heard = hear(stream, lambda heard: len([q for q in heard if q.symbol == EUR]) >= 5)
    assert {q.symbol for q in heard} == {EUR, GBP}
    assert len(teller.asked) == 1  # its stream is tried again later
    teller.unknown = set()
    until(lambda: len(teller.asked) == 2 and teller.coming is not None)


def test_an_adapters_own_fault_at_one_symbol_ends_no_stream(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    teller.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": KeyError("GBPUSD.x")}
    stream = follow()
    with telling(teller, loop) as tell:
        until(lambda: teller.looked.count("GBPUSD.x") >= 3)
        tell(quote("1.30", GBP))  # which its stream may tell all the same
    hear(stream, lambda heard: any(q.symbol == GBP for q in heard))
    assert len(teller.asked) == 1


def test_who_quotes_nothing_is_not_asked(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    teller.quotes = False
    stream = follow()
    with telling(teller, loop) as tell:
        tell(quote("1.10"))
        hear(stream, lambda heard: bool(heard))
        until(lambda: stream._quiet(machine_time()) is not None)
        tell(quote("1.11"))
        hear(stream, lambda heard: bool(heard))
    assert (len(teller.asked), teller.looked) == (1, [])


def test_a_stream_that_cleans_up_for_ever_ends_nothing(
    follow: Follow,
    teller: Teller,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "LEAVE_SECONDS", 0.1)
    teller.hangs = True
    stream = follow()
    with telling(teller, loop) as tell:
        tell(quote("1.10"), quote("1.30", GBP))
    hear(stream, lambda heard: len(heard) >= 2)
    teller.answers = {"EURUSD.x": quote("1.20")}  # its stream did not tell: it is begun anew
    until(lambda: len(teller.asked) >= 2)


def test_what_the_open_stream_tells_again_is_not_taken_out_of_it(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All was still for a while; the market opens."""
    monkeypatch.setattr(following, "UNTIL_LOOKED_AGAIN", 1.0)
    still = ReadFailed(Code.QUOTE_STALE, "nothing moves")
    teller.answers = {"EURUSD.x": still, "GBPUSD.x": still}
    stream = follow()
    with telling(teller, loop) as tell:
        until(lambda: len(stream._aside) == 2)
        teller.answers = {"EURUSD.x": quote("1.1"), "GBPUSD.x": quote("1.3", GBP)}
        tell(quote("1.30", GBP))
        heard = hear(stream, lambda heard: any(q.symbol == EUR for q in heard))  # looked at
        assert {q.symbol for q in heard} == {EUR, GBP}
        until(lambda: not stream._aside)
        tell(quote("1.11"), quote("1.31", GBP))
        hear(stream, lambda heard: {q.bid for q in heard} >= {D("1.11"), D("1.31")})
    assert len(teller.asked) == 1


def test_a_kind_that_streams_nothing_is_asked(follow: Follow, teller: Teller) -> None:
    teller.streams_prices = False
    teller.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": quote("1.30", GBP)}
    heard = hear(follow(), lambda heard: len(heard) > 6)
    assert {q.symbol for q in heard} == {EUR, GBP}
    assert teller.asked == []


def test_nobody_is_spoken_to_once_the_lane_is_lost(
    teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    ours = ["sessions.3"]
    lanes.use(lambda: tuple(ours))
    try:
        stream = BrokerStream(teller, SPEC, "sessions.3", WANTED, loop)
        until(lambda: teller.asked)
        assert not stream.is_over
        ours.clear()
        until(lambda: stream.is_over)
    finally:
        lanes.use()


def test_of_many_prices_the_extremes_and_the_last_are_kept() -> None:
    bids = [D(100 + n % 7) for n in range(500)]
    bids[100], bids[300] = D(1), D(999)
    many = [Quote(EUR, bid, bid + 1, market_now()) for bid in bids]
    kept = squeezed([*many, quote("1.30", GBP)])
    assert len(kept) < MOST_OF_A_PAIR
    assert [q.bid for q in kept] == [D(1), D(999), bids[-1], D("1.30")]
    assert squeezed(many[:10]) == many[:10]


def test_what_is_needed_is_followed_with_what_its_money_is_converted_by() -> None:
    book = {pair: pair.replace("/", "") for pair in (EUR, GBP, "USD/JPY", "EUR/JPY", "EUR/CHF")}
    assert list(chosen(book, with_rates(["EUR/JPY", "XXX/YYY"], ["GBP"]))) == [
        "EUR/JPY", "USD/JPY", GBP,
    ]  # fmt: skip
    many = {f"C{n}/USDT": f"C{n}USDT" for n in range(300)}
    assert list(chosen(many, with_rates(list(many), ["USDT"]))) == list(many)[:MOST]
