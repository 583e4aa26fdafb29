"""The ways in which a broker's stream fails to deliver prices."""

import asyncio
from datetime import datetime
from decimal import Decimal as D
from itertools import count

import pytest

from brokers.account_capabilities import Capabilities
from brokers.base import ReadFailed
from brokers.types import ConnectionSpec
from common.clocks import market_now
from common.reason_codes import Code
from connections import session_lanes
from prices import broker_stream
from prices.broker_stream import MAX_UNANSWERED, BrokerStream
from tests.prices.fake_price_broker import (
    BROKER_SYMBOLS,
    EUR,
    GBP,
    SPEC,
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


def test_hanging_stream_is_restarted_when_prices_move(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"), quote("1.30", GBP))
    wait_for_quotes(stream, lambda quotes: len(quotes) >= 2)
    moves = count(12_000)

    def is_restarted() -> bool:
        price_broker.answers = {"EURUSD.x": quote(str(D(next(moves)) / 10_000))}
        return len(price_broker.asked) >= 2

    until(is_restarted)
    assert wait_for_quotes(stream, lambda quotes: bool(quotes))[0].bid >= D("1.2")


def test_broken_stream_is_restarted_and_error_reported(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with emitting(price_broker, loop) as emit:
        emit(ReadFailed(Code.BROKER_UNREACHABLE, "with hunter22 the line broke"))
    until(lambda: len(price_broker.asked) >= 2)
    status = stream.status()
    assert status.code in (Code.BROKER_UNREACHABLE, Code.NOT_CONNECTED)
    assert "hunter22" not in status.message
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"))
    wait_for_quotes(stream, lambda quotes: bool(quotes))
    assert stream.status().code is None


def test_broker_is_polled_until_stream_restarts(
    follow: Follow, price_broker: FakePriceBroker
) -> None:
    """What is guarded by its prices is judged by what it answers."""
    price_broker.refuses = ReadFailed(Code.BROKER_UNREACHABLE, "its websocket is blocked")
    price_broker.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": quote("1.30", GBP)}
    stream = follow()
    quotes = wait_for_quotes(
        stream, lambda quotes: len([q for q in quotes if q.symbol == EUR]) >= 5
    )
    assert {q.symbol for q in quotes} == {EUR, GBP}
    until(lambda: len(price_broker.asked) >= 3)
    price_broker.refuses = None
    until(lambda: price_broker.coming is not None)


def test_unreachable_broker_is_not_polled_repeatedly(
    follow: Follow, price_broker: FakePriceBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_stream, "MAX_PAUSE", 0.4)
    monkeypatch.setattr(broker_stream, "MIN_PAUSE", 0.4)
    price_broker.refuses = ReadFailed(Code.BROKER_UNREACHABLE, "no route to host")
    follow()
    until(lambda: len(price_broker.asked) >= 5)
    assert 1 <= len(price_broker.looked) <= MAX_UNANSWERED * len(price_broker.asked)


def test_broker_that_refuses_credentials_is_not_retried(
    follow: Follow, price_broker: FakePriceBroker
) -> None:
    """Some lock out who tries again and again."""
    price_broker.refuses = ReadFailed(Code.CREDENTIALS_REFUSED, "no")
    price_broker.answers = {"EURUSD.x": quote("1.10")}
    follow()
    until(lambda: len(price_broker.asked) >= 3)
    assert price_broker.looked == []


def test_broker_that_streams_nothing_is_not_retried(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_stream, "MAX_PAUSE", 0.4)
    price_broker.streams_prices = False
    price_broker.answers = {
        one: ReadFailed(Code.CREDENTIALS_REFUSED, "no") for one in BROKER_SYMBOLS.values()
    }
    began, stream = loop.time(), follow()
    until(lambda: len(price_broker.looked) >= 4)
    assert loop.time() - began >= 3 * 0.4
    assert stream.status().code is Code.CREDENTIALS_REFUSED


def test_adapter_fault_does_not_end_stream(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with emitting(price_broker, loop) as emit:
        emit(ZeroDivisionError("a bug"))
    until(lambda: len(price_broker.asked) >= 2)
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"))
    wait_for_quotes(stream, lambda quotes: bool(quotes))


def test_adapter_fault_in_capabilities_does_not_end_stream(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(spec: ConnectionSpec) -> Capabilities:
        raise KeyError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(price_broker, "capabilities", fail)
        stream = follow()
        until(lambda: stream.status().code is Code.UNEXPECTED)
    assert not stream.is_over
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"))
    wait_for_quotes(stream, lambda quotes: bool(quotes))


def test_adapter_fault_in_poll_does_not_end_source(
    follow: Follow, price_broker: FakePriceBroker
) -> None:
    price_broker.refuses = ReadFailed(Code.BROKER_UNREACHABLE, "its websocket is blocked")
    price_broker.answers = {"EURUSD.x": quote("1.10")}
    price_broker.dated = datetime(2026, 1, 1)  # noqa: DTZ001  # of no zone
    stream = follow()
    until(lambda: len(price_broker.asked) >= 3)
    assert price_broker.looked
    assert not stream.is_over
    price_broker.dated = None
    wait_for_quotes(stream, lambda quotes: bool(quotes))


def test_symbol_without_prices_does_not_block_others(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    price_broker.unknown = {"GBPUSD.x"}
    price_broker.answers = {
        "EURUSD.x": quote("1.10"), "GBPUSD.x": ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, "no"),
    }  # fmt: skip
    stream = follow()
    until(lambda: ["EURUSD.x"] in price_broker.asked)
    assert {q.symbol for q in wait_for_quotes(stream, lambda quotes: len(quotes) > 3)} == {EUR}
    price_broker.unknown, price_broker.answers["GBPUSD.x"] = (
        set(),
        quote("1.30", GBP),
    )  # it is listed now
    wait_for_quotes(stream, lambda quotes: any(q.symbol == GBP for q in quotes))
    until(lambda: price_broker.asked[-1] == ["GBPUSD.x"])  # beside the other, which goes on


def test_refused_symbol_makes_all_symbols_polled_meanwhile(
    follow: Follow, price_broker: FakePriceBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_stream, "RECHECK_SECONDS", 3.0)
    price_broker.unknown = {"GBPUSD.x"}
    price_broker.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": quote("1.30", GBP)}
    stream = follow()
    quotes = wait_for_quotes(
        stream, lambda quotes: len([q for q in quotes if q.symbol == EUR]) >= 5
    )
    assert {q.symbol for q in quotes} == {EUR, GBP}
    assert len(price_broker.asked) == 1  # its stream is tried again later
    price_broker.unknown = set()
    until(lambda: len(price_broker.asked) == 2 and price_broker.coming is not None)


def test_adapter_fault_at_one_symbol_does_not_end_stream(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    price_broker.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": KeyError("GBPUSD.x")}
    stream = follow()
    with emitting(price_broker, loop) as emit:
        until(lambda: price_broker.looked.count("GBPUSD.x") >= 3)
        emit(quote("1.30", GBP))  # which its stream may deliver all the same
    wait_for_quotes(stream, lambda quotes: any(q.symbol == GBP for q in quotes))
    assert len(price_broker.asked) == 1


def test_faulty_symbol_is_not_requested_repeatedly(
    follow: Follow, price_broker: FakePriceBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_stream, "RECHECK_SECONDS", 600.0)
    price_broker.streams_prices = False
    price_broker.answers = {"EURUSD.x": quote("1.10"), "GBPUSD.x": KeyError("GBPUSD.x")}
    follow()
    until(lambda: price_broker.looked.count("EURUSD.x") >= 10)
    assert price_broker.looked.count("GBPUSD.x") == 1


def test_endless_stream_cleanup_does_not_block_source(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_stream, "CLEANUP_SECONDS", 0.1)
    price_broker.hangs = True
    stream = follow()
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"), quote("1.30", GBP))
    wait_for_quotes(stream, lambda quotes: len(quotes) >= 2)
    price_broker.answers = {
        "EURUSD.x": quote("1.20")
    }  # its stream did not deliver: it is restarted
    until(lambda: len(price_broker.asked) >= 2)


def test_nothing_is_used_of_a_stream_that_goes_on_after_its_end(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_stream, "CLEANUP_SECONDS", 0.1)
    price_broker.is_endless = True
    stream = follow({EUR: "EURUSD.x"})
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"))
    wait_for_quotes(stream, lambda quotes: len(quotes) >= 1)
    old = price_broker.coming
    price_broker.answers = {"EURUSD.x": quote("1.20")}  # the stream did not send it: restarted
    until(lambda: len(price_broker.asked) >= 2)
    price_broker.is_endless = False
    assert old is not None
    assert old is not price_broker.coming
    loop.call_soon_threadsafe(old.put_nowait, quote("1.05"))
    price_broker.answers = {}
    with emitting(price_broker, loop) as emit:
        emit(quote("1.30"))
    quotes = wait_for_quotes(stream, lambda quotes: any(q.bid == D("1.30") for q in quotes))
    assert all(q.bid != D("1.05") for q in quotes)


def test_silent_stream_is_restarted_for_a_price_that_moved_before_it_fell_silent(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    stream = follow()
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"), quote("1.30", GBP))
        wait_for_quotes(stream, lambda quotes: len(quotes) >= 2)
        price_broker.answers = {"EURUSD.x": quote("1.20")}  # it moves once

        def is_known() -> bool:
            emit(quote("1.30", GBP))  # the stream goes on with the other pair
            return any(one.bid == D("1.20") for one in stream.due(market_now()))

        until(is_known)
        assert len(price_broker.asked) == 1
    until(lambda: len(price_broker.asked) >= 2)


def test_silent_stream_is_restarted_though_another_sends(
    follow: Follow, price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    """A pair that was added later has a stream of its own."""
    stream = follow({EUR: "EURUSD.x"})
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"))
    wait_for_quotes(stream, lambda quotes: len(quotes) >= 1)
    stream.add_pairs({GBP: "GBPUSD.x"})
    until(lambda: len(price_broker.asked) == 2)
    price_broker.answers = {"EURUSD.x": quote("1.20")}

    def is_restarted() -> bool:
        if len(price_broker.asked) == 2:
            emit(quote("1.30", GBP))  # through the stream of that pair
        return len(price_broker.asked) >= 3

    until(is_restarted)


def test_no_call_after_lane_is_lost(
    price_broker: FakePriceBroker, loop: asyncio.AbstractEventLoop
) -> None:
    ours = ["sessions.3"]
    session_lanes.register_held_lanes(lambda: tuple(ours))
    try:
        stream = BrokerStream(price_broker, SPEC, "sessions.3", BROKER_SYMBOLS, loop)
        until(lambda: price_broker.asked)
        assert not stream.is_over
        ours.clear()
        until(lambda: stream.is_over)
    finally:
        session_lanes.register_held_lanes()
