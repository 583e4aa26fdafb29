"""One account's broker as a source: what it tells."""

import asyncio
from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.types import ConnectionSpec, Quote
from common.clocks import market_now
from common.reason_codes import Code
from prices import broker_clock, broker_stream
from prices.quote_buffer import MAX_QUOTES_PER_PAIR
from prices.quote_intake import QuoteIntake
from tests.prices.fake_price_broker import (
    EUR,
    GBP,
    WANTED,
    FakePriceBroker,
    Follow,
    emitting,
    follow,
    loop,
    paced,
    price_broker,
    quote,
    soon,
    until,
    wait_for_quotes,
)

__all__ = ["follow", "loop", "price_broker", "soon"]


def test_prices_come_in_order_and_are_of_when_they_came(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream, began = follow(), market_now()
    behind = market_now() - timedelta(minutes=10)  # the broker's clock
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10", at=behind), quote("1.11", at=behind), quote("1.30", GBP, at=behind))
    heard = wait_for_quotes(stream, lambda heard: len(heard) >= 3)
    assert [(q.symbol, q.bid) for q in heard[:3]] == [
        (EUR, D("1.10")), (EUR, D("1.11")), (GBP, D("1.30")),
    ]  # fmt: skip
    assert all(began <= q.time <= market_now() for q in heard)
    assert price_broker.asked[0] == ["EURUSD.x", "GBPUSD.x"]  # the broker's own symbols
    assert stream.status().code is None


@pytest.mark.parametrize(
    "rubbish",
    [quote("1.2", ask="1.1"), quote("0", ask="1"), quote("-1", ask="1"), quote("NaN", ask="1.2"),
     quote("1", ask="Infinity"), quote("1.1", "XXX/YYY"),
     quote("1.7976931348623157E+308"), quote("1E-20", ask="2E-20")],
    ids=["crossed", "zero", "negative", "nan", "infinite", "unknown", "endless", "nothing"],
)  # fmt: skip
def test_invalid_quote_is_ignored_and_affects_no_other(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop, rubbish: Quote
) -> None:
    stream = follow()
    with emitting(price_broker, loop) as tell:
        tell(rubbish, quote("1.30", GBP))
    heard = wait_for_quotes(stream, lambda heard: bool(heard))
    assert {q.symbol for q in heard} == {GBP}
    assert stream.status().code is Code.INVALID_QUOTE


def test_unread_quotes_are_bounded() -> None:
    """The database is away for hours, say."""
    heard = QuoteIntake(WANTED, {})
    for n in range(10 * MAX_QUOTES_PER_PAIR):
        assert heard.accept(quote(str(D(100 + n % 400)), EUR if n % 3 else GBP))
    came = heard.due()
    assert len(came) <= MAX_QUOTES_PER_PAIR * 3
    assert {q.bid for q in came} >= {D(100), D(499)}  # a level may lie there
    assert heard.due() == []


def test_what_the_broker_calls_old_is_no_price(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    """On a Sunday the last tick is Friday's."""
    stream = follow()
    friday = market_now() - timedelta(hours=40)
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10", at=friday), quote("1.30", GBP))
    assert {q.symbol for q in wait_for_quotes(stream, lambda heard: bool(heard))} == {GBP}


def test_source_with_only_old_prices_reports_market_closed(
    follow: Follow, price_broker: FakePriceBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prices.quote_intake.CONFIRMATION_SECONDS", 2.0)
    price_broker.dated = friday = market_now() - timedelta(hours=40)
    price_broker.answers = {symbol: quote("1.10", pair) for pair, symbol in WANTED.items()}
    stream = follow()
    until(lambda: stream.status().code is Code.MARKET_CLOSED)
    assert f"{friday:%d %B, %H:%M}" in stream.status().message


def test_a_clock_that_is_ahead_makes_no_old_price_new(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    ahead = timedelta(hours=3)
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10", at=market_now() + ahead))
        tell(quote("1.11", at=market_now() + ahead))  # it has moved: it is of now
        tell(quote("1.30", GBP, at=market_now() + ahead - timedelta(hours=1)))
        tell(quote("1.12", at=market_now() + ahead))
    heard = wait_for_quotes(stream, lambda heard: any(q.bid == D("1.12") for q in heard))
    assert {q.symbol for q in heard} == {EUR}


def test_a_clock_that_was_put_right_is_believed_again(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_clock, "VALID_SECONDS", 0.0)
    stream, hours = follow(), timedelta(hours=3)
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10", at=market_now() + hours), quote("1.11", at=market_now() + hours))
        tell(quote("1.12"))  # right again; it has moved, so it is of now
        tell(quote("1.30", GBP, at=market_now() + timedelta(seconds=1)), quote("1.13"))
    heard = wait_for_quotes(stream, lambda heard: any(q.bid == D("1.13") for q in heard))
    assert [q.bid for q in heard] == [D("1.10"), D("1.11"), D("1.12"), D("1.30"), D("1.13")]


def test_one_wrong_time_hides_no_other_price(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10"), quote("1.11", at=market_now() + timedelta(days=1)))
        tell(quote("1.30", GBP), quote("1.12"))
    heard = wait_for_quotes(stream, lambda heard: any(q.bid == D("1.12") for q in heard))
    assert {q.symbol for q in heard} == {EUR, GBP}


def test_a_price_that_stands_is_told_again_while_its_broker_answers(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    price_broker.answers = {"EURUSD.x": quote("1.10")}
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10"), quote("1.30", GBP))
    heard = wait_for_quotes(stream, lambda heard: len([q for q in heard if q.symbol == EUR]) >= 4)
    assert len([q for q in heard if q.symbol == GBP]) == 1  # nobody has proved that this stands
    assert len(price_broker.asked) == 1


def test_an_answer_takes_no_later_price_back(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was on its way when the price moved."""
    answer = price_broker.quote

    async def tell_first(spec: ConnectionSpec, symbol: str) -> Quote:
        answered = await answer(spec, symbol)
        if price_broker.coming is not None:
            price_broker.coming.put_nowait(quote("1.20"))
            await price_broker.coming.join()
        return answered

    stream = follow()
    price_broker.answers = {"EURUSD.x": quote("1.10")}
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10"))
        wait_for_quotes(stream, lambda heard: bool(heard))
        monkeypatch.setattr(price_broker, "quote", tell_first)
        heard = wait_for_quotes(stream, lambda heard: len(heard) >= 3)
    assert heard[-1].bid == D("1.20")
    assert [q.bid for q in heard].count(D("1.10")) <= 1  # was asked for before


def test_broker_without_quotes_is_not_polled(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    price_broker.quotes = False
    stream = follow()
    with emitting(price_broker, loop) as tell:
        tell(quote("1.10"))
        wait_for_quotes(stream, lambda heard: bool(heard))
        until(lambda: stream._quietest(paced()) is not None)
        tell(quote("1.11"))
        wait_for_quotes(stream, lambda heard: bool(heard))
    assert (len(price_broker.asked), price_broker.looked) == (1, [])


def test_what_the_open_stream_tells_again_is_not_taken_out_of_it(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All was still for a while; the market opens."""
    monkeypatch.setattr(broker_stream, "RECHECK_SECONDS", 1.0)
    still = ReadFailed(Code.QUOTE_STALE, "nothing moves")
    price_broker.answers = {"EURUSD.x": still, "GBPUSD.x": still}
    stream = follow()
    with emitting(price_broker, loop) as tell:
        until(lambda: len(stream._unpriced) == 2)
        price_broker.answers = {"EURUSD.x": quote("1.1"), "GBPUSD.x": quote("1.3", GBP)}
        tell(quote("1.30", GBP))
        heard = wait_for_quotes(
            stream, lambda heard: any(q.symbol == EUR for q in heard)
        )  # looked at
        assert {q.symbol for q in heard} == {EUR, GBP}
        until(lambda: not stream._unpriced)
        tell(quote("1.11"), quote("1.31", GBP))
        wait_for_quotes(stream, lambda heard: {q.bid for q in heard} >= {D("1.11"), D("1.31")})
    assert len(price_broker.asked) == 1


def test_broker_without_stream_is_polled(follow: Follow, price_broker: FakePriceBroker) -> None:
    price_broker.streams_prices = False
    price_broker.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": quote("1.30", GBP)}
    heard = wait_for_quotes(follow(), lambda heard: len(heard) > 6)
    assert {q.symbol for q in heard} == {EUR, GBP}
    assert price_broker.asked == []
