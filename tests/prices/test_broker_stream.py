"""One account's broker as a price source."""

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
    BROKER_SYMBOLS,
    EUR,
    GBP,
    FakePriceBroker,
    Follow,
    emitting,
    follow,
    loop,
    price_broker,
    quote,
    soon,
    until,
    wait_for_quotes,
)

__all__ = ["follow", "loop", "price_broker", "soon"]


def test_prices_arrive_in_order_with_arrival_time(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream, began = follow(), market_now()
    behind = market_now() - timedelta(minutes=10)  # the broker's clock
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10", at=behind), quote("1.11", at=behind), quote("1.30", GBP, at=behind))
    quotes = wait_for_quotes(stream, lambda quotes: len(quotes) >= 3)
    assert [(q.symbol, q.bid) for q in quotes[:3]] == [
        (EUR, D("1.10")), (EUR, D("1.11")), (GBP, D("1.30")),
    ]  # fmt: skip
    assert all(began <= q.time <= market_now() for q in quotes)
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
    with emitting(price_broker, loop) as emit:
        emit(rubbish, quote("1.30", GBP))
    quotes = wait_for_quotes(stream, lambda quotes: bool(quotes))
    assert {q.symbol for q in quotes} == {GBP}
    assert stream.status().code is Code.INVALID_QUOTE


def test_unread_quotes_are_bounded() -> None:
    """The database is away for hours, say."""
    quotes = QuoteIntake(BROKER_SYMBOLS, {})
    for n in range(10 * MAX_QUOTES_PER_PAIR):
        assert quotes.accept(quote(str(D(100 + n % 400)), EUR if n % 3 else GBP))
    came = quotes.take_accepted()
    assert len(came) <= MAX_QUOTES_PER_PAIR * 3
    assert {q.bid for q in came} >= {D(100), D(499)}  # a level may lie there
    assert quotes.take_accepted() == []


def test_price_marked_old_by_broker_is_ignored(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    """On a Sunday the last tick is Friday's."""
    stream = follow()
    friday = market_now() - timedelta(hours=40)
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10", at=friday), quote("1.30", GBP))
    assert {q.symbol for q in wait_for_quotes(stream, lambda quotes: bool(quotes))} == {GBP}


def test_source_with_only_old_prices_reports_market_closed(
    follow: Follow, price_broker: FakePriceBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prices.quote_intake.CONFIRMATION_SECONDS", 2.0)
    price_broker.dated = friday = market_now() - timedelta(hours=40)
    price_broker.answers = {symbol: quote("1.10", pair) for pair, symbol in BROKER_SYMBOLS.items()}
    stream = follow()
    until(lambda: stream.status().code is Code.MARKET_CLOSED)
    assert f"{friday:%d %B, %H:%M}" in stream.status().message


def test_clock_ahead_does_not_make_old_price_fresh(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    ahead = timedelta(hours=3)
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10", at=market_now() + ahead))
        emit(quote("1.11", at=market_now() + ahead))  # it has moved: it is of now
        emit(quote("1.30", GBP, at=market_now() + ahead - timedelta(hours=1)))
        emit(quote("1.12", at=market_now() + ahead))
    quotes = wait_for_quotes(stream, lambda quotes: any(q.bid == D("1.12") for q in quotes))
    assert {q.symbol for q in quotes} == {EUR}


def test_corrected_clock_is_trusted_again(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_clock, "VALID_SECONDS", -1.0)  # no time passes here
    stream, hours = follow(), timedelta(hours=3)
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10", at=market_now() + hours), quote("1.11", at=market_now() + hours))
        emit(quote("1.12"))  # right again; it has moved, so it is of now
        emit(quote("1.30", GBP, at=market_now() + timedelta(seconds=1)), quote("1.13"))
    quotes = wait_for_quotes(stream, lambda quotes: any(q.bid == D("1.13") for q in quotes))
    assert [q.bid for q in quotes] == [D("1.10"), D("1.11"), D("1.12"), D("1.30"), D("1.13")]


def test_one_wrong_time_does_not_hide_other_prices(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"), quote("1.11", at=market_now() + timedelta(days=1)))
        emit(quote("1.30", GBP), quote("1.12"))
    quotes = wait_for_quotes(stream, lambda quotes: any(q.bid == D("1.12") for q in quotes))
    assert {q.symbol for q in quotes} == {EUR, GBP}


def test_unchanged_price_is_confirmed_while_broker_responds(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    price_broker.answers = {"EURUSD.x": quote("1.10")}
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"), quote("1.30", GBP))
    quotes = wait_for_quotes(
        stream, lambda quotes: len([q for q in quotes if q.symbol == EUR]) >= 4
    )
    assert len([q for q in quotes if q.symbol == GBP]) == 1  # not confirmed by a reply
    assert len(price_broker.asked) == 1


def test_poll_response_does_not_replace_later_price(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was on its way when the price moved."""
    answer = price_broker.quote

    async def emit_first(spec: ConnectionSpec, symbol: str) -> Quote:
        answered = await answer(spec, symbol)
        if price_broker.coming is not None:
            price_broker.coming.put_nowait(quote("1.20"))
            await price_broker.coming.join()
        return answered

    stream = follow()
    price_broker.answers = {"EURUSD.x": quote("1.10")}
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"))
        wait_for_quotes(stream, lambda quotes: bool(quotes))
        monkeypatch.setattr(price_broker, "quote", emit_first)
        quotes = wait_for_quotes(stream, lambda quotes: len(quotes) >= 3)
    assert quotes[-1].bid == D("1.20")
    assert [q.bid for q in quotes].count(D("1.10")) <= 1  # was asked for before


def test_broker_without_quotes_is_not_polled(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    price_broker.quotes = False
    stream = follow()
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"))
        wait_for_quotes(stream, lambda quotes: bool(quotes))
        until(lambda: stream._quietest(loop.time()) is not None)
        emit(quote("1.11"))
        wait_for_quotes(stream, lambda quotes: bool(quotes))
    assert (len(price_broker.asked), price_broker.looked) == (1, [])


def test_streaming_symbol_is_not_removed_from_open_stream(
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
    with emitting(price_broker, loop) as emit:
        until(lambda: len(stream._unpriced) == 2)
        price_broker.answers = {"EURUSD.x": quote("1.1"), "GBPUSD.x": quote("1.3", GBP)}
        emit(quote("1.30", GBP))
        quotes = wait_for_quotes(
            stream, lambda quotes: any(q.symbol == EUR for q in quotes)
        )  # looked at
        assert {q.symbol for q in quotes} == {EUR, GBP}
        until(lambda: not stream._unpriced)
        emit(quote("1.11"), quote("1.31", GBP))
        wait_for_quotes(stream, lambda quotes: {q.bid for q in quotes} >= {D("1.11"), D("1.31")})
    assert len(price_broker.asked) == 1


def test_broker_without_stream_is_polled(follow: Follow, price_broker: FakePriceBroker) -> None:
    price_broker.streams_prices = False
    price_broker.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": quote("1.30", GBP)}
    quotes = wait_for_quotes(follow(), lambda quotes: len(quotes) > 6)
    assert {q.symbol for q in quotes} == {EUR, GBP}
    assert price_broker.asked == []
