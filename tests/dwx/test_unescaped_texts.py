"""Texts of others that the expert advisor writes into its JSON as they are."""

import json
from decimal import Decimal as D

import pytest

from brokers.base import Rejected
from brokers.dwx import parse
from brokers.dwx.form import FORM
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.market_data_file import prices
from brokers.dwx.unescaped import TEXT_LENGTH
from brokers.types import OrderType
from common.errors import InvalidInputError
from common.reason_codes import Code
from tests.dwx.factories import Account, exits, raises_outcome

COMMENTS = (
    'say "hi"', "C:\\new\\EA", "ends with \\", 'ends with "', "bell\x07 and\ttab", "\\u12", "{[]}",
    'x", "lots": 9.0, "y": "', '"}, "5": {"magic": 1, "z": "', '"}}', '": {"',
    '", "magic": 7, "a": "',
)  # fmt: skip


NO_NUMBERS = ("nan", "-nan(ind)", "-nan", "inf", "-inf", "-1.#IND", "1.#QNAN0", "NaN", "null")


@pytest.mark.parametrize("comment", COMMENTS)
def test_comment_of_another_order_does_not_hide_ours(account: Account, comment: str) -> None:
    assert len(comment) <= TEXT_LENGTH
    entry = account.buy()
    account.terminal.simulate(
        "order", symbol="EURUSD", lots=0.2, type="sell", comment=comment, magic=0
    )
    found = {
        one.broker_position_id: (one.quantity, one.client_order_id) for one in account.positions()
    }
    assert found == {"1001": (D(10_000), entry.client_order_id), "1002": (D(20_000), "")}
    account.terminal.simulate("end", ticket=1002, mark="")
    account.submit(account.exit("1001"))
    assert {one[1] for one in exits(account)} == {D(10_000), D(20_000)}


@pytest.mark.parametrize("name", ['Zoé "Z"', "C:\\", 'x", "balance": 999999.0, "y": "', "\x00\x1f"])
def test_name_of_the_account_changes_no_amount(name: str) -> None:
    raw = (
        f'{{"account_info": {{"name": "{name}", "number": 4711, "currency": "USD", '
        '"leverage": 100, "free_margin": 9900.0, "balance": 10000.0, "equity": 10000.0}, '
        '"orders": {}}'
    )
    account = parse.snapshot(raw.encode()).account
    assert (account.number, account.balance, account.free_margin) == ("4711", D(10_000), D(9_900))


def line(number: int, **changed: object) -> str:
    fields = {
        "magic": 0, "symbol": "EURUSD", "lots": 0.1, "type": "buy", "open_price": 1.1,
        "open_time": "2026.01.02 03:04:05", "SL": 0.0, "TP": 0.0, "pnl": 0.0, "commission": 0.0,
        "swap": 0.0,
    }  # fmt: skip
    comment = {"comment": changed.pop("comment", "")}  # the last field of both programs
    return f'"{number}": {json.dumps({**fields, **changed, **comment})}'


def orders(*lines: str) -> bytes:
    head = '{"account_info": {"name": "Z", "number": 4711, "currency": "USD", "leverage": 100, '
    rest = '"free_margin": 1.0, "balance": 1.0, "equity": 1.0}, "orders": {'
    return (head + rest + ", ".join(lines) + "}}").encode()


def test_line_of_others_that_cannot_be_read_is_named_and_left_out() -> None:
    found = parse.snapshot(orders(line(1, open_time="never"), line(2, magic=5), line(3, lots="x")))
    assert [one.number for one in found.tickets] == [2]
    assert [one.split(" cannot")[0] for one in found.unread] == ["the line of 1", "the line of 3"]


def test_line_that_may_be_ours_and_cannot_be_read_is_named_in_the_error() -> None:
    with pytest.raises(parse.MalformedError, match="the line of 7 cannot be read"):
        parse.snapshot(orders(line(6), line(7, magic=5, lots="x")))


