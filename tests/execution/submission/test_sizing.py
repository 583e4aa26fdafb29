"""Order sizing: exact quantities. No I/O."""

from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest

from common.reason_codes import Code
from execution.submission.sizing import (
    Denial,
    QuantityLimits,
    Sizing,
    loss_per_unit,
    multiplier_of,
    size,
)

MICRO = QuantityLimits(D(1000), D(1000), D(10_000_000))  # 0.01 lots
GOLD = QuantityLimits(D("0.01"), D("0.01"), D(100))
NONE: dict[str, Any] = dict.fromkeys(
    ("fixed_quantity", "percent_of_balance", "fixed_amount", "risk_percent")
)


def sized(mode: str, multiplier: str = "1", **numbers: str) -> Sizing:
    sized = {name: D(value) for name, value in numbers.items()}
    return Sizing(mode=mode, multiplier=D(multiplier), **{**NONE, **sized})


def quantity(sizing: Sizing, limits: QuantityLimits = MICRO, **given: Any) -> D | Denial:
    usual: dict[str, Any] = {
        "balance": D(10_000), "equity": D(9_000), "price": D("1.25"), "rate": D(1),
        "stop_loss_per_unit": None,
    }  # fmt: skip
    known = {name: D(value) if isinstance(value, str) else value for name, value in given.items()}
    return size(sizing=sizing, limits=limits, **{**usual, **known})


@pytest.mark.parametrize(
    ("sizing", "given", "expected"),
    [
        (sized("FIXED", fixed_quantity="10000"), {}, "10000"),
        (sized("FIXED", "0.55", fixed_quantity="10000"), {}, "5000"),
        (sized("FIXED", "2", fixed_quantity="10000"), {}, "20000"),
        # 150 % of 10,000 USD at 1.25 = 12,000
        (sized("PERCENT_BALANCE", percent_of_balance="150"), {}, "12000"),
        (sized("PERCENT_BALANCE", "1.5", percent_of_balance="150"), {}, "18000"),
        # 12,499 USD at 1.25 = 9,999.2: floored, never rounded up
        (sized("FIXED_AMOUNT", fixed_amount="12499"), {}, "9000"),
        (sized("FIXED_AMOUNT", fixed_amount="12500"), {}, "10000"),
        # 1 % of 9,000 equity over 20 pips = 45,000
        (sized("RISK_PERCENT", risk_percent="1"), {"stop_loss_per_unit": "0.0020"}, "45000"),
        (sized("RISK_PERCENT", "0.5", risk_percent="1"), {"stop_loss_per_unit": "0.0020"}, "22000"),
        (sized("RISK_PERCENT", risk_percent="1"), {"stop_loss_per_unit": "0.0021"}, "42000"),
    ],
)
def test_each_sizing_mode_has_its_exact_quantity(
    sizing: Sizing, given: dict[str, Any], expected: str
) -> None:
    assert quantity(sizing, MICRO, **given) == D(expected)


def test_yen_pair_is_sized_on_a_dollar_account() -> None:
    rate = D(1) / D(150)  # USD for one JPY
    loss = loss_per_unit(D("150.00"), D("149.50"), 1, rate)
    # 1 % of 9,000 = 90 USD; 50 pips lose 0.5 JPY = 1/300 USD a unit: 27,000 units, less one step
    # where 1/150 is not exact
    assert quantity(
        sized("RISK_PERCENT", risk_percent="1"), price=D(150), rate=rate, stop_loss_per_unit=loss
    ) in (D(26000), D(27000))
    assert quantity(
        sized("FIXED_AMOUNT", fixed_amount="15000"), price=D(150), rate=D("0.0066")
    ) == D(15000)


