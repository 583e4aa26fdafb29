"""Prices by the exchanges' public websockets, with ccxt's real client, and by polls beside them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from brokers.crypto import prices, quote_stream
from brokers.types import Quote
from tests.crypto.factories import (
    MARKETS,
    D,
    ExchangeAccount,
    account,
    any_account,
    close,
    open_account,
)
from tests.fakes.exchange.venue import Fault
from tests.until import until, until_async

__all__ = ["account", "any_account"]
SECONDS = 60.0
NEVER = 3600.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection is made again soon."""
    monkeypatch.setattr(quote_stream, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(quote_stream, "MAX_PAUSE", 0.1)


def set_price(account: ExchangeAccount, price: str) -> None:
    account.venue.prices[account.exchange_symbol] = D(price)


def quote_reads(account: ExchangeAccount) -> int:
    names = ("bookTicker", "market/tickers", "Ticker?")
    with account.venue.lock:
        return sum(any(n in line for n in names) for line in account.venue.request_lines)


async def until_price(quotes: AsyncIterator[Quote], price: str) -> Quote:
    async for quote in quotes:
        if quote.bid == D(price):
            return quote
    raise AssertionError


def run(
    account: ExchangeAccount, use: Callable[[AsyncIterator[Quote]], Coroutine[Any, Any, Any]]
) -> Any:
    """Use a stream of the account's symbol, and close it."""

    async def with_stream() -> Any:
        stream: Any = account.adapter.stream_quotes(account.spec, [account.symbol])
        async with aclosing(stream) as quotes, asyncio.timeout(SECONDS):
            return await use(quotes)

    return account.run(with_stream())


def test_price_arrives_without_a_poll(
    account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", NEVER)

    async def use(quotes: AsyncIterator[Quote]) -> Quote:
        await until_price(quotes, "50000.0")
        set_price(account, "51000.0")
        return await until_price(quotes, "51000.0")

    quote = run(account, use)
    assert (quote.symbol, quote.ask) == ("BTC/USDT", D("51000.1"))
    assert quote.time.tzinfo is not None
    assert quote_reads(account) == 1
    until(lambda: account.server.sockets.live == 0)


def test_prices_are_polled_while_the_connection_is_refused(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", 0.02)
    any_account.server.sockets.is_refusing = True

    async def use(quotes: AsyncIterator[Quote]) -> None:
        await until_price(quotes, "50000.0")
        set_price(any_account, "51000.0")
        await until_price(quotes, "51000.0")
        any_account.server.sockets.is_refusing = False
        async for _ in quotes:
            if any_account.server.sockets.live:
                break
            set_price(any_account, f"{any_account.venue.prices[any_account.exchange_symbol] + 1}")

    run(any_account, use)
    assert any_account.server.sockets.refused >= 1


def test_prices_are_polled_until_a_dropped_connection_is_made_again(
    account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(prices, "CONFIRM_SECONDS", NEVER)

    async def use(quotes: AsyncIterator[Quote]) -> None:
        await until_price(quotes, "50000.0")
        await until_async(lambda: account.server.sockets.live == 1)
        account.server.sockets.is_refusing = True
        account.server.drop_sockets()
        set_price(account, "51000.0")
        await until_price(quotes, "51000.0")
        account.server.sockets.is_refusing = False
        await until_async(lambda: account.server.sockets.live == 1)
        set_price(account, "52000.0")
        await until_price(quotes, "52000.0")

    run(account, use)
    assert account.server.sockets.opened >= 2


def test_silent_connection_is_noticed_by_a_poll(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(prices, "CONFIRM_SECONDS", 0.2)

    async def use(quotes: AsyncIterator[Quote]) -> tuple[int, int]:
        await until_price(quotes, "50000.0")
        set_price(any_account, "50500.0")
        await until_async(lambda: any_account.server.sockets.pushed)
        any_account.server.sockets.is_mute = True
        pushed = any_account.server.sockets.pushed
        for price in ("51000.0", "52000.0"):
            set_price(any_account, price)
            await until_price(quotes, price)
        return pushed, any_account.server.sockets.pushed

    before, after = run(any_account, use)
    assert before == after


def test_unchanged_price_is_sent_again_only_after_a_poll(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "QUOTE_VALID_SECONDS", 0.05)
    monkeypatch.setattr(prices, "CONFIRM_SECONDS", 0.1)
    monkeypatch.setattr(prices, "POLL_SECONDS", 0.1)

    async def use(quotes: AsyncIterator[Quote]) -> int:
        await until_price(quotes, "50000.0")
        await until_async(lambda: any_account.server.sockets.pushed)
        reads = quote_reads(any_account)
        for _ in range(4):
            await anext(quotes)
        return quote_reads(any_account) - reads

    assert run(any_account, use) >= 3  # one of the four may be the websocket's first


def test_answer_that_a_quote_has_overtaken_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(prices, "CONFIRM_SECONDS", 0.3)
    account = open_account("binance", swap=True)

    async def overtake() -> None:
        await until_async(lambda: not account.venue.faults)  # the answer has the price of now
        set_price(account, "51000.0")

    async def use(quotes: AsyncIterator[Quote]) -> None:
        await until_price(quotes, "50000.0")
        await until_async(lambda: account.server.sockets.pushed)
        account.venue.faults.append(Fault("held", on="read"))
        overtaking = asyncio.create_task(overtake())
        await until_price(quotes, "51000.0")  # it does not wait for the answer
        account.server.may_answer.set()
        assert not any(one.bid == D("50000.0") for one in [await anext(quotes) for _ in range(3)])
        await overtaking

    run(account, use)
    close(account)


def test_burst_of_quotes_is_few_and_ends_with_the_last(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", NEVER)
    monkeypatch.setattr(quote_stream, "CONFLATION_SECONDS", 0.5)
    any_account.server.sockets.repeats = 50

    async def use(quotes: AsyncIterator[Quote]) -> int:
        await until_price(quotes, "50000.0")
        count = 0
        await until_async(lambda: any_account.server.sockets.pushed >= 50)
        set_price(any_account, "51000.0")
        await until_async(lambda: any_account.server.sockets.pushed >= 100)
        set_price(any_account, "52000.0")
        async for quote in quotes:
            count += 1
            if quote.bid == D("52000.0"):
                return count
        raise AssertionError

    assert run(any_account, use) <= 4


@pytest.mark.parametrize("market", MARKETS)
def test_empty_book_is_no_quote(market: tuple[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    name, swap = market
    monkeypatch.setattr(prices, "POLL_SECONDS", NEVER)
    account = open_account(name, swap=swap)

    async def use(quotes: AsyncIterator[Quote]) -> None:
        await until_price(quotes, "50000.0")
        await until_async(lambda: account.server.sockets.pushed)
        account.venue.book_is_empty = True
        pushed = account.server.sockets.pushed
        await until_async(lambda: account.server.sockets.pushed > pushed)
        account.venue.book_is_empty = False
        set_price(account, "51000.0")
        async for quote in quotes:
            assert min(quote.bid, quote.ask) > 0
            if quote.bid == D("51000.0"):
                return

    run(account, use)
    close(account)
