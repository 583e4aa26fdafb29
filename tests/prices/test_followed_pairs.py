"""Which pairs are followed, and which of their prices are kept."""

import asyncio
from decimal import Decimal as D

import pytest

from brokers.types import Quote
from common.clocks import market_now
from connections.models import DataConnection
from prices.broker_feeds import REBUILD_EVERY, ActiveFeed
from prices.broker_stream import MAX_STREAMS, BrokerStream
from prices.feeds import LiveFeed
from prices.models import LatestQuote
from prices.quote_buffer import MAX_QUOTES_PER_PAIR, conflated
from prices.symbol_selection import MAX_PAIRS, RequiredPairs, SymbolSelection, select
from tests.prices.fake_price_broker import (
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
from tests.simulated_loop import SimulatedLoop

__all__ = ["follow", "loop", "price_broker", "soon"]


def test_conflation_keeps_extremes_and_last_price() -> None:
    bids = [D(100 + n % 7) for n in range(500)]
    bids[100], bids[300] = D(1), D(999)
    many = [Quote(EUR, bid, bid + 1, market_now()) for bid in bids]
    kept = conflated([*many, quote("1.30", GBP)])
    assert len(kept) < MAX_QUOTES_PER_PAIR
    assert [q.bid for q in kept] == [D(1), D(999), bids[-1], D("1.30")]
    assert conflated(many[:10]) == many[:10]


def test_required_pairs_include_conversion_pairs() -> None:
    book = {pair: pair.replace("/", "") for pair in (EUR, GBP, "USD/JPY", "EUR/JPY", "EUR/CHF")}
    assert list(select(book, RequiredPairs(["EUR/JPY", "XXX/YYY"], ["GBP"])).symbols) == [
        "EUR/JPY", "USD/JPY", GBP,
    ]  # fmt: skip
    many = {f"C{n}/USDT": f"C{n}USDT" for n in range(300)}
    assert list(select(many, RequiredPairs(list(many), ["USDT"])).symbols) == list(many)[:MAX_PAIRS]


def test_configured_pair_not_listed_is_reported() -> None:
    book = {EUR: "EURUSD"}
    assert select(book, RequiredPairs([EUR, "XAUUSD"])) == SymbolSelection(book, ("XAUUSD",))
    assert select(book, RequiredPairs(["XAUUSD"])) == SymbolSelection({}, ("XAUUSD",))


def test_unlisted_pair_of_others_is_no_error_if_prices_arrive() -> None:
    book = {EUR: "EURUSD"}
    assert select(book, RequiredPairs([EUR, "XAU/USD"], ["USD"])) == SymbolSelection(book)
    assert select(book, RequiredPairs(["XAU/USD"], ["USD"])) == SymbolSelection({}, ("XAU/USD",))
    assert select(book, RequiredPairs([], ["USD"])) == SymbolSelection({})


def test_added_pair_leaves_no_gap_in_others(
    follow: Follow, price_broker: FakePriceBroker, loop: SimulatedLoop
) -> None:
    """At IBKR reopening a hundred lines takes seconds in which no stop is checked."""
    stream = follow({EUR: "EURUSD.x"})
    until(lambda: price_broker.coming is not None)
    first = price_broker.coming
    assert first is not None
    stream.add_pairs({GBP: "GBPUSD.x"})
    until(lambda: len(price_broker.asked) == 2)
    loop.call_soon_threadsafe(first.put_nowait, quote("1.10"))
    with emitting(price_broker, loop) as emit:
        emit(quote("1.30", GBP))
    quotes = wait_for_quotes(stream, lambda quotes: len(quotes) >= 2)
    assert {one.symbol for one in quotes} == {EUR, GBP}
    assert price_broker.asked == [["EURUSD.x"], ["GBPUSD.x"]]
    assert stream.status().missing == ()
    stream.close()
    until(lambda: stream.is_over)
    until(lambda: not loop.unfinished())  # it leaves nothing behind


def test_many_added_pairs_are_streamed_together(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    """Some brokers are asked once a stream: there are few of them."""
    stream = follow({EUR: "EURUSD.x"})
    until(lambda: len(price_broker.asked) == 1)
    for number in range(1, MAX_STREAMS + 1):
        stream.add_pairs({f"C{number}/USD": f"C{number}"})
        until(lambda number=number: len(price_broker.asked) > number)  # type: ignore[misc]
    assert [len(one) for one in price_broker.asked] == [*[1] * MAX_STREAMS, MAX_STREAMS + 1]


def following(stream: BrokerStream, symbols: dict[str, str]) -> ActiveFeed:
    return ActiveFeed(
        LiveFeed(DataConnection(), stream, to_paper=False), stream, "", SymbolSelection(symbols)
    )


def test_pairs_over_limit_do_not_restart_all_with_each_order(
    follow: Follow, price_broker: FakePriceBroker
) -> None:
    """Otherwise no prices arrive with 300 traded pairs: each order needs another hundred."""
    pairs = {f"C{n}/USD": f"C{n}" for n in range(MAX_PAIRS + 20)}
    names = list(pairs)
    stream = follow(first := {one: pairs[one] for one in names[: MAX_PAIRS - 5]})
    followed = following(stream, first)
    until(lambda: len(price_broker.asked) == 1)
    selection = SymbolSelection(
        {one: pairs[one] for one in reversed(names[20:])}
    )  # the most urgent first
    for _ in range(3):
        assert followed.extend_to(selection)
        assert list(followed.selection.symbols) == [*names[: MAX_PAIRS - 5], *reversed(names[-5:])]
    until(lambda: len(price_broker.asked) == 2)
    assert price_broker.asked[1] == [pairs[one] for one in reversed(names[-5:])]
    followed.began -= REBUILD_EVERY
    assert not followed.extend_to(selection)
    assert followed.extend_to(SymbolSelection(first))  # which it follows


def test_replaced_symbol_of_pair_is_followed_immediately(follow: Follow) -> None:
    stream = follow(first := {EUR: "EURUSD.x"})
    followed = following(stream, first)
    assert not followed.extend_to(SymbolSelection({EUR: "EURUSD.pro", GBP: "GBPUSD.pro"}))


@pytest.mark.django_db
def test_first_quote_of_an_added_pair_is_compared_with_the_stored_one(
    follow: Follow, price_broker: FakePriceBroker, loop: SimulatedLoop
) -> None:
    source = DataConnection.objects.create(name="broker's", kind="broker", is_active=False)
    LatestQuote.objects.create(
        data_connection=source, symbol=GBP, bid=D("1.3"), ask=D("1.3002"), time=market_now()
    )
    stream = follow(first := {EUR: "EURUSD.x"})
    followed = ActiveFeed(
        LiveFeed(source, stream, to_paper=False), stream, "", SymbolSelection(first)
    )
    assert followed.extend_to(SymbolSelection({**first, GBP: "GBPUSD.x"}))
    assert stream._intake.accept(quote("0.9", GBP))
    assert stream.take_held().count == 1