def test_gold_is_sized_on_a_euro_account() -> None:
    rate = D("0.8")  # EUR for one USD
    loss = loss_per_unit(D(2000), D(1990), 1, rate)
    assert loss == 8
    # 2 % of 9,000 EUR = 180 EUR at 8 EUR an ounce = 22.5 ounces
    expected = quantity(
        sized("RISK_PERCENT", risk_percent="2"), GOLD, price="2000", rate=rate,
        stop_loss_per_unit=loss,
    )  # fmt: skip
    assert expected == D("22.5")
    # 50 % of 10,000 EUR over 2,000 USD * 0.8 = 3.125 ounces
    of_balance = sized("PERCENT_BALANCE", percent_of_balance="50")
    assert quantity(of_balance, GOLD, price="2000", rate=rate) == D("3.12")


@pytest.mark.parametrize(
    ("entry", "stop", "sign", "loss"),
    [("1.1", "1.09", 1, "0.01"), ("1.1", "1.11", -1, "0.01"), ("1.1", "1.11", 1, "-0.01")],
)
def test_loss_per_unit_is_positive_on_the_right_side(
    entry: str, stop: str, sign: int, loss: str
) -> None:
    assert loss_per_unit(D(entry), D(stop), sign, D(1)) == D(loss)


def test_sizing_by_risk_needs_a_stop() -> None:
    by_risk = sized("RISK_PERCENT", risk_percent="1")
    assert quantity(by_risk) == Denial(Code.STOP_REQUIRED)
    assert quantity(by_risk, stop_loss_per_unit="0") == Denial(Code.STOP_AT_ENTRY)
    assert quantity(by_risk, stop_loss_per_unit="-0.001") == Denial(Code.STOP_AT_ENTRY)


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ("999", Denial(Code.QUANTITY_BELOW_MINIMUM, D(0), D(1000))),
        ("1000", D(1000)),
        ("1999.99", D(1000)),
        ("2000", D(2000)),
        ("10000000", D(10_000_000)),
        ("10001000", D(10_000_000)),
    ],
)
def test_quantity_is_floored_to_the_brokers_steps(fixed: str, expected: D | Denial) -> None:
    assert quantity(sized("FIXED", fixed_quantity=fixed)) == expected


def test_denial_below_the_minimum_states_the_raw_quantity() -> None:
    steps = QuantityLimits(D(5000), D(1000), D(10_000))
    assert quantity(sized("FIXED", fixed_quantity="4500"), steps) == Denial(
        Code.QUANTITY_BELOW_MINIMUM, D(4000), D(5000)
    )


def test_quantity_below_one_unit_is_allowed() -> None:
    assert quantity(sized("FIXED", fixed_quantity="0.5"), GOLD) == D("0.5")


def test_quantity_of_zero_is_denied_without_a_minimum() -> None:
    no_minimum = QuantityLimits(D(0), D("0.01"), D(100))
    assert quantity(sized("FIXED", fixed_quantity="0.009"), no_minimum) == Denial(
        Code.QUANTITY_BELOW_MINIMUM, D(0), D(0)
    )


@pytest.mark.parametrize("mode", ["FIXED", "PERCENT_BALANCE", "FIXED_AMOUNT", "RISK_PERCENT"])
def test_sizing_without_its_number_has_no_quantity(mode: str) -> None:
    assert quantity(sized(mode), GOLD, stop_loss_per_unit="0.002") == Denial(
        Code.QUANTITY_BELOW_MINIMUM, D(0), D("0.01")
    )


@pytest.mark.parametrize(
    ("category", "product"), [("small", "0.75"), ("normal", "1.5"), ("large", "3")]
)
def test_multipliers_are_multiplied(category: str, product: str) -> None:
    preset = SimpleNamespace(
        multiplier=D("0.5"), small_multiplier=D("0.5"), normal_multiplier=D(1),
        large_multiplier=D(2),
    )  # fmt: skip
    assert multiplier_of(preset, category, D(3)) == D(product)


def test_numbers_of_a_denial_are_plain_text() -> None:
    denial = Denial(Code.MAX_QUANTITY, D("1E+3"), D(500))
    assert denial.numbers() == {"current": "1000", "limit": "500"}
    assert Denial(Code.QUOTE_MISSING).numbers() == {}
