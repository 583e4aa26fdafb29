"""Prices: single quotes, streams, lost connections and refusals."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

from brokers.base import ReadFailed
from brokers.ibkr import prices
from brokers.ibkr.market_data_lines import ASK, BID, MarketDataLine
from common.reason_codes import Code
from tests.ibkr.factories import QUICK, WAIT_SECONDS, Environment, adapter, with_environment

AAPL, AAPL_CFD, EURUSD = 265598, 266145, 12087792


def test_top_of_book_is_current_and_kept_subscribed_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next read, and an order that is checked against the price, need no new request."""
    monkeypatch.setattr(prices, "MAX_KEPT_LINES", 1)

    @with_environment
    async def test(stage: Environment) -> None:
        quote = await stage.adapter.quote(stage.spec, "EURUSD")
        assert (quote.symbol, quote.bid, quote.ask) == (
            "EUR/USD",
            Decimal("1.1"),
            Decimal("1.1002"),
        )
        stage.venue.quote("EURUSD", "1.2000", "1.2001")
        now = partial(prices.last_quote, stage.session, EURUSD)
        await stage.wait_until(lambda: (quote := now()) and quote.bid == Decimal("1.2"))
        subscribed = dict(stage.tws.sessions[0].prices)
        assert (await stage.adapter.quote(stage.spec, "EURUSD")).ask == Decimal("1.2001")
        stage.venue.quote("AAPL", "190.10", "190.12")
        await stage.adapter.quote(stage.spec, "AAPL")  # no market data line is free
        await stage.wait_until(lambda: stage.tws.sessions[0].prices == subscribed)

        stage.tws.announce(2103, "Market data farm connection is broken:cashfarm")
        await stage.wait_until(lambda: now() is None)  # stale: not used for checks
        await stage.adapter.quote(stage.spec, "EURUSD")
        stage.tws.announce(1100, "Connectivity between IBKR and TWS has been lost.")
        await stage.wait_until(lambda: not stage.session.lines)
        assert now() is None

    test()


