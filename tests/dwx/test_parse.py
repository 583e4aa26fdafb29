"""Their words into ours, without a terminal."""

import json
import time
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.dwx import codes, disk, ledger, parse
from brokers.dwx.files import Pulse, signature
from brokers.dwx.ledger import CLOSE, OPEN, Intent, Ledger
from brokers.dwx.lots import LotsError, lots_of, symbols_of
from brokers.dwx.parse import MalformedError, Message
from brokers.dwx.patience import Patience
from brokers.dwx.times import Zone
from brokers.messages import CloseCause, OrderType, Side
from common.codes import Code

CID = "abc000000000000010"
ORDER = {
    "magic": parse.magic_of(CID), "symbol": "EURUSD", "lots": 0.1, "type": "buy",
    "open_price": 1.1001, "open_time": "2026.11.20 17:57:12", "SL": 1.09, "TP": 0.0, "pnl": -0.09,
    "commission": -0.7, "swap": 0.0, "comment": CID,
}  # fmt: skip
ACCOUNT = {
    "name": "Z", "number": 4711, "currency": "USD", "leverage": 100, "free_margin": 1.5,
    "balance": 2.0, "equity": 3.0,
}  # fmt: skip


def orders(**said: Any) -> bytes:
    return json.dumps({"account_info": ACCOUNT, "orders": {"5": {**ORDER, **said}}}).encode()


def ticket(**said: Any) -> parse.Ticket:
    [found] = parse.snapshot(orders(**said)).tickets
    return found


def closed(**said: Any) -> parse.Ticket:
    past = {"close_time": "2026.11.20 18:00:00", "close_price": 1.1, **said}
    [found] = parse.history(json.dumps({"5": {**ORDER, **past}}).encode())
    return found


def test_an_open_position() -> None:
    found = ticket()
    assert (found.number, found.symbol, found.lots) == (5, "EURUSD", D("0.1"))
    assert (found.side, found.order_type, found.is_position) == (Side.BUY, OrderType.MARKET, True)
    assert (found.price, found.stop_loss, found.take_profit) == (D("1.1001"), D("1.09"), None)
    assert found.opened_at == datetime(2026, 11, 20, 17, 57, 12)  # noqa: DTZ001
    assert (found.commission, found.closed_at) == (D("-0.7"), None)
    assert not ticket(type="sellstop").is_position


def test_an_account() -> None:
    account = parse.snapshot(orders()).account
    assert (account.number, account.currency, account.leverage) == ("4711", "USD", D(100))
    assert (account.balance, account.equity, account.free_margin) == (D(2), D(3), D("1.5"))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b'"x"', b"{}", b'{"account_info": {}}', orders()[:-3], orders(lots="x"),
        orders(lots=None), orders(open_time="yesterday"), orders(magic="x"),
        b'{"account_info": {"equity": -nan}}', b"\xff\xfe{",
    ],
)  # fmt: skip
def test_what_is_not_an_orders_file(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse.snapshot(raw)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "utf-8-sig"])
def test_code_pages(encoding: str) -> None:
    raw = json.dumps({"1": {"type": "INFO", "message": "Zoé"}}, ensure_ascii=False).encode(encoding)
    assert parse.messages(raw) == [Message(1, "", "Zoé")]


def test_an_orders_file_of_metatrader_5() -> None:
    order = {key: value for key, value in ORDER.items() if key != "commission"}
    raw = json.dumps({"account_info": ACCOUNT, "orders": {"5": order}}).encode()
    with pytest.raises(MalformedError, match="MetaTrader 5"):
        parse.snapshot(raw)


def test_a_history() -> None:
    found = closed(comment="to #6")
    assert (found.close_price, found.remainder, found.origin) == (D("1.1"), 6, None)
    assert found.closed_at == datetime(2026, 11, 20, 18)  # noqa: DTZ001
    assert parse.history(b'{"7": {"type": "unknown", "comment": "Deposit"}}') == ()
    for raw in (b'{"7": 5}', b'{"7": {"type": "buy"}}', b"[]"):
        with pytest.raises(MalformedError):
            parse.history(raw)
    with pytest.raises(MalformedError, match="MetaTrader 5"):
        parse.history(b'{"7": {"deal_price": 1.1}}')


def test_messages_in_their_order() -> None:
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
    for bad in (b'{"x": {"type": "INFO", "message": ""}}', b'{"1": {}}', b'{"1": 4}'):
        with pytest.raises(MalformedError):
            parse.messages(bad)


