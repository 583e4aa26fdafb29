"""Prices in whole ticks: rounding never makes an order or a level worse than requested."""

from decimal import Decimal as D

import pytest

from brokers import price_rounding
from brokers.types import OrderType, Side

LIMIT, STOP = OrderType.LIMIT, OrderType.STOP


@pytest.mark.parametrize(
    ("side", "order_type", "price", "rounded"),
    [
        (Side.BUY, LIMIT, "1.100009", "1.10000"),
        (Side.SELL, LIMIT, "1.100001", "1.10001"),
        (Side.BUY, STOP, "1.100001", "1.10001"),
        (Side.SELL, STOP, "1.100009", "1.10000"),
    ],
)
def test_an_order_is_never_worse_and_never_early(
    side: Side, order_type: OrderType, price: str, rounded: str
) -> None:
    assert price_rounding.round_entry_price(D(price), D("0.00001"), side, order_type) == D(rounded)


def test_a_level_never_loses_more_and_never_gains_less() -> None:
    assert price_rounding.round_level_price(D("5000.1"), D("0.25"), Side.BUY) == D("5000.25")
    assert price_rounding.round_level_price(D("5000.1"), D("0.25"), Side.SELL) == D("5000.00")


GRID = price_rounding.PriceGrid(
    ((D(0), D("0.0001")), (D(10), D("0.005")), (D(100), D("0.02")), (D(200), D("0.05")))
)


@pytest.mark.parametrize(
    ("price", "down", "up"),
    [
        ("9.99995", "9.9999", "10"), ("10.004", "10", "10.005"), ("99.999", "99.995", "100"),
        ("180.0175", "180", "180.02"), ("199.99", "199.98", "200"), ("200.02", "200", "200.05"),
        ("200", "200", "200"), ("-1.00003", "-1.0001", "-1"),
    ],
)  # fmt: skip
def test_price_lies_on_the_step_that_counts_at_it(price: str, down: str, up: str) -> None:
    rounded = [
        price_rounding.round_entry_price(D(price), GRID, side, LIMIT)
        for side in (Side.BUY, Side.SELL)
    ]
    assert rounded == [D(down), D(up)]


def test_price_rounded_across_an_edge_lies_on_the_step_beyond_it() -> None:
    grid = price_rounding.PriceGrid(((D(0), D("0.3")), (D(1), D("0.5"))))
    assert price_rounding.round_level_price(D("0.95"), grid, Side.BUY) == D("1.5")
    assert price_rounding.round_level_price(D("1.4"), grid, Side.SELL) == D(1)


@pytest.mark.parametrize("side", Side)
def test_whole_ticks_stay(side: Side) -> None:
    for order_type in (LIMIT, STOP):
        assert price_rounding.round_entry_price(D("5000.25"), D("0.25"), side, order_type) == D(
            "5000.25"
        )
    assert price_rounding.round_level_price(D("1.10001"), D("0.00001"), side) == D("1.10001")
    assert price_rounding.round_level_price(D("1.100013"), D(0), side) == D(
        "1.100013"
    )  # the tick is unknown
