"""A stream that goes on without one of its pairs."""

import asyncio
from decimal import Decimal as D
from itertools import count

import pytest

from brokers.types import ConnectionSpec, Quote
from prices import broker_stream
from tests.prices.fake_price_broker import (
    BROKER_SYMBOLS,
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
)

__all__ = ["follow", "loop", "price_broker", "soon"]


@pytest.mark.parametrize("was_streamed", [True, False], ids=["dropped", "refused from the first"])
def test_symbol_dropped_by_stream_is_polled(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    was_streamed: bool,
) -> None:
    """Its line was dropped: a stop of it must not wait as long as what is still may."""
    monkeypatch.setattr(broker_stream, "QUIET_SECONDS", 0.5)
    follow(BROKER_SYMBOLS | {"USD/JPY": "USDJPY"})
    price_broker.answers = {"GBPUSD.x": quote("1.30", GBP)}
    with emitting(price_broker, loop) as emit:
        emit(*[quote("1.10")] * was_streamed, quote("1.30", GBP))
        moves, is_dropped = 0, True

        def still_is_asked_for(times: int) -> bool:
            nonlocal moves
            moves += 1
            price_broker.answers["EURUSD.x"] = quote(
                str(1 + D(moves) / 100_000) if is_dropped and was_streamed else "1.5"
            )
            emit(quote("150", "USD/JPY"))  # the stream works
            return price_broker.looked.count("GBPUSD.x") >= times

        until(lambda: still_is_asked_for(5))
        assert price_broker.looked.count("EURUSD.x") > 15
        is_dropped = False
        still_is_asked_for(0)  # it stands from now on
        emit(quote("1.5"))  # and its stream delivers it
        until(lambda: still_is_asked_for(6))
        looked = price_broker.looked.count("EURUSD.x")
        until(lambda: still_is_asked_for(11))
        assert price_broker.looked.count("EURUSD.x") <= looked + 7
    assert len(price_broker.asked) == 1


def test_streamed_symbol_is_not_dropped_during_poll(
    follow: Follow,
    price_broker: FakePriceBroker,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker's answer was on its way when the price moved, and moves on."""
    monkeypatch.setattr(broker_stream, "QUIET_SECONDS", 0.5)
    answer, moves = price_broker.quote, count(1)

    async def emit_first(spec: ConnectionSpec, symbol: str) -> Quote:
        if symbol == "EURUSD.x" and price_broker.coming is not None:
            moved = quote(str(1 + D(next(moves)) / 100_000))
            price_broker.coming.put_nowait(moved)
            price_broker.answers[symbol] = moved
            await price_broker.coming.join()
        return await answer(spec, symbol)

    monkeypatch.setattr(price_broker, "quote", emit_first)
    follow()
    price_broker.answers = {"GBPUSD.x": quote("1.30", GBP)}
    with emitting(price_broker, loop) as emit:
        emit(quote("1.10"), quote("1.30", GBP))
    until(
        lambda: price_broker.looked.count("GBPUSD.x") >= 5
    )  # which stands: it is asked for rarely
    assert 3 <= price_broker.looked.count("EURUSD.x") <= 7
    assert len(price_broker.asked) == 1