@pytest.mark.parametrize("comment", COMMENTS)
def test_history_and_messages_keep_texts_of_others(comment: str) -> None:
    closed = {"close_time": "2026.01.02 04:04:05", "close_price": 1.2}
    one, other = line(1, **closed, comment="@"), line(2, magic=5, **closed)
    raw = ("{" + one.replace("@", comment) + ", " + other + "}").encode()
    assert [(t.number, t.lots, t.comment) for t in parse.history(TerminalHistory(), raw)] == [
        (1, D("0.1"), comment), (2, D("0.1"), ""),
    ]  # fmt: skip
    text = (
        '{"5": {"type": "ERROR", "time": "2026.01.02 04:04:05", "error_type": "OPEN_ORDER", '
        f'"description": "Price is zero: {comment}"}}, "6": {{"type": "INFO", '
        '"time": "2026.01.02 04:04:05", "message": "well"}}'
    )
    first, second = parse.messages(text.encode())
    assert (first.kind, first.text, second.text) == (
        "OPEN_ORDER", f"Price is zero: {comment}", "well",
    )  # fmt: skip


@pytest.mark.parametrize("no_number", NO_NUMBERS)
@pytest.mark.parametrize("field", ["pnl", "swap", "commission", "SL"])
def test_double_that_is_no_number_hides_no_position(field: str, no_number: str) -> None:
    """MetaTrader writes it without quotation marks, and the file is no JSON."""
    stated = f'"{field}": 0.0'
    comment = 'a "b": nan, c'
    lines = (line(1), line(2, magic=5, comment="@").replace("@", comment))
    raw = orders(*lines).replace(stated.encode(), f'"{field}": {no_number}'.encode())
    found = parse.snapshot(raw).tickets
    assert [(one.number, one.comment) for one in found] == [(1, ""), (2, comment)]
    assert {(one.swap, one.commission, one.stop_loss) for one in found} == {(D(0), D(0), None)}
    closed = line(1, close_time="2026.01.02 04:04:05", close_price=1.2)
    past = ("{" + closed + "}").replace(stated, f'"{field}": {no_number}').encode()
    assert [one.number for one in parse.history(TerminalHistory(), past)] == [1]


@pytest.mark.parametrize("no_number", NO_NUMBERS)
def test_price_that_is_no_number_hides_no_other(no_number: str) -> None:
    raw = '{"EURUSD": {"bid": @, "ask": 1.2, "tick_value": @}, "XAUUSD": {"bid": 2, "ask": 3}}'
    assert prices(raw.replace("@", no_number).encode()) == {"XAUUSD": (D(2), D(3))}


@pytest.mark.parametrize("field", ["lots", "open_price"])
def test_position_of_no_size_or_price_fails_the_read(field: str) -> None:
    """It would count as closed."""
    raw = orders(line(7, magic=5)).replace(b'"lots": 0.1', b'"lots": @').replace(
        b'"open_price": 1.1', b'"open_price": #'
    )  # fmt: skip
    values = {"lots": (b"nan", b"1.1"), "open_price": (b"0.1", b"nan")}[field]
    for mark, value in zip((b"@", b"#"), values, strict=True):
        raw = raw.replace(mark, value)
    with pytest.raises(parse.MalformedError, match="the line of 7 cannot be read"):
        parse.snapshot(raw)


def test_prices_of_symbols_with_odd_names_are_read() -> None:
    raw = '{"EUR"USD": {"bid": 1.1, "ask": 1.2, "tick_value": 1.0}, "A\\B": {"bid": 2, "ask": 3}}'
    assert prices(raw.encode()) == {'EUR"USD': (D("1.1"), D("1.2")), "A\\B": (D(2), D(3))}


def test_half_written_file_is_not_taken_for_an_odd_one() -> None:
    whole = orders(line(1), line(2, comment='say \\"hi')).decode()
    for cut in range(1, len(whole)):
        with pytest.raises(parse.MalformedError):
            parse.snapshot(whole[:cut].encode())


@pytest.mark.parametrize("name", ['EUR"USD', "EUR\\USD", "EUR|USD", "EUR\nUSD", "EURÜSD", "EUR:>"])
def test_symbol_that_would_break_a_command_is_refused(account: Account, name: str) -> None:
    """The expert advisor reads no escapes: such a name cannot be written to it."""
    symbols = {name: {"pair": "EUR/USD", "contract_size": "100000", "digits": 5}}
    with pytest.raises(InvalidInputError):
        FORM.validate({"folder": "alice", "symbols": symbols})
    account.change_settings(symbols=symbols)
    with raises_outcome(Rejected, Code.UNKNOWN_SYMBOL_AT_BROKER):
        account.submit(
            account.order(symbol=name, order_type=OrderType.LIMIT, limit_price=D("1.05"))
        )
    assert account.terminal.journal() == []