def test_prices_and_names() -> None:
    found = parse.prices(b'{"EURUSD": {"bid": 1.1, "ask": 1.2}}')
    assert found == {"EURUSD": (D("1.1"), D("1.2"))}
    for raw in (b'{"EURUSD": {"bid": 1}}', b'{"EURUSD": 5}', b'{"EURUSD": {"bid": "x", "ask": 1}}'):
        with pytest.raises(MalformedError):
            parse.prices(raw)
    text = "Could not subscribe to symbols: A, B.m"
    assert codes.listed(Message(1, "SUBSCRIBE_SYMBOL", text)) == ["A", "B.m"]


def test_tick_values() -> None:
    assert parse.tick_values(b'{"EURUSD": {"bid": 1, "tick_value": 1.00000}}') == {"EURUSD": 1}
    with pytest.raises(MalformedError):
        parse.tick_values(b'{"EURUSD": {}}')


def test_limits_in_words() -> None:
    text = "Lot size out of range (min: 0.010000, max: 100.000000): 0.000000"
    assert codes.limits(Message(1, "", text)) == (D("0.01"), D(100), D(0))
    text = "Number of orders (3) larger than or equal to MaximumOrders (1)."
    assert codes.limits(Message(1, "", text)) == (D(3), D(1))


def test_magic_numbers_are_positive_int32_and_of_the_whole_id() -> None:
    found = {parse.magic_of(f"abc{number:015}") for number in range(20_000)}
    assert len(found) >= 19_999
    assert min(found) > 0
    assert max(found) < 2**31
    assert parse.magic_of(CID) != parse.magic_of(CID[:-1] + "1")  # attempts differ


def test_whose_ticket_it_is() -> None:
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
    ("said", "cause"),
    [
        ({"comment": f"{CID}[sl]"}, CloseCause.STOP_LOSS),
        ({"comment": "[tp 1.12]"}, CloseCause.TAKE_PROFIT),
        ({"close_price": 1.09}, CloseCause.STOP_LOSS),
        ({"close_price": 1.12, "TP": 1.12}, CloseCause.TAKE_PROFIT),
        ({}, CloseCause.EXTERNAL),
    ],
)
def test_causes(said: dict[str, Any], cause: CloseCause) -> None:
    assert parse.cause_of(closed(**said)) is cause


def test_prices_are_one_as_far_as_five_decimals_show() -> None:
    assert parse.same(D("1.1"), D("1.100004"))
    assert not parse.same(D("1.1"), D("1.10001"))
    assert parse.same(None, None)
    assert not parse.same(None, D(1))
    assert not parse.same(D(1), None)


# ---- codes ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "code"), sorted(codes.BY_EXPERT_ADVISOR.items()))
def test_what_the_expert_advisor_refuses(kind: str, code: Code) -> None:
    outcome = codes.judge(Message(1, kind, "words"))
    assert (type(outcome), outcome.code, outcome.detail) == (Rejected, code, "words")


@pytest.mark.parametrize(("words", "code"), sorted(codes.REJECTED.items()))
def test_what_the_broker_refuses(words: str, code: Code) -> None:
    outcome = codes.judge(Message(1, "OPEN_ORDER", f"Could not open order: {words}"))
    assert (type(outcome), outcome.code) == (Rejected, code)


@pytest.mark.parametrize(("words", "code"), sorted(codes.NOT_SENT.items()))
def test_what_the_terminal_keeps(words: str, code: Code) -> None:
    outcome = codes.judge(Message(1, "CLOSE_ORDER_TICKET", f"Could not close position 5: {words}"))
    assert (type(outcome), outcome.code) == (NotSent, code)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("OPEN_ORDER", "trade timeout"), ("OPEN_ORDER", "no error"), ("NEW", "not enough money")],
)
def test_what_is_in_no_table(kind: str, words: str) -> None:
    outcome = codes.judge(Message(1, kind, f"Could not open order: {words}"))
    assert (type(outcome), outcome.code) == (OutcomeUnknown, Code.REPLY_LOST)
    assert words in outcome.detail


def test_bounds_of_an_unknown_symbol() -> None:
    text = "Lot size out of range (min: 0.000000, max: 0.000000): 0.100000"
    outcome = codes.judge(Message(1, "OPEN_ORDER_LOTSIZE_OUT_OF_RANGE", text))
    assert (type(outcome), outcome.code) == (Rejected, Code.UNKNOWN_SYMBOL_AT_BROKER)


