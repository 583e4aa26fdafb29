"""Profit, exactly."""

from decimal import Decimal as D
from fractions import Fraction
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from brokers.messages import Side
from positions import pnl

prices = st.decimals("0.000000000000000001", "99999", places=18)
quantities = st.decimals("0.00000001", "99999999", places=8)
rates = st.decimals("0.000001", "200", places=18)
sides = st.sampled_from(list(Side))
CRUMB = Fraction(1, 2 * 10**18)


def test_a_sell_earns_when_the_price_falls() -> None:
    made = pnl.realized(
        side=Side.SELL,
        entry=D("1.38600"),
        exit=D("1.38450"),
        quantity=D(100_000),
        conversion_rate=D("0.9"),
    )
    assert made == D(135)


def test_open_profit_takes_the_side_that_can_be_dealt() -> None:
    quote = {"entry": D("1.1"), "bid": D("1.2"), "ask": D("1.3"), "quantity": D(10)}
    assert pnl.unrealized(side=Side.BUY, conversion_rate=D(1), **quote) == D(1)
    assert pnl.unrealized(side=Side.SELL, conversion_rate=D(1), **quote) == D(-2)


@given(side=sides, entry=prices, exit=prices, quantity=quantities, rate=rates)
def test_exact_to_the_last_stored_place(
    side: Side, entry: D, exit: D, quantity: D, rate: D
) -> None:
    made = pnl.realized(side=side, entry=entry, exit=exit, quantity=quantity, conversion_rate=rate)
    exact = Fraction(exit) - Fraction(entry)
    exact *= Fraction(quantity) * Fraction(rate) * (1 if side is Side.BUY else -1)
    assert abs(Fraction(made) - exact) <= CRUMB


@given(entry=prices, exit=prices, quantity=quantities, rate=rates)
def test_what_a_buy_wins_a_sell_loses(entry: D, exit: D, quantity: D, rate: D) -> None:
    deal = {"entry": entry, "exit": exit, "quantity": quantity, "conversion_rate": rate}
    assert pnl.realized(side=Side.BUY, **deal) == -pnl.realized(side=Side.SELL, **deal)


@given(side=sides, entry=prices, exit=prices, parts=st.lists(quantities, min_size=1, max_size=5))
def test_closing_in_parts_makes_what_closing_at_once_makes(
    side: Side, entry: D, exit: D, parts: list[D]
) -> None:
    deal = partial(pnl.realized, side=side, entry=entry, exit=exit, conversion_rate=D(1))
    in_parts = sum((Fraction(deal(quantity=part)) for part in parts), Fraction())
    at_once = Fraction(deal(quantity=sum(parts, D(0))))
    assert abs(in_parts - at_once) <= CRUMB * (len(parts) + 1)


@given(fills=st.lists(st.tuples(quantities, prices), min_size=1, max_size=6))
def test_the_average_lies_between_the_fills(fills: list[tuple[D, D]]) -> None:
    quantity, price = D(0), D(0)
    for added, added_price in fills:
        price = pnl.average_price(
            quantity=quantity, price=price, added=added, added_price=added_price
        )
        quantity += added
    low, high = min(p for _, p in fills), max(p for _, p in fills)
    slack = D("1e-17") * len(fills)
    assert low - slack <= price <= high + slack
    paid = sum((Fraction(q) * Fraction(p) for q, p in fills), Fraction())
    wanted = paid / sum((Fraction(q) for q, _ in fills), Fraction())
    assert abs(Fraction(price) - wanted) <= CRUMB * 2 * len(fills)
