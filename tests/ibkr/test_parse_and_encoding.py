"""Parsing of TWS's messages and encoding of ours, without a network."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from ib_async.contract import Contract, ContractDetails
from ib_async.objects import Execution as TheirExecution
from ib_async.order import Order, OrderState
from ib_async.util import UNSET_DOUBLE

from brokers.ibkr import codes, contracts, parse
from brokers.ibkr.order_encoding import contract_of
from brokers.ibkr.order_records import Record
from brokers.types import OrderType, ReportKind, Side, TimeInForce, WhatIf
from common.reason_codes import Code

EUR = Contract(secType="CASH", symbol="EUR", currency="USD", exchange="IDEALPRO", conId=5)
ES = Contract(
    secType="FUT", symbol="ES", currency="USD", multiplier="50", conId=6,
    lastTradeDateOrContractMonth="20261218", localSymbol="ESZ6",
)  # fmt: skip
APPLE = Contract(secType="STK", symbol="AAPL", currency="USD", conId=265598, localSymbol="AAPL")


def record(**changed: object) -> Record:
    made = Record("c1", "abcd1", "")
    for name, value in changed.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (1.1002, Decimal("1.1002")), ("0.1", Decimal("0.1")), (UNSET_DOUBLE, None), ("", None),
        (None, None), (0.0, Decimal(0)), (20000.0, Decimal(20000)),
    ],
)  # fmt: skip
def test_tws_numbers_are_parsed(raw: object, expected: Decimal | None) -> None:
    assert parse.to_decimal(raw) == expected


def test_invalid_number_is_refused() -> None:
    for raw in ("inf", "NaN", float("nan")):
        with pytest.raises(ValueError):
            parse.to_decimal(raw)
    assert parse.price(0.0) is None
    assert parse.price(1.5) == Decimal("1.5")


def test_numbers_are_encoded_without_exponents() -> None:
    numbers = ["1E+5", "0.00100", "20000", "1.50", "-0.5"]
    plain = ["100000", "0.001", "20000", "1.5", "-0.5"]
    assert [parse.encode_number(Decimal(number)) for number in numbers] == plain


def test_our_order_references_are_recognised() -> None:
    assert parse.parse_order_ref("abc00000000000001") == ("abc00000000000001", "")
    assert parse.parse_order_ref("abc00000000000001:sl") == ("abc00000000000001", "sl")
    assert [parse.parse_order_ref(ref) for ref in ("", "By Hand", "abcd1:xx", "a" * 19)] == [
        None
    ] * 4


def test_execution_and_its_repetitions() -> None:
    when = datetime(2026, 11, 20, 12, tzinfo=timezone(timedelta(hours=-5)))
    execution = TheirExecution(execId="0000e0d5.65.01.03", shares=2.0, price=5000.25, time=when)
    fill = parse.fill_of(execution, Decimal(50))
    assert (fill.broker_fill_id, fill.correction) == ("0000e0d5.65.01", 3)
    assert (fill.quantity, fill.price) == (Decimal(100), Decimal("5000.25"))
    assert fill.time == datetime(2026, 11, 20, 17, tzinfo=UTC)
    (whole,) = fill.executions()
    assert (whole.revision, whole.commission, whole.is_commission_only) == (4, Decimal(0), False)
    fill.may_be_stored = True
    assert fill.executions() == (whole,)  # there is no commission that it could lack
    fill.commission, fill.currency = Decimal(0), "USD"
    whole, late = fill.executions()
    assert (whole.is_commission_only, late) == (False, replace(whole, is_commission_only=True))
    odd = parse.fill_of(TheirExecution(execId="odd", shares=1.0, price=1.0, time=when), Decimal(1))
    assert (odd.broker_fill_id, odd.correction) == ("odd", 1)
    cases: list[dict[str, Any]] = [
        {"execId": ""}, {"shares": UNSET_DOUBLE}, {"price": UNSET_DOUBLE}, {"shares": -1.0},
    ]  # fmt: skip
    for wrong in cases:
        good: dict[str, Any] = {"execId": "a.1", "shares": 1.0, "price": 1.0}
        with pytest.raises(ValueError):
            parse.fill_of(TheirExecution(**{**good, **wrong}), Decimal(1))
    assert (parse.execution_side("BOT"), parse.execution_side("SLD")) == (Side.BUY, Side.SELL)


def test_order_updates_its_record() -> None:
    stop = record(limit_price=Decimal(1))
    parse.update_from_order(
        stop, ES,
        Order(permId=9, action="SELL", orderType="STP", tif="GTC", totalQuantity=2.0,
              auxPrice=4990.0, ocaGroup="g", parentId=4),
        Decimal(50),
    )  # fmt: skip
    assert (stop.perm_id, stop.con_id, stop.side) == (9, 6, Side.SELL)
    assert (stop.quantity, stop.stop_price, stop.oca_group) == (Decimal(100), Decimal(4990), "g")
    assert (stop.order_type, stop.time_in_force) == (OrderType.STOP, TimeInForce.GTC)
    bought = record(perm_id=3, quantity=Decimal(7))
    parse.update_from_order(
        bought, EUR, Order(action="BUY", orderType="LMT", tif="OPG", lmtPrice=1.1), Decimal(1)
    )
    assert (bought.perm_id, bought.quantity, bought.limit_price) == (
        3, Decimal(7), Decimal("1.1"),
    )  # fmt: skip
    assert bought.time_in_force is TimeInForce.DAY
    waiting = record()
    parse.update_from_order(
        waiting, EUR,
        Order(action="BUY", orderType="STP LMT", tif="GTD", goodTillDate="20300101-00:00:00",
              lmtPrice=1.2, auxPrice=1.1),
        Decimal(1),
    )  # fmt: skip
    assert (waiting.order_type, waiting.time_in_force) == (OrderType.STOP_LIMIT, TimeInForce.GTD)
    assert (waiting.stop_price, waiting.limit_price) == (Decimal("1.1"), Decimal("1.2"))
    assert waiting.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert parse.expiry_of("20300101 00:00:00 US/Eastern") is None
    trailing = record()
    parse.update_from_order(
        trailing, EUR,
        Order(action="SELL", orderType="TRAIL", auxPrice=0.005, trailStopPrice=1.095), Decimal(1),
    )  # fmt: skip
    assert (trailing.order_type, trailing.limit_price) == (OrderType.TRAILING_STOP, None)
    assert (trailing.trail_distance, trailing.stop_price) == (Decimal("0.005"), Decimal("1.095"))
    odd = record()
    parse.update_from_order(odd, EUR, Order(action="BUY", orderType="TRAIL LIMIT"), Decimal(1))
    assert odd.order_type is None


@pytest.mark.parametrize(
    ("seconds", "cancelling", "ended"),
    [
        (-1, False, ReportKind.CANCELLED), (0, False, ReportKind.EXPIRED),
        (1, False, ReportKind.EXPIRED), (1, True, ReportKind.CANCELLED),
    ],
)  # fmt: skip
def test_cancelled_order_past_its_expiry_has_expired(
    seconds: int, cancelling: bool, ended: ReportKind
) -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    waiting = record(time_in_force=TimeInForce.GTD, expires_at=end, cancelling=cancelling)
    parse.update_from_status(waiting, "Cancelled", end + timedelta(seconds=seconds))
    assert waiting.ended is ended
    assert (waiting.code is Code.TIME_IN_FORCE_ENDED) is (ended is ReportKind.EXPIRED)


@pytest.mark.parametrize(
    ("status", "accepted", "ended"),
    [
        ("PendingSubmit", False, None), ("ApiPending", False, None), ("PreSubmitted", True, None),
        ("Submitted", True, None), ("PendingCancel", True, None),
        ("Filled", True, ReportKind.FILLED), ("Cancelled", False, ReportKind.CANCELLED),
        ("ApiCancelled", False, ReportKind.CANCELLED), ("Tomorrow's", False, None),
    ],
)  # fmt: skip
def test_statuses(status: str, accepted: bool, ended: ReportKind | None) -> None:
    moved = record()
    parse.update_from_status(moved, status)
    assert (moved.accepted, moved.ended) == (accepted, ended)


def test_statuses_that_require_a_sync() -> None:
    asked = record()
    parse.update_from_status(asked, "Inactive")
    assert (asked.in_doubt, asked.ended) == (True, None)
    parse.update_from_status(asked, "Submitted")
    assert not asked.in_doubt
    over = record(ended=ReportKind.REJECTED)
    parse.update_from_status(over, "Inactive")
    parse.update_from_status(over, "Cancelled")
    assert (over.in_doubt, over.ended) == (False, ReportKind.REJECTED)
    hurried = record(time_in_force=TimeInForce.FOK)
    parse.update_from_status(hurried, "Cancelled")
    assert (hurried.ended, hurried.code) == (ReportKind.EXPIRED, Code.NO_PRICE_WITHIN_LIMIT)
    stopped = record(time_in_force=TimeInForce.IOC, cancelling=True)
    parse.update_from_status(stopped, "Cancelled")
    assert stopped.ended is ReportKind.CANCELLED


def test_the_list_of_ended_orders() -> None:
    refused = record(in_doubt=True)
    parse.update_from_completed(refused, OrderState(status="Inactive", completedStatus="no"), None)
    assert (refused.ended, refused.detail) == (ReportKind.REJECTED, "no")
    part = record()
    parse.update_from_completed(part, OrderState(status="Cancelled"), Decimal(5))
    assert (part.ended, part.filled) == (ReportKind.CANCELLED, Decimal(5))


def details(contract: Contract, **fields: object) -> ContractDetails:
    return ContractDetails(contract=contract, **fields)  # type: ignore[arg-type]


def test_instruments() -> None:
    pair = parse.instrument(
        "EURUSD", details(EUR, minTick=0.00005, minSize=0.01, sizeIncrement=0.01), {}
    )
    assert (pair.pair, pair.digits, pair.pip) == ("EUR/USD", 5, Decimal("0.0001"))
    assert (pair.quantity_min, pair.margin_rate) == (Decimal("0.01"), Decimal("0.05"))
    yen = Contract(secType="CASH", symbol="USD", currency="JPY")
    assert parse.instrument("USDJPY", details(yen, minTick=0.005), {}).pip == Decimal("0.01")
    future = parse.instrument("ES 202612", details(ES, minTick=0.25), {"margin_rates": {}})
    assert (future.quantity_step, future.contract_size, future.pip) == (
        Decimal(50), Decimal(50), Decimal("0.25"),
    )  # fmt: skip
    own = parse.instrument(
        "ES 202612", details(ES, minTick=0.25), {"margin_rates": {"ES 202612": "0.07"}}
    )
    assert own.margin_rate == Decimal("0.07")
    with pytest.raises(ValueError):
        parse.instrument("X", details(EUR), {})


@pytest.mark.parametrize(
    ("settled", "settled_only", "free"),
    [("300", True, "300"), ("900", True, "800"), ("300", False, "800"), (None, True, "800")],
)
def test_cash_account_has_its_settled_cash(
    settled: str | None, settled_only: bool, free: str
) -> None:
    values = {"NetLiquidation": ("1000", "USD"), "AvailableFunds": ("800", "USD")}
    if settled is not None:
        values["SettledCash"] = (settled, "USD")
    state = parse.account_state(
        "DU1", values, datetime.now(UTC), allowed=True, settled_only=settled_only
    )
    assert state.free_margin == Decimal(free)


def test_cash_account_pays_shares_in_full() -> None:
    share = details(Contract(secType="STK", symbol="AAPL", currency="USD"), minTick=0.01)
    assert parse.instrument("AAPL", share, {}).margin_rate == Decimal("0.5")
    assert parse.instrument("AAPL", share, {"cash_account": True}).margin_rate == 1
    own = {"cash_account": True, "margin_rates": {"AAPL": "0.3"}}
    assert parse.instrument("AAPL", share, own).margin_rate == Decimal("0.3")


def test_trading_hours_are_those_in_which_orders_execute() -> None:
    listed = details(
        EUR, minTick=0.01, timeZoneId="America/New_York",
        liquidHours="20261125:0930-20261125:1600", tradingHours="20261125:0400-20261125:2000",
    )  # fmt: skip
    regular = parse.instrument("X", listed, {}).hours
    extended = parse.instrument("X", listed, {"outside_rth": True}).hours
    assert regular
    assert extended
    assert regular.open == ((1795617000, 1795640400),)
    assert extended.open == ((1795597200, 1795654800),)
    assert parse.instrument("X", details(EUR, minTick=0.01), {}).hours is None


def test_positions() -> None:
    short = parse.position("ES 202612", ES, Decimal(-2), Decimal("250012.5"))
    assert (short.side, short.quantity, short.entry_price) == (
        Side.SELL, Decimal(100), Decimal("5000.25"),
    )  # fmt: skip
    assert parse.position("EURUSD", EUR, Decimal(1), Decimal("1.1")).side is Side.BUY


def test_accounts() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    state = parse.account_state("DU1", {"NetLiquidation": ("100", "CHF")}, now, allowed=False)
    assert (state.currency, state.free_margin, state.trading_allowed) == (
        "CHF",
        Decimal(100),
        False,
    )
    with pytest.raises(KeyError):
        parse.account_state("DU1", {}, now, allowed=True)
    with pytest.raises(ValueError):
        parse.account_state("DU1", {"NetLiquidation": ("", "USD")}, now, allowed=True)
    assert [parse.is_paper(one) for one in ("DU1", "DF1", "U1")] == [True, True, False]


@pytest.mark.parametrize(
    ("number", "text", "code"),
    [
        (201, "Order rejected - reason:Insufficient margin", Code.NO_MONEY),
        (201, "Order rejected - reason:the exchange is closed.", Code.MARKET_CLOSED),
        (201, "No trading permission", Code.SYMBOL_TRADING_DISABLED),
        (201, "Your account has been restricted from placing orders", Code.TRADING_DISABLED),
        (201, "Contract is not available for short sale", Code.SIDE_NOT_ALLOWED),
        (412, "The contract is not available for trading", Code.SYMBOL_TRADING_DISABLED),
        (201, "The account may not hold fractions of it", Code.REJECTED_BY_BROKER),
        (201, "minimum size for IDEALPRO", Code.VOLUME_INVALID),
        (201, "Invalid account code", Code.UNKNOWN_ACCOUNT),
        (201, "Order rejected - reason:OCA group is already filled.", Code.NO_POSITION),
        (201, "OCA group 'g' contains orders of another group", Code.REJECTED_BY_BROKER),
        (201, "whatever", Code.REJECTED_BY_BROKER),
        (321, "The API interface is currently in Read-Only mode.", Code.TRADING_DISABLED),
        (110, "margin", Code.PRICE_INVALID), (200, "", Code.UNKNOWN_SYMBOL_AT_BROKER),
        (202, "cancelled", None), (10999, "insufficient margin", None),
    ],
)  # fmt: skip
def test_only_listed_numbers_refuse(number: int, text: str, code: Code | None) -> None:
    assert codes.rejection_code(number, text) is code


def test_notices() -> None:
    assert [codes.is_notice(n) for n in (399, 10349, 2104, 2199, 2200, 201)] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("symbol", "mapped", "expected"),
    [
        ("EURUSD", None, ("CASH", "EUR", "USD", "IDEALPRO", "")),
        ("EUR.USD", {}, ("CASH", "EUR", "USD", "IDEALPRO", "")),
        ("EURUSD", {"secType": "CFD"}, ("CFD", "EUR", "USD", "SMART", "")),
        ("AAPL", None, ("STK", "AAPL", "USD", "SMART", "")),
        ("ES 202612", None, ("FUT", "ES", "USD", "CME", "202612")),
        ("DAX", {"secType": "FUT", "exchange": "EUREX", "currency": "EUR",
                 "lastTradeDateOrContractMonth": 202612}, ("FUT", "DAX", "EUR", "EUREX", "202612")),
        ("GOOGLE", {"symbol": "GOOGL"}, ("STK", "GOOGL", "USD", "SMART", "")),
    ],
)  # fmt: skip
def test_contract_is_built_from_map_or_symbol(
    symbol: str, mapped: dict[str, object] | None, expected: tuple[str, ...]
) -> None:
    settings = {} if mapped is None else {"symbols": {symbol: mapped}}
    c = contract_of(symbol, settings)
    found = (c.secType, c.symbol, c.currency, c.exchange, c.lastTradeDateOrContractMonth)
    assert found == expected


@pytest.mark.parametrize(
    ("symbol", "mapped"),
    [("AAPL", {"sectype": "STK"}), ("AAPL", {"conId": "many"}), ("ZZ 202612", {}),
     ("X", {"secType": "OPT"})],
)  # fmt: skip
def test_invalid_symbol_map_is_refused(symbol: str, mapped: dict[str, object]) -> None:
    with pytest.raises(contracts.InvalidSymbolError):
        contract_of(symbol, {"symbols": {symbol: mapped}})


def test_unmapped_contracts_get_default_symbols() -> None:
    stock = Contract(secType="STK", symbol="AAPL")
    named = [contracts.symbol_of(one, {}) for one in (EUR, ES, stock)]
    assert named == ["EURUSD", "ES 202612", "AAPL"]
    assert contracts.traded_symbols({"symbols": {"AAPL": {}}}) == ("AAPL",)
    assert "EURUSD" in contracts.traded_symbols({})


@pytest.mark.parametrize(
    ("symbol", "mapped", "contract", "may_match"),
    [
        ("EUR/USD", {}, EUR, True),
        ("EURUSD", "CFD", EUR, False),
        ("EURGBP", {}, EUR, False),
        ("FRONT", {"secType": "FUT", "symbol": "ES", "exchange": "CME", "currency": "USD"},
         ES, True),
        ("ES 202612", {}, ES, True),
        ("ES-20261218", {}, ES, True),  # IBKR knows the day of the month
        ("ES 202703", {}, ES, False),
        ("FRONT", {"secType": "FUT", "exchange": "CME", "currency": "USD", "localSymbol": "ESZ6"},
         ES, True),
        ("FRONT", {"secType": "FUT", "exchange": "CME", "currency": "USD", "localSymbol": "ESH7"},
         ES, False),
        ("MINE", {"secType": "STK", "conId": 265598}, APPLE, True),
        ("AAPL", {"secType": "STK", "conId": 1}, APPLE, False),
        ("MINE", {"secType": "STK", "secIdType": "ISIN", "secId": "US0378331005"}, APPLE, True),
        ("aapl", {"secType": "STK"}, APPLE, True),
        ("MINE", {"secType": "STK"}, APPLE, False),
        ("AAPL", {"secType": "OPT"}, APPLE, False),  # not a supported contract
    ],
)  # fmt: skip
def test_only_symbols_that_may_match_a_contract_are_requested(
    symbol: str, mapped: object, contract: Contract, may_match: bool
) -> None:
    assert (
        contracts.possible_symbols(contract, {"symbols": {symbol: mapped}}) == [symbol] * may_match
    )
    assert contracts.possible_symbols(contract, {}) == []


def test_what_if_margin_and_commission() -> None:
    state = OrderState(
        initMarginChange="2000.5", maintMarginChange="1.7976931348623157E308", commission=2.0,
        commissionCurrency="USD",
    )  # fmt: skip
    estimate = parse.what_if(state, "USD", {})
    assert estimate == WhatIf(Decimal("2000.5"), None, Decimal("2.0"), "USD")
    in_euro = parse.what_if(state, "EUR", {"USD": Decimal("0.9")})
    assert (in_euro.commission, in_euro.currency) == (Decimal("1.80"), "EUR")
    assert parse.what_if(state, "EUR", {}).commission is None  # no rate to euro
    with pytest.raises(ValueError, match="no margin"):
        parse.what_if(OrderState(), "USD", {})


def test_exchange_rates() -> None:
    values = [("ExchangeRate", "1.1", "EUR", "DU1"), ("Cushion", "1", "", "DU1"),
            ("ExchangeRate", "", "CHF", "DU1")]  # fmt: skip
    assert parse.exchange_rates(values) == {"EUR": Decimal("1.1")}


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        ("20300101 05:59:59 US/Central", ReportKind.CANCELLED),  # a second before its expiry
        ("20300101 06:00:00 US/Central", ReportKind.EXPIRED),
        ("20300101-11:59:59", ReportKind.CANCELLED),
        ("20300101-12:00:00", ReportKind.EXPIRED),
        ("", ReportKind.EXPIRED),
        ("20300101 05:59:59 Nowhere", ReportKind.EXPIRED),
        ("20300101 05:59:59", ReportKind.EXPIRED),
        ("yesterday", ReportKind.EXPIRED),
    ],
)
def test_order_that_ended_before_its_expiry_was_cancelled_though_read_later(
    ended: str, kind: ReportKind
) -> None:
    end = datetime(2030, 1, 1, 12, tzinfo=UTC)
    waiting = record(time_in_force=TimeInForce.GTD, expires_at=end)
    state = OrderState(status="Cancelled", completedTime=ended)
    parse.update_from_completed(waiting, state, None, end + timedelta(hours=1))
    assert waiting.ended is kind
