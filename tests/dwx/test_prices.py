"""Prices: single quotes, streams, and their ages."""

import asyncio
import itertools
import math
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest

from brokers.base import ReadFailed
from brokers.dwx.adapter import create
from brokers.dwx.market_data_file import QuoteAges
from brokers.dwx.shared_files import signature
from brokers.types import Quote
from common.reason_codes import Code
from tests.dwx.factories import Account, raises_outcome, run
from tests.dwx.waiting import WAIT_SECONDS
from tests.until import until_async


def price(account: Account, bid: str, ask: str, symbol: str = "EURUSD") -> None:
    account.terminal.simulate("price", symbol=symbol, bid=float(bid), ask=float(ask))


def quote(account: Account, symbol: str = "EURUSD") -> Quote:
    return run(account.adapter.quote(account.spec, symbol))


def test_unchanged_price_ages_beside_changing_one(account: Account) -> None:
    assert quote(account, "XAUUSD.m").symbol == "XAU/USD"
    price(account, "1.2", "1.2001")
    for symbol in ("EURUSD", "XAUUSD.m"):
        quote(account, symbol)
    [terminal] = account.adapter._terminals.values()
    now = time.monotonic()
    assert terminal.ages.of("XAUUSD.m", now) > terminal.ages.of("EURUSD", now)


def test_age_of_price_counts_from_its_last_change() -> None:
    first, second, ages = (D(1), D(2)), (D(3), D(4)), QuoteAges()
    assert ages.of("A", 5) == math.inf
    ages.record({"A": first, "B": first}, 10)
    ages.record({"A": second, "B": first}, 20)
    ages.record({"A": second, "B": first}, 30)
    assert (ages.of("A", 40), ages.of("B", 40)) == (20, 30)
    ages.record({"A": second}, 50)  # the expert advisor was restarted
    ages.record({"A": second, "B": first}, 60)
    assert (ages.of("A", 70), ages.of("B", 70)) == (50, 10)


def test_quote_is_read_and_subscribed_once(account: Account) -> None:
    began = datetime.now(UTC)
    found = quote(account)
    assert (found.symbol, found.bid, found.ask) == ("EUR/USD", D("1.1"), D("1.1001"))
    assert began - timedelta(seconds=5) < found.time < datetime.now(UTC) + timedelta(seconds=5)
    price(account, "1.2", "1.2001")
    assert quote(account).bid == D("1.2")
    subscriptions = [
        content for command, content in account.terminal.commands() if "SUBSCRIBE" in command
    ]
    assert subscriptions == ["EURUSD,XAUUSD.m"]  # once: from then on it is in the file
    assert quote(account, "XAUUSD.m").symbol == "XAU/USD"
    other = create(str(account.root))  # a process without the lock may read
    assert run(other.quote(account.spec, "EURUSD")).bid == D("1.2")
    with raises_outcome(ReadFailed):
        run(other.quote(account.spec, "USDJPY"))
    assert quote(account, "USDJPY").ask == D("150.02")
    assert quote(account).bid == D("1.2")  # the earlier symbols are still there


@pytest.mark.parametrize(
    ("symbol", "code"),
    [("GBPUSD", Code.UNKNOWN_SYMBOL_AT_BROKER), ("DAX", Code.UNKNOWN_SYMBOL_AT_BROKER)],
)
def test_unknown_symbols_have_no_quote(account: Account, symbol: str, code: Code) -> None:
    with raises_outcome(ReadFailed, code):
        quote(account, symbol)
    assert quote(account).bid == D("1.1")
    last = account.terminal.commands()[-1][1]
    # With it, the expert advisor would report an error at each tick.
    assert symbol not in last.split(",")


def test_zero_prices_mean_closed_market(account: Account) -> None:
    price(account, "0", "0")
    with raises_outcome(ReadFailed, Code.MARKET_CLOSED):
        quote(account)


