"""Codes, names, lots and requests by themselves: tables whole, readings exact."""

from types import SimpleNamespace
from typing import Any

import pytest

from brokers.base import BrokerError, NotSent, OutcomeUnknown, Rejected
from brokers.mt5 import codes, order_encoding
from brokers.mt5.lots import Lots, cost, decimal, is_price, level, pair_of
from brokers.mt5.order_ids import OrderIds, is_ours, magic_of
from brokers.record_cache import RecordCache
from brokers.types import OrderType, PositionMode, ReportKind, Side, TimeInForce
from common.reason_codes import Code
from execution.ids import new_client_order_id
from tests.fakes.mt5.symbols import symbol
from tests.mt5.factories import CID, EXIT, D, order

K = ReportKind
# enum_trade_return_codes, all of it: 10004 to 10046 without those that do not exist.
PUBLISHED = {*range(10004, 10047)} - {10005, 10037}


# ---- codes -------------------------------------------------------------------------------------
def test_each_published_code_is_in_one_table() -> None:
    tables = [codes.ACCEPTED, codes.AMBIGUOUS, codes.REJECTED.keys(), codes.NOT_SENT.keys()]
    assert sorted(code for table in tables for code in table) == sorted(
        PUBLISHED - {codes.NO_CHANGES}
    )


@pytest.mark.parametrize("retcode", sorted(PUBLISHED | {0, 1, 10005, 10037, 10047, 65535}))
def test_return_code_classification(retcode: int) -> None:
    found = codes.verdict(retcode, "words")
    if retcode in (10008, 10009, 10010):
        assert found is None
        return
    assert found is not None
    wanted: type[BrokerError] = OutcomeUnknown
    if retcode in codes.REJECTED:
        wanted = Rejected
    elif retcode in (10024, 10027):
        wanted = NotSent
    assert isinstance(found, wanted)
    assert isinstance(found, codes.FillingRefused) is (retcode == codes.FILLING)
    assert found.detail == f"{retcode} words"


@pytest.mark.parametrize("error", [1, -1, -3, -4, -6, -10000, -10001, -10005, -99])
def test_missing_reply_is_unknown(error: int) -> None:
    assert type(codes.verdict_without_answer((error, "x"))) is OutcomeUnknown


def test_missing_reply_that_proves_not_sent() -> None:
    assert type(codes.verdict_without_answer((-2, "Invalid argument"))) is NotSent
    assert codes.verdict_without_answer((-8, "off")).code is Code.TRADING_DISABLED


def test_check_answers_zero_when_all_is_well() -> None:
    assert codes.check_verdict(0, "Done") is None
    assert codes.check_verdict(10009, "") is None
    assert codes.check_verdict(10031, "no connection") is None
    refused = codes.check_verdict(10019, "No money")
    assert type(refused) is Rejected
    assert refused.code is Code.NO_MONEY


def test_login_errors() -> None:
    assert codes.login_verdict((-6, "")) is Code.CREDENTIALS_REFUSED
    assert codes.login_verdict((-10005, "")) is Code.BROKER_UNREACHABLE


# ---- names -------------------------------------------------------------------------------------
def test_magic_numbers_fit_a_double_and_differ_by_attempt() -> None:
    ids = [new_client_order_id("fcx") for _ in range(2_000)]
    numbers = {magic_of(one) for one in ids}
    assert len(numbers) == 2_000
    assert all(is_ours(n) and int(float(n)) == n for n in numbers)
    assert magic_of(CID) != magic_of(f"{CID[:-1]}1")
    assert not any(is_ours(n) for n in (0, 1, 234000, 2**32, 2**53, 2**63))


def test_comment_is_trusted_only_with_its_magic_number() -> None:
    known = OrderIds()
    assert known.resolve(magic_of(CID), f"[{CID}]") == CID
    assert known.resolve(magic_of(CID), EXIT) == ""
    assert known.resolve(4711, CID) == ""
    assert known.resolve(0, CID) == CID
    assert known.resolve(0, CID[:10]) == known.resolve(0, "bought by hand, me") == ""
    known.remember(CID)
    assert known.resolve(magic_of(CID), "rewritten") == CID


