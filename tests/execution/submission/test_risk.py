"""The limit check before every entry: each limit at, below and above. No I/O."""

from decimal import Decimal as D

import pytest

from common.figure_names import Limit
from common.reason_codes import Code
from connections.entry_limits import EntryLimits
from execution.submission.risk import (
    AccountFunds,
    Entry,
    PortfolioExposure,
    check,
    margin_of,
)
from execution.submission.sizing import Denial

LIMITS = EntryLimits(max_open_positions=20, max_leverage=D(30), max_portfolio_risk_percent=D(10))
FUNDS = AccountFunds(equity=D(10_000), free_margin=D(10_000), leverage=D(30))
SMALL = Entry(quantity=D(1000), notional=D(1000), margin=D(30), risk=D(10), pair="EUR/USD")


@pytest.mark.parametrize(("risk", "passes"), [("199.99", True), ("200", True), ("200.5", False)])
def test_risk_of_one_entry_is_limited(risk: str, passes: bool) -> None:
    limits = LIMITS._replace(max_trade_risk_percent=D(2))
    entry, held = SMALL._replace(risk=D(risk)), PortfolioExposure(risk=D(500))
    # 200.5 of 10,000 is 2.005 %
    assert check(entry, held, limits, FUNDS) == (
        None if passes else Denial(Code.TRADE_RISK, D("2.005"), D(2))
    )
    assert check(entry, held, LIMITS, FUNDS) is None


def test_risk_that_is_not_exact_in_decimals_is_within_its_limit() -> None:
    entry = SMALL._replace(risk=D(100) + D("1e-25"))  # 28 digits, as a product of a third may be
    limits = LIMITS._replace(max_trade_risk_percent=D(1))
    assert check(entry, PortfolioExposure(), limits, FUNDS) is None


def test_risk_of_an_entry_without_equity_is_beyond_its_limit() -> None:
    limits = LIMITS._replace(max_trade_risk_percent=D(100), max_leverage=D(10) ** 10)
    broke = FUNDS._replace(equity=D(0))
    denial = check(SMALL._replace(margin=D(-1)), PortfolioExposure(), limits, broke)
    assert denial is not None
    assert (denial.code, denial.maximum) == (Code.TRADE_RISK, D(100))


def test_entry_within_all_limits_passes() -> None:
    assert check(SMALL, PortfolioExposure(), LIMITS, FUNDS) is None


@pytest.mark.parametrize(("quantity", "passes"), [("999", True), ("1000", True), ("1001", False)])
def test_entry_above_max_quantity_is_denied(quantity: str, passes: bool) -> None:
    denial = check(
        SMALL._replace(quantity=D(quantity)),
        PortfolioExposure(),
        LIMITS._replace(max_quantity=D(1000)),
        FUNDS,
    )
    assert denial == (None if passes else Denial(Code.MAX_QUANTITY, D(1001), D(1000)))


@pytest.mark.parametrize(("held", "passes"), [(1, True), (2, False), (3, False)])
def test_entry_above_max_open_positions_is_denied(held: int, passes: bool) -> None:
    denial = check(
        SMALL, PortfolioExposure(positions=held), LIMITS._replace(max_open_positions=2), FUNDS
    )
    assert denial == (None if passes else Denial(Code.MAX_OPEN_POSITIONS, D(held), D(2)))


@pytest.mark.parametrize(("held", "passes"), [("18999", True), ("19000", True), ("19100", False)])
def test_max_leverage_counts_open_positions(held: str, passes: bool) -> None:
    denial = check(
        SMALL, PortfolioExposure(notional=D(held)), LIMITS._replace(max_leverage=D(2)), FUNDS
    )
    assert denial == (None if passes else Denial(Code.MAX_LEVERAGE, D("2.01"), D(2)))


@pytest.mark.parametrize(("in_flight", "passes"), [("9969", True), ("9970", True), ("9971", False)])
def test_margin_counts_orders_in_flight(in_flight: str, passes: bool) -> None:
    denial = check(SMALL, PortfolioExposure(margin_in_flight=D(in_flight)), LIMITS, FUNDS)
    assert denial == (None if passes else Denial(Code.MARGIN, D("30.00"), D("29.00")))


