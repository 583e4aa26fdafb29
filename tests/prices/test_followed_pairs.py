"""Which pairs are followed, and which of their prices are kept."""

import asyncio
from decimal import Decimal as D

from brokers.messages import Quote
from common.clocks import market_now
from connections.models import DataConnection
from prices.buffer import MOST_OF_A_PAIR, squeezed
from prices.feeding import LiveFeed
from prices.following import MOST_STREAMS, BrokerStream
from prices.live import ROOM_EVERY, Followed
from prices.wanted import MOST, Needed, Wanted, chosen
from tests.prices.telling import (
    EUR,
    GBP,
    Follow,
    Teller,
    follow,
    hear,
    loop,
    quote,
    soon,
    teller,
    telling,
    until,
)

__all__ = ["follow", "loop", "soon", "teller"]


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
    assert list(chosen(book, Needed(["EUR/JPY", "XXX/YYY"], ["GBP"])).symbols) == [
        "EUR/JPY", "USD/JPY", GBP,
    ]  # fmt: skip
    many = {f"C{n}/USDT": f"C{n}USDT" for n in range(300)}
    assert list(chosen(many, Needed(list(many), ["USDT"])).symbols) == list(many)[:MOST]


def test_what_is_named_and_not_listed_is_told() -> None:
    book = {EUR: "EURUSD"}
    assert chosen(book, Needed([EUR, "XAUUSD"])) == Wanted(book, ("XAUUSD",))
    assert chosen(book, Needed(["XAUUSD"])) == Wanted({}, ("XAUUSD",))


def test_what_others_trade_elsewhere_is_no_fault_where_something_is_told() -> None:
    book = {EUR: "EURUSD"}
    assert chosen(book, Needed([EUR, "XAU/USD"], ["USD"])) == Wanted(book)
    assert chosen(book, Needed(["XAU/USD"], ["USD"])) == Wanted({}, ("XAU/USD",))
    assert chosen(book, Needed([], ["USD"])) == Wanted({})


def test_one_pair_more_leaves_no_gap_in_the_others(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    """At IBKR a hundred lines that are opened anew take seconds, in which no stop is judged."""
    stream = follow({EUR: "EURUSD.x"})
    until(lambda: teller.coming is not None)
    first = teller.coming
    assert first is not None
    stream.follow_also({GBP: "GBPUSD.x"})
    until(lambda: len(teller.asked) == 2)
    loop.call_soon_threadsafe(first.put_nowait, quote("1.10"))
    with telling(teller, loop) as tell:
        tell(quote("1.30", GBP))
    heard = hear(stream, lambda heard: len(heard) >= 2)
    assert {one.symbol for one in heard} == {EUR, GBP}
    assert teller.asked == [["EURUSD.x"], ["GBPUSD.x"]]
    assert stream.fares().missing == ()
    stream.close()
    until(lambda: stream.is_over)
    until(lambda: not asyncio.all_tasks(loop))  # it leaves nothing behind


def test_many_pairs_more_are_streamed_together(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    """Some brokers are asked once a stream: there are few of them."""
    stream = follow({EUR: "EURUSD.x"})
    until(lambda: len(teller.asked) == 1)
    for number in range(1, MOST_STREAMS + 1):
        stream.follow_also({f"C{number}/USD": f"C{number}"})
        until(lambda number=number: len(teller.asked) > number)  # type: ignore[misc]
    assert [len(one) for one in teller.asked] == [*[1] * MOST_STREAMS, MOST_STREAMS + 1]


def following(stream: BrokerStream, symbols: dict[str, str]) -> Followed:
    return Followed(LiveFeed(DataConnection(), stream, to_paper=False), stream, "", Wanted(symbols))


def test_more_than_can_be_followed_does_not_begin_all_anew_with_each_order(
    follow: Follow, teller: Teller
) -> None:
    """Else nothing would be told where 300 pairs are traded: each order wants another hundred."""
    pairs = {f"C{n}/USD": f"C{n}" for n in range(MOST + 20)}
    names = list(pairs)
    stream = follow(first := {one: pairs[one] for one in names[: MOST - 5]})
    followed = following(stream, first)
    until(lambda: len(teller.asked) == 1)
    wanted = Wanted({one: pairs[one] for one in reversed(names[20:])})  # the most urgent first
    for _ in range(3):
        assert followed.takes(wanted)
        assert list(followed.wanted.symbols) == [*names[: MOST - 5], *reversed(names[-5:])]
    until(lambda: len(teller.asked) == 2)
    assert teller.asked[1] == [pairs[one] for one in reversed(names[-5:])]
    followed.began -= ROOM_EVERY
    assert not followed.takes(wanted)
    assert followed.takes(Wanted(first))  # which it follows


def test_another_symbol_of_a_pair_is_followed_at_once(follow: Follow) -> None:
    stream = follow(first := {EUR: "EURUSD.x"})
    followed = following(stream, first)
    assert not followed.takes(Wanted({EUR: "EURUSD.pro", GBP: "GBPUSD.pro"}))