def test_unchanging_prices_are_not_reported(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that lost its broker keeps writing its files."""
    quote(account)
    quote(account, "XAUUSD.m")
    monkeypatch.setattr("brokers.dwx.prices.STALE_SECONDS", 0.0)
    looks: list[Path] = []

    def look(path: Path) -> object:
        looks.append(path)
        return signature(path)

    for symbol in ("EURUSD", "XAUUSD.m"):
        with raises_outcome(ReadFailed, Code.QUOTE_STALE):
            quote(account, symbol)

    async def next_quote() -> Quote:
        monkeypatch.setattr("brokers.dwx.prices.signature", look)
        stream = account.adapter.stream_quotes(account.spec, ["EURUSD", "XAUUSD.m"])
        first = asyncio.ensure_future(anext(aiter(stream)))
        await until_async(lambda: len(looks) > 10)
        assert not first.done()  # an unchanged price is not reported
        async with asyncio.timeout(WAIT_SECONDS):
            for pips in itertools.count(1):
                await asyncio.to_thread(price, account, f"1.{2000 + pips}", f"1.{2002 + pips}")
                if first.done():
                    break
        return first.result()

    first_quote = run(next_quote())
    assert (first_quote.symbol, first_quote.bid > D("1.2")) == ("EUR/USD", True)


def test_one_changing_price_confirms_the_others(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quote(account, "XAUUSD.m").bid == quote(account, "XAUUSD.m").bid
    [terminal] = account.adapter._terminals.values()
    monkeypatch.setattr("brokers.dwx.prices.STALE_SECONDS", 30.0)
    for symbol, (known, at) in list(terminal.ages._seen.items()):
        terminal.ages._seen[symbol] = known, at - 60
    with raises_outcome(ReadFailed, Code.QUOTE_STALE):
        quote(account, "XAUUSD.m")
    price(account, "1.2", "1.2001")
    found = quote(account, "XAUUSD.m")
    assert found.bid == 1900
    assert datetime.now(UTC) - found.time > timedelta(seconds=55)  # with its own age


def test_dead_terminal_has_no_prices(account: Account) -> None:
    quote(account)
    account.terminal.kill()
    account.minimize_timeouts()
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        while True:
            quote(account)


def test_stream_reports_price_changes(account: Account) -> None:
    async def listen() -> list[tuple[str, D]]:
        quotes, has_both, has_changed = [], asyncio.Event(), asyncio.Event()

        async def change() -> None:
            await has_both.wait()
            await asyncio.to_thread(price, account, "1.3", "1.3001")
            await has_changed.wait()
            await asyncio.to_thread(account.terminal.close)  # the terminal is restarted
            await asyncio.to_thread(account.terminal.start)
            await asyncio.to_thread(price, account, "1.4", "1.4001")

        changes = asyncio.create_task(change())
        async with asyncio.timeout(WAIT_SECONDS):
            async for quote in account.adapter.stream_quotes(account.spec, ["EURUSD", "XAUUSD.m"]):
                quotes.append((quote.symbol, quote.bid))
                if len(quotes) == 2:
                    has_both.set()
                if quote.bid == D("1.3"):
                    has_changed.set()
                if quote.bid == D("1.4"):
                    break
        await changes
        return quotes

    account.change_settings(stale_seconds=5)
    quotes = run(listen())
    assert quotes[:3] == [("EUR/USD", D("1.1")), ("XAU/USD", D(1900)), ("EUR/USD", D("1.3"))]
    assert [quote for quote in quotes if quote[0] == "XAU/USD"] == [("XAU/USD", D(1900))]


def test_stream_of_dead_terminal_ends(account: Account) -> None:
    async def listen() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            async for _ in account.adapter.stream_quotes(account.spec, ["EURUSD"]):
                account.shorten_timeouts()
                account.terminal.kill()

    account.change_settings(stale_seconds=0.5)
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        run(listen())


def test_what_if_is_not_supported(account: Account) -> None:
    with raises_outcome(ReadFailed, Code.NOT_SUPPORTED):
        run(account.adapter.what_if(account.spec, account.order()))
    assert not account.adapter.capabilities(account.spec).what_if