# ---- lots -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("symbol", "pair", "size", "digits", "pip"),
    [
        ("EURUSD", "EUR/USD", 100_000, 5, "0.0001"),
        ("EURUSD.m", "EUR/USD", 100_000, 5, "0.0001"),
        ("mUSDJPY", "USD/JPY", 100_000, 3, "0.01"),
        ("XAUUSD-pro", "XAU/USD", 100, 2, "0.1"),
        ("XAGUSD", "XAG/USD", 5000, 3, "0.01"),
    ],
)
def test_rules_of_lots(symbol: str, pair: str, size: int, digits: int, pip: str) -> None:
    lots = lots_of({}, symbol)
    found = (lots.pair, lots.contract_size, lots.digits, lots.pip)
    assert found == (pair, D(size), digits, D(pip))


def test_lots_and_base_units() -> None:
    lots = lots_of({}, "EURUSD")
    assert lots.lots(D(12000)) == D("0.12")
    assert lots.quantity(D("0.12")) == 12000
    for quantity in ("0", "-1000", "1500", "NaN", "Infinity"):
        assert lots.lots(D(quantity)) is None


def test_prices_are_in_whole_ticks_on_the_safe_side() -> None:
    lots = lots_of({}, "EURUSD")
    assert lots.price(None, Side.BUY, OrderType.LIMIT) == "0"
    assert lots.price(D("1.1234567"), Side.BUY, OrderType.LIMIT) == "1.12345"
    assert lots.price(D("1.12"), Side.SELL, OrderType.LIMIT) == "1.12000"
    assert lots.level(D("1.1234567"), Side.BUY) == "1.12346"
    with pytest.raises(Rejected):
        lots.level(D("0.000001"), Side.SELL)  # "0" would take it away


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "contract_size and digits"),
        ({"contract_size": 1}, "contract_size and digits"),
        ({"contract_size": "x", "digits": 1}, "above zero"),
        ({"contract_size": 0, "digits": 1}, "above zero"),
        ({"contract_size": 1, "digits": 6}, "1 to 5"),
        ({"contract_size": 1, "digits": 1.5}, "1 to 5"),
        ({"contract_size": 1, "digits": 1, "lot_step": "0.001"}, "multiple of 0.01"),
    ],
)
def test_lots_that_nobody_can_know(said: dict[str, Any], words: str) -> None:
    for symbol in ("DAX", "ABCUSD", "EURXYZ"):
        with pytest.raises(LotsError, match=words):
            lots_of({"symbols": {symbol: said}}, symbol)


def test_lots_by_settings() -> None:
    said = {"contract_size": 5, "digits": 1, "pair": "DAX/EUR", "lot_step": "0.1", "lot_max": 9}
    lots = lots_of({"symbols": {"DAX": said}}, "DAX")
    instrument = lots.instrument()
    assert (instrument.pair, instrument.contract_size, instrument.pip) == ("DAX/EUR", D(5), D(1))
    assert (instrument.quantity_min, instrument.quantity_step) == (D("0.5"), D("0.5"))
    assert instrument.quantity_max == 45
    with pytest.raises(LotsError):
        lots_of({}, "EUR USD")


def test_symbols_as_text_list_or_object() -> None:
    assert list(symbols_of({"symbols": " EURUSD, XAUUSD.m;GBPUSD "})) == [
        "EURUSD",
        "XAUUSD.m",
        "GBPUSD",
    ]
    assert list(symbols_of({"symbols": ["EURUSD"]})) == ["EURUSD"]
    assert symbols_of({}) == {}
    wrong: list[Any] = [5, [5], ["a|b"], {"EURUSD": []}]
    for bad in wrong:
        with pytest.raises(LotsError):
            symbols_of({"symbols": bad})


# ---- time, patience, disk -------------------------------------------------------------------
@pytest.mark.parametrize(
    ("zone", "shown", "utc"),
    [
        ("NY+7", (2026, 1, 15, 14), 12),  # UTC+2 in New York's winter
        ("NY+7", (2026, 7, 15, 14), 11),
        ("NY+7", (2026, 3, 15, 14), 11),  # New York's summer, not yet Europe's
        ("UTC+3", (2026, 7, 15, 14), 11),
        ("UTC-4", (2026, 7, 15, 8), 12),
        ("UTC", (2026, 7, 15, 12), 12),
        ("Europe/Athens", (2026, 1, 15, 14), 12),
    ],
)
def test_zones(zone: str, shown: tuple[int, ...], utc: int) -> None:
    at = Zone(zone).utc(datetime(*shown))  # type: ignore[arg-type]  # noqa: DTZ001
    assert (at.tzinfo, at.hour) == (UTC, utc)


