"""Parsing the files of the expert advisor."""

import json
from datetime import datetime
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.dwx import codes, market_data_file, parse
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.parse import MalformedError, Message
from brokers.types import CloseCause, OrderType, Side
from tests.dwx.file_samples import ACCOUNT, CID, ORDER, closed, orders, ticket


def test_open_position_is_parsed() -> None:
    entry = ticket()
    assert (entry.number, entry.symbol, entry.lots) == (5, "EURUSD", D("0.1"))
    assert (entry.side, entry.order_type, entry.is_position) == (Side.BUY, OrderType.MARKET, True)
    assert (entry.price, entry.stop_loss, entry.take_profit) == (D("1.1001"), D("1.09"), None)
    assert entry.opened_at == datetime(2026, 11, 20, 17, 57, 12)  # noqa: DTZ001
    assert (entry.commission, entry.closed_at) == (D("-0.7"), None)
    assert not ticket(type="sellstop").is_position


def test_account_is_parsed() -> None:
    account = parse.snapshot(orders()).account
    assert (account.number, account.currency, account.leverage) == ("4711", "USD", D(100))
    assert (account.balance, account.equity, account.free_margin) == (D(2), D(3), D("1.5"))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b'"x"', b"{}", b'{"account_info": {}}', orders()[:-3], orders(lots="x"),
        orders(lots=None), orders(lots=float("nan")), orders(magic="x"),
        orders(open_time="yesterday"),
        b'{"account_info": {"equity": -nan}}', b"\xff\xfe{",
    ],
)  # fmt: skip
def test_malformed_orders_file_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse.snapshot(raw)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "utf-8-sig"])
def test_messages_are_read_in_any_encoding(encoding: str) -> None:
    raw = json.dumps({"1": {"type": "INFO", "message": "Zoé"}}, ensure_ascii=False).encode(encoding)
    assert parse.messages(raw) == [Message(1, "", "Zoé")]


def test_orders_file_of_metatrader_5_is_refused() -> None:
    order = {key: value for key, value in ORDER.items() if key != "commission"}
    raw = json.dumps({"account_info": ACCOUNT, "orders": {"5": order}}).encode()
    with pytest.raises(MalformedError, match="MetaTrader 5"):
        parse.snapshot(raw)


def test_history_is_parsed() -> None:
    past = closed(comment="to #6")
    assert (past.close_price, past.remainder, past.origin) == (D("1.1"), 6, None)
    assert past.closed_at == datetime(2026, 11, 20, 18)  # noqa: DTZ001
    assert (
        parse.history(TerminalHistory(), b'{"7": {"type": "unknown", "comment": "Deposit"}}') == ()
    )
    for raw in (b'{"7": 5}', b'{"7": {"type": "buy"}}', b"[]"):
        with pytest.raises(MalformedError):
            parse.history(TerminalHistory(), raw)
    with pytest.raises(MalformedError, match="MetaTrader 5"):
        parse.history(TerminalHistory(), b'{"7": {"deal_price": 1.1}}')


def test_messages_are_sorted() -> None:
    raw = {
        "20": {"type": "ERROR", "time": "", "error_type": "OPEN_ORDER", "description": "d"},
        "3": {
            "type": "INFO",
            "time": "",
            "message": "Successfully sent order 77: E, buy, 0.1, 1.1",
        },
    }
    first, second = parse.messages(json.dumps(raw).encode())
    assert (first.key, first.kind) == (3, "")
    assert (second.kind, second.text) == ("OPEN_ORDER", "d")
    for malformed in (b'{"x": {"type": "INFO", "message": ""}}', b'{"1": {}}', b'{"1": 4}'):
        with pytest.raises(MalformedError):
            parse.messages(malformed)


def test_prices_and_refused_symbols_are_parsed() -> None:
    prices = market_data_file.prices(b'{"EURUSD": {"bid": 1.1, "ask": 1.2}}')
    assert prices == {"EURUSD": (D("1.1"), D("1.2"))}
    for raw in (b'{"EURUSD": {"bid": 1}}', b'{"EURUSD": 5}', b'{"EURUSD": {"bid": "x", "ask": 1}}'):
        with pytest.raises(MalformedError):
            market_data_file.prices(raw)
    odd = b'{"EURUSD": {"bid": 1.1, "ask": 1.2}, "X": {"bid": NaN, "ask": 1}, "Y": 5}'
    assert market_data_file.prices(odd) == prices  # one symbol does not hide the others
    text = "Could not subscribe to symbols: A, B.m"
    assert codes.refused_symbols(Message(1, "SUBSCRIBE_SYMBOL", text)) == ["A", "B.m"]


def test_tick_values_are_parsed() -> None:
    assert market_data_file.tick_values(b'{"EURUSD": {"bid": 1, "tick_value": 1.00000}}') == {
        "EURUSD": 1
    }
    with pytest.raises(MalformedError):
        market_data_file.tick_values(b'{"EURUSD": {}}')


def test_limits_are_read_from_text() -> None:
    text = "Lot size out of range (min: 0.010000, max: 100.000000): 0.000000"
    assert codes.stated_limits(Message(1, "", text)) == (D("0.01"), D(100), D(0))
    text = "Number of orders (3) larger than or equal to MaximumOrders (1)."
    assert codes.stated_limits(Message(1, "", text)) == (D(3), D(1))


def test_magic_numbers_are_positive_int32_of_the_whole_id() -> None:
    magics = {parse.magic_of(f"abc{number:015}") for number in range(20_000)}
    assert len(magics) >= 19_999
    assert min(magics) > 0
    assert max(magics) < 2**31
    assert parse.magic_of(CID) != parse.magic_of(CID[:-1] + "1")  # attempts differ


def test_client_order_id_of_ticket() -> None:
    other = parse.magic_of("x")
    assert parse.client_order_id_of(ticket(), {}) == CID
    assert parse.client_order_id_of(ticket(comment="from #4"), {parse.magic_of(CID): CID}) == CID
    assert parse.client_order_id_of(ticket(comment="from #4"), {}) == ""
    assert parse.client_order_id_of(ticket(magic=0, comment="hand"), {0: "y"}) == ""
    assert parse.client_order_id_of(ticket(magic=other), {other: "x"}) == "x"
    assert parse.client_order_id_of(ticket(comment=f"{CID}[sl]"), {}) == CID
    assert parse.is_order(ticket(), CID)
    assert parse.is_order(ticket(comment="cut"), CID)
    assert parse.is_order(ticket(magic=0), CID)
    assert not parse.is_order(ticket(magic=other), CID)
    assert not parse.is_order(ticket(magic=0, comment="hand"), CID)
    assert ticket(comment="from #4").origin == 4


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"comment": f"{CID}[sl]"}, CloseCause.STOP_LOSS),
        ({"comment": "[tp 1.12]"}, CloseCause.TAKE_PROFIT),
        ({"close_price": 1.09}, CloseCause.STOP_LOSS),
        ({"close_price": 1.12, "TP": 1.12}, CloseCause.TAKE_PROFIT),
        ({}, CloseCause.EXTERNAL),
    ],
)
def test_close_cause_of_ticket(fields: dict[str, Any], cause: CloseCause) -> None:
    assert parse.cause_of(closed(**fields)) is cause


def test_prices_are_compared_to_five_decimals() -> None:
    assert parse.is_same_price(D("1.1"), D("1.100004"))
    assert not parse.is_same_price(D("1.1"), D("1.10001"))
    assert parse.is_same_price(None, None)
    assert not parse.is_same_price(None, D(1))
    assert not parse.is_same_price(D(1), None)
