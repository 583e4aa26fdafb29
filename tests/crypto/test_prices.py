"""Quotes, sessions and calls that an exchange does not support."""

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
from tests.crypto.factories import D, ExchangeAccount, account, any_account
from tests.fakes.exchange.venue import Fault

__all__ = ["account", "any_account"]


def test_quote_is_best_bid_and_ask_of_the_pair(account: ExchangeAccount) -> None:
    quote = account.run(account.adapter.quote(account.spec, account.symbol))
    assert (quote.symbol, quote.bid, quote.ask) == ("BTC/USDT", D("50000.0"), D("50000.1"))
    assert quote.time.tzinfo is not None


def test_empty_book_has_no_quote(account: ExchangeAccount) -> None:
    account.venue.book_is_empty = True
    with pytest.raises(ReadFailed) as failed:
        account.run(account.adapter.quote(account.spec, account.symbol))
    assert failed.value.code is Code.MARKET_CLOSED
    (report,) = account.submit(account.order())
    assert report.fills == ()  # nothing was executed, and no fill is inferred


def test_unlisted_symbol_has_no_quote(any_account: ExchangeAccount) -> None:
    with pytest.raises(ReadFailed) as failed:
        any_account.run(any_account.adapter.quote(any_account.spec, "ETH/USDT"))
    assert failed.value.code is Code.UNKNOWN_SYMBOL_AT_BROKER


def test_stream_yields_changed_quotes(
    account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "POLL_SECONDS", 0.01)

    async def read_stream() -> list[Quote]:
        stream = account.adapter.stream_quotes(account.spec, [account.symbol])
        first = await anext(stream)
        account.venue.prices[account.exchange_symbol] = D("51000.0")
        async for quote in stream:
            if quote.bid != first.bid:
                return [first, quote]
        raise AssertionError

    first, second = account.run(asyncio.wait_for(read_stream(), 60))
    assert (first.bid, second.bid) == (D("50000.0"), D("51000.0"))


def test_stream_ends_with_the_error(any_account: ExchangeAccount) -> None:
    any_account.load_markets()
    any_account.venue.faults.append(Fault("status", 503, "<html>", on="read"))

    async def read_stream() -> None:
        async for _ in any_account.adapter.stream_quotes(any_account.spec, [any_account.symbol]):
            pass

    with pytest.raises(ReadFailed):
        any_account.run(read_stream())


def test_stream_leaves_out_empty_books(any_account: ExchangeAccount) -> None:
    any_account.venue.book_is_empty = True
    client = any_account.run(any_account.adapter._clients.get(any_account.spec))
    assert any_account.run(prices.quotes(client, symbols=[any_account.symbol])) == []


# ---- sessions ---------------------------------------------------------------------------------
def test_connect_reports_refused_key(any_account: ExchangeAccount) -> None:
    any_account.run(any_account.adapter.connect(any_account.spec))
    any_account.run(any_account.adapter.disconnect(any_account.spec))
    any_account.venue.key = "another"
    with pytest.raises(ReadFailed) as failed:
        any_account.run(any_account.adapter.connect(any_account.spec))
    assert failed.value.code is Code.CREDENTIALS_REFUSED


def test_disconnected_account_gets_new_client_and_others_keep_theirs(
    any_account: ExchangeAccount,
) -> None:
    client = any_account.run(any_account.adapter._clients.get(any_account.spec))
    elsewhere = ConnectionSpec("another", "main", any_account.spec.exchange_name)
    any_account.run(any_account.adapter.disconnect(elsewhere))
    assert any_account.run(any_account.adapter._clients.get(any_account.spec)) is client
    any_account.run(any_account.adapter.disconnect(any_account.spec))
    assert any_account.run(any_account.adapter._clients.get(any_account.spec)) is not client


def test_unsupported_calls_raise_not_supported(any_account: ExchangeAccount) -> None:
    can = any_account.adapter.capabilities(any_account.spec)
    assert (can.what_if, can.event_stream, can.quotes, can.price_stream) == (
        False, False, True, True,
    )  # fmt: skip

    async def first() -> None:
        await anext(any_account.adapter.stream_events())

    for call in (any_account.adapter.what_if(any_account.spec, any_account.order()), first()):
        with pytest.raises(ReadFailed) as failed:
            any_account.run(call)
        assert failed.value.code is Code.NOT_SUPPORTED


# ---- the connection form ----------------------------------------------------------------------
def test_form_accepts_adapter_settings(any_account: ExchangeAccount) -> None:
    fields = {**any_account.spec.settings, "leverage": "3", "points_per_second": "1"}
    assert FORM.validate(fields)["symbols"] == [any_account.symbol]
    assert create().form is FORM
    assert capabilities_of(any_account.spec) == any_account.adapter.capabilities(any_account.spec)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "settings.symbols"),
        ({"symbols": "BTC/USDT", "market": "future"}, "settings.market"),
        ({"symbols": "BTC/USDT", "leverage": 0}, "settings.leverage"),
        ({"symbols": "BTC/USDT", "sandbox": "maybe"}, "settings.sandbox"),
        ({"symbols": "BTC/USDT", "symbol": "x"}, "settings.symbol"),
    ],
)
def test_form_names_the_wrong_field(settings: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInputError) as wrong:
        FORM.validate(settings)
    assert wrong.value.field == field