def test_name_cache_is_bounded() -> None:
    known = OrderIds(RecordCache(2))
    for one in ("aaaa0", "bbbb0", "aaaa0", "cccc0"):
        known.remember(one)
    assert [known.resolve(magic_of(n), "") for n in ("aaaa0", "bbbb0", "cccc0")] == [
        "aaaa0",
        "",
        "cccc0",
    ]


# ---- lots --------------------------------------------------------------------------------------
def lots(**changes: Any) -> Lots:
    return Lots(SimpleNamespace(**symbol("EURUSD", 1.1, 1.1001, **changes)))


def test_floats_become_exact_decimals() -> None:
    assert decimal(0.1 + 0.2) == D("0.3")
    assert str(decimal(100_000.0)) == "100000"
    assert str(decimal(1e-8)) == "1E-8"
    assert (level(0.0), level(1.1)) == (None, D("1.1"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_double_that_is_no_number_is_no_amount_and_no_level(value: float) -> None:
    with pytest.raises(ValueError, match="not a number"):
        decimal(value)
    assert cost(value) == 0
    assert level(value) is None
    assert not is_price(value)


@pytest.mark.parametrize(
    ("quantity", "sent"),
    [
        ("1000", 0.01),
        ("29000", 0.29),
        ("57000", 0.57),
        ("115000", 1.15),
        ("203000", 2.03),
        ("3333000", 33.33),
        ("10000000", 100.0),
    ],
)
def test_base_units_as_lots(quantity: str, sent: float) -> None:
    assert lots().of(D(quantity)) == sent
    assert lots().base(sent) == D(quantity)


def test_prices_are_in_whole_ticks_on_the_safe_side() -> None:
    assert lots().price(D("1.123456"), Side.BUY, OrderType.LIMIT) == 1.12345
    assert lots().price(D("1.123451"), Side.BUY, OrderType.STOP) == 1.12346
    assert lots().price(None, Side.BUY, OrderType.LIMIT) == 0.0
    assert lots(trade_tick_size=0.00025).level(D("1.12340"), Side.SELL) == 1.12325
    assert lots(trade_tick_size=0.0).level(D("1.123401"), Side.BUY) == 1.12341
    assert lots().level(None, Side.BUY) == 0.0


def test_level_below_a_tick_is_refused_and_not_removed() -> None:
    with pytest.raises(Rejected) as refused:
        lots().level(D("0.000001"), Side.SELL)
    assert refused.value.code is Code.PRICE_INVALID


def test_distances_are_in_points() -> None:
    assert lots().points(D("0.00019")) == 19


@pytest.mark.parametrize(
    ("mode", "mask", "wanted", "filling"),
    [
        *((mode, mask, TimeInForce.IOC, 0) for mode in (0, 1) for mask in (0, 3)),
        (2, 1, TimeInForce.IOC, 0),
        (2, 2, TimeInForce.IOC, 1),
        (2, 3, TimeInForce.IOC, 1),
        (2, 3, TimeInForce.FOK, 0),
        (2, 2, TimeInForce.FOK, 0),  # where the data allow nothing, the server decides
        (2, 0, TimeInForce.GTC, 1),  # RETURN is never allowed in market execution
        (2, 4, TimeInForce.GTC, 1),  # a bit that came later (book or cancel)
        (3, 0, TimeInForce.DAY, 2),
        (3, 0, TimeInForce.IOC, 1),
        (3, 6, TimeInForce.GTC, 1),
    ],
)
def test_filling(mode: int, mask: int, wanted: TimeInForce, filling: int) -> None:
    assert lots(trade_exemode=mode, filling_mode=mask).filling(wanted) == filling


@pytest.mark.parametrize(
    ("mask", "wanted", "may"),
    [
        (15, TimeInForce.GTC, True),
        (15, TimeInForce.DAY, True),
        (2, TimeInForce.GTC, False),
        (1, TimeInForce.DAY, False),
        (15, TimeInForce.FOK, False),
        (15, TimeInForce.GTD, True),
        (11, TimeInForce.GTD, False),
    ],
)
def test_pending_order_expirations(mask: int, wanted: TimeInForce, may: bool) -> None:
    assert lots(expiration_mode=mask).may_work(OrderType.LIMIT, wanted) is may
    assert not lots(expiration_mode=mask).may_work(OrderType.MARKET, wanted)


@pytest.mark.parametrize(
    ("name", "currencies", "calc", "pair"),
    [
        ("EURUSD.m", ("EUR", "USD"), 0, "EUR/USD"),
        ("weird", ("EUR", "USD"), 5, "EUR/USD"),
        ("XAUUSD-pro", ("XAU", "USD"), 2, "XAU/USD"),
        ("#AAPL", ("USD", "USD"), 2, "AAPL/USD"),
        ("GER40.cash", ("EUR", "EUR"), 2, "GER40/EUR"),
    ],
)
def test_pair(name: str, currencies: tuple[str, str], calc: int, pair: str) -> None:
    base, profit = currencies
    info = SimpleNamespace(
        name=name, currency_base=base, currency_profit=profit, trade_calc_mode=calc
    )
    assert pair_of(info) == pair


# ---- requests ----------------------------------------------------------------------------------
STOP_LIMIT: dict[str, Any] = {
    "order_type": OrderType.STOP_LIMIT, "time_in_force": TimeInForce.GTC,
    "stop_price": D("1.200001"), "limit_price": D("1.190009"),
}  # fmt: skip


def encode(one: Lots | None = None, expires: int = 0, **changes: Any) -> dict[str, Any]:
    request = order(**STOP_LIMIT | changes)
    return order_encoding.market_or_pending_order(
        request, one or lots(), magic=7, price=0.0, position=0, expires=expires
    )


def test_stop_limit_order_has_both_prices() -> None:
    words = encode()
    assert (words["type"], words["price"], words["stoplimit"]) == (6, 1.20001, 1.19)
    assert words["type_time"] == 0
    assert "expiration" not in words
    assert encode(side=Side.SELL)["type"] == 7


@pytest.mark.parametrize(
    ("symbol_has", "changes", "code"),
    [
        ({}, {"limit_price": None}, Code.PRICE_INVALID),
        ({}, {"stop_price": None}, Code.PRICE_INVALID),
        ({"order_mode": 119}, {}, Code.ORDER_TYPE_UNSUPPORTED),  # all but stop-limit
        ({"expiration_mode": 3}, {"time_in_force": TimeInForce.GTD}, Code.ORDER_TYPE_UNSUPPORTED),
        ({}, {"time_in_force": TimeInForce.GTD}, Code.ORDER_TYPE_UNSUPPORTED),  # without an end
    ],
)
def test_pending_order_that_the_symbol_does_not_take(
    symbol_has: dict[str, Any], changes: dict[str, Any], code: Code
) -> None:
    with pytest.raises(Rejected) as refused:
        encode(lots(**symbol_has), **changes)
    assert refused.value.code is code


def test_good_till_date_order_has_its_expiry() -> None:
    words = encode(time_in_force=TimeInForce.GTD, expires=1_900_000_000)
    assert (words["type_time"], words["expiration"]) == (2, 1_900_000_000)


def test_stop_limit_order_keeps_its_second_price() -> None:
    row = SimpleNamespace(
        ticket=5, symbol="EURUSD", price_open=1.1, type_time=0, time_expiration=0, type=6,
        price_stoplimit=1.09,
    )  # fmt: skip
    words = order_encoding.order_levels(row, stop_loss=1.0, take_profit=0.0)
    assert (words["stoplimit"], words["price"], words["sl"]) == (1.09, 1.1, 1.0)


def test_netting_names_no_position() -> None:
    exit_ = order(EXIT, reduce_only=True, broker_position_id="5")
    assert order_encoding.uses_position_ticket(exit_, PositionMode.HEDGING)
    assert not order_encoding.uses_position_ticket(exit_, PositionMode.NETTING)
    assert not order_encoding.uses_position_ticket(order(), PositionMode.HEDGING)