def test_zones_with_minutes() -> None:
    shown = datetime(2026, 1, 1, 12)  # noqa: DTZ001
    assert Zone("UTC+5:30").utc(shown).strftime("%H:%M") == "06:30"
    assert Zone("UTC-03:30").utc(shown).strftime("%H:%M") == "15:30"
    for name in ("Mars", "../etc/passwd", "UTC+x"):
        with pytest.raises(ValueError, match="time zone"):
            Zone(name)


def test_patience_is_bounded() -> None:
    said = {"take_seconds": "0", "answer_seconds": 1e9, "stale_seconds": "x"}
    found = Patience.of(said)
    assert (found.take, found.answer, found.stale) == (0.05, 600.0, Patience().stale)


def test_the_age_of_a_file_whose_disk_has_another_clock(tmp_path: Path) -> None:
    import os

    path = tmp_path / "file"
    pulse = Pulse(path)
    assert pulse.age() == float("inf")
    path.write_text("1")
    assert pulse.age() < 5
    for clock in (time.time() - 3600, time.time() + 3600):
        other = Pulse(path)
        os.utime(path, (clock, clock))
        assert other.age() > 600  # not believed, and not seen to change yet
        os.utime(path, (clock + 1, clock + 1))
        assert other.age() < 5  # it was written since our last look
    assert signature(tmp_path / "none") is None


def intent(number: int, **said: Any) -> Intent:
    values = {"what": OPEN, "client_order_id": CID, "magic": 7, "at": time.time(), **said}
    return Intent(number=number, symbol="EURUSD", lots=D("0.1"), **values)


def test_a_ledger_that_is_too_long_forgets_what_had_no_effect_first(
    tmp_path: Path, monkeypatch: Any
) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    for number in range(1, 7):
        book.write(intent(number, at=time.time() - 100 + number))
    for number in (4, 5):
        book.end(number, "refused")
    monkeypatch.setattr(ledger, "REWRITE_ABOVE", 10)
    monkeypatch.setattr(ledger, "MOST_RECORDS", 3)
    book.tidy()
    assert [one.number for one in book.intents()] == [2, 3, 6]
    assert book.last_number() == 6


def test_the_ledger_forgets_only_what_is_old(tmp_path: Path, monkeypatch: Any) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.tidy()  # there is none yet
    assert 0 <= book.last_number() < 1_000_000_000
    old, new = intent(1, at=0.0), intent(2, what=CLOSE, ticket=5)
    for one in (old, new):
        book.write(one)
    book.end(9, "refused")  # of nothing that is known
    book.end(2, "refused")
    book.reserve(3000)
    assert book.last_number() == 3000
    assert ledger.names(book.intents()) == {7: CID}
    assert ledger.closes(book.intents()) == {}
    monkeypatch.setattr(ledger, "REWRITE_ABOVE", 10)
    book.tidy()
    assert [(one.number, one.end) for one in book.intents()] == [(2, "refused")]
    assert book.last_number() == 3000


def test_only_what_is_new_in_the_ledger_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "ledger.jsonl"
    book, read = Ledger(path), 0
    real = disk.read

    def counted(path: Path, begin: int = 0) -> bytes:
        nonlocal read
        raw = real(path, begin)
        read += len(raw)
        return raw

    for number in range(1, 201):
        book.write(intent(number))
    monkeypatch.setattr(disk, "read", counted)
    assert len(book.intents()) == 200
    read, size = 0, path.stat().st_size
    for number in range(201, 211):
        book.write(intent(number))
        assert [one.number for one in book.intents()][-1] == number
    assert read < size / 4


def test_the_ledger_is_read_anew_where_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    book = Ledger(path)
    assert book.intents() == []
    for number in (1, 2):
        book.write(intent(number))
        assert len(book.intents()) == number
    backup = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'\n{"number": 3, "en')  # a torn line
    assert [one.number for one in book.intents()] == [1, 2]
    book.end(2, "refused")
    assert [one.end for one in book.intents()] == ["", "refused"]
    path.write_bytes(backup)
    assert [one.end for one in book.intents()] == ["", ""]
    path.write_bytes(backup.replace(b'"number": 1', b'"number": 8') + b"\n" + b" " * 5_000)
    assert [one.number for one in book.intents()] == [8, 2]
    path.unlink()
    assert book.intents() == []
    path.write_text('{"number": 1, "what": "open"}')
    for _ in range(2):
        with pytest.raises(OSError, match="not ours"):
            book.intents()
