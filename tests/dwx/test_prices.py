"""Prices, now and as they come, and how old they are."""

import asyncio
import itertools
import math
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.dwx.adapter import create
from brokers.dwx.market_data_file import QuoteAges
from brokers.types import Quote
from common.reason_codes import Code
from tests.dwx.factories import Owner, raises_outcome, run
from tests.dwx.waiting import SOON


def price(owner: Owner, bid: str, ask: str, symbol: str = "EURUSD") -> None:
    owner.terminal.simulate("price", symbol=symbol, bid=float(bid), ask=float(ask))


def quote(owner: Owner, symbol: str = "EURUSD") -> Quote:
    return run(owner.adapter.quote(owner.spec, symbol))


def test_a_price_that_stands_still_ages_beside_one_that_moves(owner: Owner) -> None:
    assert quote(owner, "XAUUSD.m").symbol == "XAU/USD"
    price(owner, "1.2", "1.2001")
    for symbol in ("EURUSD", "XAUUSD.m"):
        quote(owner, symbol)
    [terminal] = owner.adapter._terminals.values()
    now = time.monotonic()
    assert terminal.ages.of("XAUUSD.m", now) > terminal.ages.of("EURUSD", now)


def test_ages_of_prices() -> None:
    one, other, ages = (D(1), D(2)), (D(3), D(4)), QuoteAges()
    assert ages.of("A", 5) == math.inf
    ages.see({"A": one, "B": one}, 10)
    ages.see({"A": other, "B": one}, 20)
    ages.see({"A": other, "B": one}, 30)
    assert (ages.of("A", 40), ages.of("B", 40)) == (20, 30)
    ages.see({"A": other}, 50)  # the expert advisor began anew
    ages.see({"A": other, "B": one}, 60)
    assert (ages.of("A", 70), ages.of("B", 70)) == (50, 10)


def test_a_price(owner: Owner) -> None:
    told = quote(owner)
    assert (told.symbol, told.bid, told.ask) == ("EUR/USD", D("1.1"), D("1.1001"))
    assert abs(told.time - datetime.now(UTC)) < timedelta(seconds=5)
    price(owner, "1.2", "1.2001")
    assert quote(owner).bid == D("1.2")
    asked = [content for command, content in owner.terminal.commands() if "SUBSCRIBE" in command]
    assert asked == ["EURUSD,XAUUSD.m"]  # once: then it is in the file
    assert quote(owner, "XAUUSD.m").symbol == "XAU/USD"
    other = create(str(owner.root))  # who does not hold the folder may read it
    assert run(other.quote(owner.spec, "EURUSD")).bid == D("1.2")
    with raises_outcome(ReadFailed):
        run(other.quote(owner.spec, "USDJPY"))
    assert quote(owner, "USDJPY").ask == D("150.02")
    assert quote(owner).bid == D("1.2")  # and the earlier ones are still told


@pytest.mark.parametrize(
    ("symbol", "code"),
    [("GBPUSD", Code.UNKNOWN_SYMBOL_AT_BROKER), ("DAX", Code.UNKNOWN_SYMBOL_AT_BROKER)],
)
def test_symbols_without_a_price(owner: Owner, symbol: str, code: Code) -> None:
    with raises_outcome(ReadFailed, code):
        quote(owner, symbol)
    assert quote(owner).bid == D("1.1")
    last = owner.terminal.commands()[-1][1]
    assert symbol not in last.split(",")  # a hole in its list would have it complain at each tick


def test_a_market_without_prices_is_closed(owner: Owner) -> None:
    price(owner, "0", "0")
    with raises_outcome(ReadFailed, Code.MARKET_CLOSED):
        quote(owner)


def test_where_no_price_moves_none_is_told(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that has lost its broker goes on writing, and looks alive."""
    quote(owner)
    quote(owner, "XAUUSD.m")
    monkeypatch.setattr("brokers.dwx.prices.STALE_SECONDS", 0.0)
    for symbol in ("EURUSD", "XAUUSD.m"):
        with raises_outcome(ReadFailed, Code.QUOTE_STALE):
            quote(owner, symbol)

    async def first_told() -> Quote:
        stream = owner.adapter.stream_quotes(owner.spec, ["EURUSD", "XAUUSD.m"])
        first = asyncio.ensure_future(anext(aiter(stream)))
        await asyncio.wait({first}, timeout=0.3)
        assert not first.done()  # it does not begin with what stands
        async with asyncio.timeout(SOON):
            for pips in itertools.count(1):
                await asyncio.to_thread(price, owner, f"1.{2000 + pips}", f"1.{2002 + pips}")
                if first.done():
                    break
        return first.result()

    told = run(first_told())
    assert (told.symbol, told.bid > D("1.2")) == ("EUR/USD", True)


def test_one_that_moves_proves_the_others(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quote(owner, "XAUUSD.m").bid == quote(owner, "XAUUSD.m").bid
    [terminal] = owner.adapter._terminals.values()
    monkeypatch.setattr("brokers.dwx.prices.STALE_SECONDS", 30.0)
    for symbol, (known, at) in list(terminal.ages._seen.items()):
        terminal.ages._seen[symbol] = known, at - 60
    with raises_outcome(ReadFailed, Code.QUOTE_STALE):
        quote(owner, "XAUUSD.m")
    price(owner, "1.2", "1.2001")
    told = quote(owner, "XAUUSD.m")
    assert told.bid == 1900
    assert datetime.now(UTC) - told.time > timedelta(seconds=55)  # and keeps its own age


def test_prices_of_a_dead_terminal_are_none(owner: Owner) -> None:
    quote(owner)
    owner.terminal.kill()
    owner.minimize_timeouts()
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        while True:
            quote(owner)


def test_prices_as_they_come(owner: Owner) -> None:
    async def listen() -> list[tuple[str, D]]:
        told, begun, moved = [], asyncio.Event(), asyncio.Event()

        async def change() -> None:
            await begun.wait()
            await asyncio.to_thread(price, owner, "1.3", "1.3001")
            await moved.wait()
            await asyncio.to_thread(owner.terminal.close)  # the terminal is started anew
            await asyncio.to_thread(owner.terminal.start)
            await asyncio.to_thread(price, owner, "1.4", "1.4001")

        changes = asyncio.create_task(change())
        async with asyncio.timeout(SOON):
            async for one in owner.adapter.stream_quotes(owner.spec, ["EURUSD", "XAUUSD.m"]):
                told.append((one.symbol, one.bid))
                if len(told) == 2:
                    begun.set()
                if one.bid == D("1.3"):
                    moved.set()
                if one.bid == D("1.4"):
                    break
        await changes
        return told

    owner.change_settings(stale_seconds=5)
    told = run(listen())
    assert told[:3] == [("EUR/USD", D("1.1")), ("XAU/USD", D(1900)), ("EUR/USD", D("1.3"))]
    assert [one for one in told if one[0] == "XAU/USD"] == [("XAU/USD", D(1900))]


def test_a_stream_of_a_dead_terminal_ends(owner: Owner) -> None:
    async def listen() -> None:
        async with asyncio.timeout(SOON):
            async for _ in owner.adapter.stream_quotes(owner.spec, ["EURUSD"]):
                owner.shorten_timeouts()
                owner.terminal.kill()

    owner.change_settings(stale_seconds=0.5)
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        run(listen())


def test_what_an_order_costs_is_not_offered(owner: Owner) -> None:
    with raises_outcome(ReadFailed, Code.NOT_SUPPORTED):
        run(owner.adapter.what_if(owner.spec, owner.order()))
    assert not owner.adapter.capabilities(owner.spec).what_if
