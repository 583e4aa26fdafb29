"""Prices, sessions and what an exchange does not offer."""

import asyncio

import pytest

from brokers.base import ReadFailed
from brokers.crypto import prices
from brokers.crypto.adapter import create
from brokers.crypto.capabilities import capabilities_of
from brokers.crypto.form import FORM
from brokers.types import ConnectionSpec, Quote
from common.errors import InvalidInputError
from common.reason_codes import Code
from tests.crypto.factories import D, VenueSetup, each, house
from tests.fakes.exchange.venue import Fault

__all__ = ["each", "house"]


def test_a_quote_is_the_best_bid_and_ask_of_the_pair(house: VenueSetup) -> None:
    told = house.run(house.adapter.quote(house.spec, house.symbol))
    assert (told.symbol, told.bid, told.ask) == ("BTC/USDT", D("50000.0"), D("50000.1"))
    assert told.time.tzinfo is not None


def test_where_nobody_bids_there_is_no_price(house: VenueSetup) -> None:
    house.venue.book_gone = True
    with pytest.raises(ReadFailed) as failed:
        house.run(house.adapter.quote(house.spec, house.symbol))
    assert failed.value.code is Code.MARKET_CLOSED
    (told,) = house.submit(house.order())
    assert told.fills == ()  # nothing was executed either, and nothing is made up


def test_a_symbol_that_is_not_listed_has_no_price(each: VenueSetup) -> None:
    with pytest.raises(ReadFailed) as failed:
        each.run(each.adapter.quote(each.spec, "ETH/USDT"))
    assert failed.value.code is Code.UNKNOWN_SYMBOL_AT_BROKER


def test_a_stream_tells_what_has_changed(
    house: VenueSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", 0.01)

    async def look() -> list[Quote]:
        stream = house.adapter.stream_quotes(house.spec, [house.symbol])
        first = await anext(stream)
        house.venue.prices[house.their_symbol] = D("51000.0")
        async for told in stream:
            if told.bid != first.bid:
                return [first, told]
        raise AssertionError

    first, second = house.run(asyncio.wait_for(look(), 10))
    assert (first.bid, second.bid) == (D("50000.0"), D("51000.0"))


def test_a_stream_ends_with_the_reason(each: VenueSetup) -> None:
    each.warm()
    each.venue.faults.append(Fault("status", 503, "<html>", on="read"))

    async def look() -> None:
        async for _ in each.adapter.stream_quotes(each.spec, [each.symbol]):
            pass

    with pytest.raises(ReadFailed):
        each.run(look())


def test_an_empty_book_is_left_out_of_a_stream(each: VenueSetup) -> None:
    each.venue.book_gone = True
    client = each.run(each.adapter._clients.of(each.spec))
    assert each.run(prices.quotes(client, symbols=[each.symbol])) == []


# ---- sessions ---------------------------------------------------------------------------------
def test_connecting_says_what_is_wrong_with_the_key(each: VenueSetup) -> None:
    each.run(each.adapter.connect(each.spec))
    each.run(each.adapter.disconnect(each.spec))
    each.venue.key = "another"
    with pytest.raises(ReadFailed) as failed:
        each.run(each.adapter.connect(each.spec))
    assert failed.value.code is Code.CREDENTIALS_REFUSED


def test_an_account_that_was_ended_is_opened_anew_and_others_stay(each: VenueSetup) -> None:
    client = each.run(each.adapter._clients.of(each.spec))
    elsewhere = ConnectionSpec("another", "main", each.spec.exchange_name)
    each.run(each.adapter.disconnect(elsewhere))
    assert each.run(each.adapter._clients.of(each.spec)) is client
    each.run(each.adapter.disconnect(each.spec))
    assert each.run(each.adapter._clients.of(each.spec)) is not client


def test_what_is_not_offered_is_said(each: VenueSetup) -> None:
    can = each.adapter.capabilities(each.spec)
    assert (can.what_if, can.event_stream, can.quotes, can.price_stream) == (
        False, False, True, True,
    )  # fmt: skip

    async def first() -> None:
        await anext(each.adapter.stream_events())

    for call in (each.adapter.what_if(each.spec, each.order()), first()):
        with pytest.raises(ReadFailed) as failed:
            each.run(call)
        assert failed.value.code is Code.NOT_SUPPORTED


# ---- what an owner fills in ---------------------------------------------------------------------
def test_the_form_takes_what_the_adapter_reads(each: VenueSetup) -> None:
    said = {**each.spec.settings, "leverage": "3", "points_per_second": "1"}
    assert FORM.validate(said)["symbols"] == [each.symbol]
    assert create().form is FORM
    assert capabilities_of(each.spec) == each.adapter.capabilities(each.spec)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "settings.symbols"),
        ({"symbols": "BTC/USDT", "market": "future"}, "settings.market"),
        ({"symbols": "BTC/USDT", "leverage": 0}, "settings.leverage"),
        ({"symbols": "BTC/USDT", "sandbox": "maybe"}, "settings.sandbox"),
        ({"symbols": "BTC/USDT", "symbol": "x"}, "settings.symbol"),
    ],
)
def test_the_form_says_which_field_is_wrong(said: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInputError) as wrong:
        FORM.validate(said)
    assert wrong.value.field == field
