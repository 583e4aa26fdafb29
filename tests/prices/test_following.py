"""One account's broker as a source: what it tells."""

import asyncio
from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.messages import ConnectionSpec, Quote
from common.clocks import market_now
from common.codes import Code
from prices import clock, following
from prices.buffer import MOST_OF_A_PAIR
from prices.heard import Heard
from tests.prices.telling import (
    EUR,
    GBP,
    WANTED,
    Follow,
    Teller,
    follow,
    hear,
    loop,
    paced,
    quote,
    soon,
    teller,
    telling,
    until,
)

__all__ = ["follow", "loop", "soon", "teller"]


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


def test_what_nobody_takes_does_not_pile_up() -> None:
    """The database is away for hours, say."""
    heard = Heard(WANTED, {})
    for n in range(10 * MOST_OF_A_PAIR):
        assert heard.take(quote(str(D(100 + n % 400)), EUR if n % 3 else GBP))
    came = heard.due()
    assert len(came) <= MOST_OF_A_PAIR * 3
    assert {q.bid for q in came} >= {D(100), D(499)}  # a level may lie there
    assert heard.due() == []


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
    monkeypatch.setattr("prices.heard.DEAD_SECONDS", 2.0)
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


def test_an_answer_takes_no_later_price_back(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was on its way when the price moved."""
    answer = teller.quote

    async def tell_first(spec: ConnectionSpec, symbol: str) -> Quote:
        answered = await answer(spec, symbol)
        if teller.coming is not None:
            teller.coming.put_nowait(quote("1.20"))
            await teller.coming.join()
        return answered

    stream = follow()
    teller.answers = {"EURUSD.x": quote("1.10")}
    with telling(teller, loop) as tell:
        tell(quote("1.10"))
        hear(stream, lambda heard: bool(heard))
        monkeypatch.setattr(teller, "quote", tell_first)
        heard = hear(stream, lambda heard: len(heard) >= 3)
    assert heard[-1].bid == D("1.20")
    assert [q.bid for q in heard].count(D("1.10")) <= 1  # was asked for before


def test_who_quotes_nothing_is_not_asked(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    teller.quotes = False
    stream = follow()
    with telling(teller, loop) as tell:
        tell(quote("1.10"))
        hear(stream, lambda heard: bool(heard))
        until(lambda: stream._quiet(paced()) is not None)
        tell(quote("1.11"))
        hear(stream, lambda heard: bool(heard))
    assert (len(teller.asked), teller.looked) == (1, [])


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