def test_margin_counts_positions_newer_than_the_account_sync() -> None:
    book = PortfolioExposure(
        notional=D(299_400)
    )  # 9,980 of margin at 1:30 that free_margin does not know
    limits = LIMITS._replace(max_leverage=D(100))
    assert check(SMALL, book, limits, FUNDS) == Denial(Code.MARGIN, D("30.00"), D("20.00"))


def test_brokers_margin_applies_where_it_is_stricter() -> None:
    funds = FUNDS._replace(free_margin=D(29))
    assert check(SMALL, PortfolioExposure(), LIMITS, funds) == Denial(
        Code.MARGIN, D("30.00"), D("29.00")
    )


@pytest.mark.parametrize(("held", "passes"), [("989", True), ("990", True), ("991", False)])
def test_entry_above_portfolio_risk_is_denied(held: str, passes: bool) -> None:
    denial = check(SMALL, PortfolioExposure(risk=D(held)), LIMITS, FUNDS)
    assert denial == (None if passes else Denial(Code.PORTFOLIO_RISK, D("10.01"), D(10)))


@pytest.mark.parametrize("equity", ["0", "-25.50"])
@pytest.mark.parametrize("free", ["0", "10000"])  # brokers count a bonus
def test_entry_of_an_account_without_equity_is_denied_for_margin(equity: str, free: str) -> None:
    funds = FUNDS._replace(equity=D(equity), free_margin=D(free))
    limits = LIMITS._replace(max_symbol_exposure_percent=D(40), max_trade_risk_percent=D(1))
    denial = check(SMALL, PortfolioExposure(), limits, funds)
    assert denial == Denial(Code.MARGIN, D("30.00"), D(0))
    without_margin = SMALL._replace(margin=D(equity))
    assert check(without_margin, PortfolioExposure(), limits, funds) is not None


def test_limits_apply_to_an_account_with_equity_below_one() -> None:
    funds = AccountFunds(equity=D("0.5"), free_margin=D("0.5"), leverage=D(30))
    entry = SMALL._replace(quantity=D(1), notional=D(1), margin=D("0.03"), risk=D("0.01"))
    assert check(entry, PortfolioExposure(), LIMITS, funds) is None


def test_allowed_entries_count_for_the_next_one() -> None:
    book = PortfolioExposure()
    limits = LIMITS._replace(max_open_positions=2)
    for _ in range(2):
        assert check(SMALL, book, limits, FUNDS) is None
        book.add(SMALL)
    assert book == PortfolioExposure(
        2, D(2000), D(60), D(20), orders=2, notional_by_pair={"EUR/USD": D(2000)}
    )
    assert check(SMALL, book, limits, FUNDS) is not None


@pytest.mark.parametrize(("held", "passes"), [("3000", True), ("3000.01", False)])
def test_exposure_to_one_symbol_is_limited(held: str, passes: bool) -> None:
    limits = LIMITS._replace(max_symbol_exposure_percent=D(40))
    entry = SMALL._replace(pair="EUR/USD")
    book = PortfolioExposure(notional_by_pair={"EUR/USD": D(held), "GBP/USD": D(50_000)})
    denial = Denial(
        Code.SYMBOL_EXPOSURE, D("40.0001"), D(40), "EUR/USD",
        limit=Limit("Exposure to EUR/USD", "% of equity"),
    )  # fmt: skip
    assert check(entry, book, limits, FUNDS) == (None if passes else denial)  # of 10,000
    assert check(entry, book, LIMITS, FUNDS) is None


@pytest.mark.parametrize(("orders", "passes"), [(1, True), (2, False)])
def test_open_orders_are_limited(orders: int, passes: bool) -> None:
    limits = LIMITS._replace(max_open_orders=2)
    found = check(SMALL, PortfolioExposure(orders=orders), limits, FUNDS)
    assert found == (None if passes else Denial(Code.MAX_OPEN_ORDERS, D(2), D(2)))


@pytest.mark.parametrize(
    ("leverage", "rate", "margin"), [("30", "0", "100"), ("30", "0.05", "150"), ("0", "0", "3000")]
)
def test_margin_of(leverage: str, rate: str, margin: str) -> None:
    assert margin_of(D(3000), D(leverage), D(rate)) == D(margin)