def test_price_time_is_that_of_the_contracts_last_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TWS keeps the last prices of a closed market; they are not current."""
    friday = datetime(2026, 11, 20, 21, 59, tzinfo=UTC)
    clock = [friday]
    monkeypatch.setattr("brokers.ibkr.market_data_lines.market_now", lambda: clock[0])
    line = MarketDataLine("EURUSD", "EUR/USD", EURUSD, lambda _: None)
    line.tick(BID, 1.1)
    line.tick(ASK, 1.1002)
    clock[0] = friday + timedelta(seconds=30)
    line.mark_open()  # a size has changed
    clock[0] = friday + timedelta(hours=40)
    assert line.quote is not None
    assert line.quote.time == friday + timedelta(seconds=30)


def test_unused_market_data_line_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prices, "LINE_KEEP_SECONDS", 0.01)

    @with_environment
    async def test(stage: Environment) -> None:
        await stage.adapter.quote(stage.spec, "EURUSD")
        await stage.wait_until(lambda: not stage.tws.sessions[0].prices)
        assert not stage.session.lines.kept_count

    test()


@with_environment
async def test_quotes_are_streamed_until_the_reader_stops(stage: Environment) -> None:
    stage.adapter = adapter(timing=replace(QUICK, ping=60.0))  # its writes are counted
    stage.venue.quote("AAPL", "190.10", "190.12")
    async with aclosing(stage.adapter.stream_quotes(stage.spec, ["EURUSD", "AAPL"])) as quotes:
        first = {(await anext(quotes)).symbol, (await anext(quotes)).symbol}
        assert first == {"EUR/USD", "AAPL/USD"}
        stage.venue.quote("EURUSD", "1.2000", "1.2001")
        while (new := await anext(quotes)).bid != Decimal("1.2"):
            pass
        assert (new.symbol, new.ask) == ("EUR/USD", Decimal("1.2001"))
        asked = len(stage.tws.writes)
        running = await stage.adapter.quote(stage.spec, "EURUSD")  # from the running subscription
        assert (running.bid, len(stage.tws.writes)) == (Decimal("1.2"), asked)
    await stage.wait_until(lambda: not stage.tws.sessions[0].prices)


@with_environment
async def test_crossed_bid_and_ask_are_no_quote(stage: Environment) -> None:
    """TWS sends bid and ask separately; between the two, the book looks crossed."""
    async with aclosing(stage.adapter.stream_quotes(stage.spec, ["EURUSD"])) as quotes:
        await anext(quotes)
        for n in range(20):  # each bid is above the previous ask
            stage.venue.quote("EURUSD", f"1.{n + 20}00", f"1.{n + 20}02")
        async with asyncio.timeout(WAIT_SECONDS):
            async for one in quotes:
                assert one.bid <= one.ask
                if one.bid == Decimal("1.39"):
                    break


@with_environment
async def test_empty_side_is_a_closed_market(stage: Environment) -> None:
    stage.venue.quote("EURUSD", "1.1000", "-1")
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.quote(stage.spec, "EURUSD")
    assert failed.value.code is Code.MARKET_CLOSED


@with_environment
async def test_cfd_prices_are_those_of_its_share(stage: Environment) -> None:
    stage.venue.quote("AAPL", "190.10", "190.12")
    quote = await stage.adapter.quote(stage.spec, "AAPL CFD")
    assert (quote.bid, quote.ask) == (Decimal("190.1"), Decimal("190.12"))


@with_environment
async def test_symbols_without_market_data_are_left_out_and_named(stage: Environment) -> None:
    stage.tws.refused_prices[AAPL] = (354, "Requested market data is not subscribed.")
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.quote(stage.spec, "AAPL")
    assert failed.value.code is Code.NO_MARKET_DATA
    assert "AAPL: 354" in failed.value.detail
    async with aclosing(
        stage.adapter.stream_quotes(stage.spec, ["AAPL", "NONE", "EURUSD"])
    ) as quotes:
        assert (await anext(quotes)).symbol == "EUR/USD"
    for none_of_them in (["AAPL"], ["NONE"], []):
        with pytest.raises(ReadFailed):
            await anext(stage.adapter.stream_quotes(stage.spec, none_of_them))


@with_environment
async def test_unlisted_refusal_is_reported_verbatim(stage: Environment) -> None:
    stage.tws.refused_prices[EURUSD] = (101, "Max number of tickers has been reached")
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.quote(stage.spec, "EURUSD")
    assert failed.value.code is Code.REJECTED_BY_BROKER
    assert "Max number" in failed.value.detail


@with_environment
async def test_quotes_continue_over_a_new_connection(stage: Environment) -> None:
    async with aclosing(stage.adapter.stream_quotes(stage.spec, ["EURUSD"])) as quotes:
        await anext(quotes)
        await stage.tws.restart()
        stage.venue.quotes[EURUSD] = Decimal("1.3"), Decimal("1.4")
        assert (await anext(quotes)).bid == Decimal("1.3")


@pytest.mark.parametrize("back", [1101, 1102])
def test_price_from_before_an_ibkr_outage_is_not_used(back: int) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        async with aclosing(stage.adapter.stream_quotes(stage.spec, ["EURUSD"])) as quotes:
            await anext(quotes)
            stage.tws.announce(1100, "Connectivity between IBKR and TWS has been lost.")
            await stage.wait_until(lambda: not stage.session.usable)
            with pytest.raises(ReadFailed):
                await stage.adapter.quote(stage.spec, "EURUSD")
            stage.venue.quotes[EURUSD] = Decimal("1.3"), Decimal("1.4")
            stage.tws.announce(back, "Connectivity between IBKR and TWS has been restored.")
            assert (await anext(quotes)).bid == Decimal("1.3")

    test()


@with_environment
async def test_without_a_gateway_there_are_no_quotes(stage: Environment) -> None:
    await stage.tws.close()
    with pytest.raises(ReadFailed):
        await stage.adapter.quote(stage.spec, "EURUSD")
    with pytest.raises(ReadFailed):
        await anext(stage.adapter.stream_quotes(stage.spec, ["EURUSD"]))
