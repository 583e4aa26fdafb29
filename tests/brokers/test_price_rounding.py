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
