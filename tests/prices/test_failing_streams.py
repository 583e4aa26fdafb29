"""All the ways in which a broker's stream fails to tell prices."""

import asyncio
from datetime import datetime
from decimal import Decimal as D
from itertools import count

import pytest

from brokers.base import ReadFailed
from common.clocks import machine_time
from common.codes import Code
from connections import lanes
from prices import following
from prices.following import MOST_UNANSWERED, BrokerStream
from tests.prices.telling import (
    EUR,
    GBP,
    SPEC,
    WANTED,
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


def test_a_stream_that_hangs_while_prices_move_is_begun_anew(
    follow: Follow, teller: Teller, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with telling(teller, loop) as tell:
        tell(quote("1.10"), quote("1.30", GBP))
    hear(stream, lambda heard: len(heard) >= 2)
    moves = count(12_000)

    def is_begun_anew() -> bool:
        teller.answers = {"EURUSD.x": quote(str(D(next(moves)) / 10_000))}
        return len(teller.asked) >= 2

    until(is_begun_anew)
    assert hear(stream, lambda heard: bool(heard))[0].bid >= D("1.2")


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


def test_who_cannot_stream_is_asked_until_the_next_try(follow: Follow, teller: Teller) -> None:
    """What is guarded by its prices is judged by what it answers."""
    teller.refuses = ReadFailed(Code.BROKER_UNREACHABLE, "its websocket is blocked")
    teller.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": quote("1.30", GBP)}
    stream = follow()
    heard = hear(stream, lambda heard: len([q for q in heard if q.symbol == EUR]) >= 5)
    assert {q.symbol for q in heard} == {EUR, GBP}
    until(lambda: len(teller.asked) >= 3)
    teller.refuses = None
    until(lambda: teller.coming is not None)


def test_who_is_away_is_not_asked_again_and_again(
    follow: Follow, teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LONGEST_PAUSE", 0.4)
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.4)
    teller.refuses = ReadFailed(Code.BROKER_UNREACHABLE, "no route to host")
    follow()
    until(lambda: len(teller.asked) >= 5)
    assert 1 <= len(teller.looked) <= MOST_UNANSWERED * len(teller.asked)


def test_who_refuses_the_credentials_is_left_alone(follow: Follow, teller: Teller) -> None:
    """Some lock out who tries again and again."""
    teller.refuses = ReadFailed(Code.CREDENTIALS_REFUSED, "no")
    teller.answers = {"EURUSD.x": quote("1.10")}
    follow()
    until(lambda: len(teller.asked) >= 3)
    assert teller.looked == []


def test_so_is_one_that_streams_nothing(
    follow: Follow, teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LONGEST_PAUSE", 0.4)
    teller.streams_prices = False
    teller.answers = {one: ReadFailed(Code.CREDENTIALS_REFUSED, "no") for one in WANTED.values()}
    began, stream = machine_time(), follow()
    until(lambda: len(teller.looked) >= 4)
    assert machine_time() - began >= 3 * 0.4
    assert stream.fares().code is Code.CREDENTIALS_REFUSED


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


def test_nor_does_one_in_what_it_answers_where_it_cannot_stream(
    follow: Follow, teller: Teller
) -> None:
    teller.refuses = ReadFailed(Code.BROKER_UNREACHABLE, "its websocket is blocked")
    teller.answers = {"EURUSD.x": quote("1.10")}
    teller.dated = datetime(2026, 1, 1)  # noqa: DTZ001  # of no zone
    stream = follow()
    until(lambda: len(teller.asked) >= 3)
    assert teller.looked
    assert not stream.is_over
    teller.dated = None
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
    until(lambda: teller.asked[-1] == ["GBPUSD.x"])  # beside the other, which goes on


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


def test_nor_is_it_asked_for_that_again_and_again(
    follow: Follow, teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "UNTIL_LOOKED_AGAIN", 600.0)
    teller.streams_prices = False
    teller.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": KeyError("GBPUSD.x")}
    follow()
    until(lambda: teller.looked.count("EURUSD.x") >= 10)
    assert teller.looked.count("GBPUSD.x") == 1


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
