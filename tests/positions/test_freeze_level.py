"""The freeze level: what is nearer to the market, or exactly at it, cannot be changed."""

from decimal import Decimal as D

import pytest

from positions.freeze_level import frozen_price

FREEZE = D("0.00005")


@pytest.mark.parametrize(
    ("price", "is_frozen"),
    [
        ("1.09994", False),
        ("1.09995", True),  # at the distance
        ("1.10000", True),
        ("1.10005", True),
        ("1.10006", False),
    ],
)
def test_price_is_frozen_up_to_the_distance(price: str, is_frozen: bool) -> None:
    found = frozen_price([D(price)], D("1.10000"), FREEZE)
    assert found == (D(price) if is_frozen else None)


def test_nearest_of_several_prices_decides() -> None:
    prices = [D("1.09"), None, D("1.10003")]
    assert frozen_price(prices, D("1.1"), FREEZE) == D("1.10003")
    assert frozen_price([None, D("1.09")], D("1.1"), FREEZE) is None


def test_broker_without_freeze_level_freezes_nothing() -> None:
    assert frozen_price([D("1.1")], D("1.1"), D(0)) is None
    assert frozen_price([], D("1.1"), FREEZE) is None
