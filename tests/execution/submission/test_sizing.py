"""Order sizing: exact quantities. No I/O."""

from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest

from common.reason_codes import Code
from execution.submission.sizing import (
    MAX_UNROUNDED,
    Account,
    Denial,
    ProviderFigures,
    QuantityLimits,
    Size,
    Sizing,
    loss_per_unit,
    multiplier_of,
    risk_percent_of,
    size,
)

MICRO = QuantityLimits(D(1000), D(1000), D(10_000_000))  # 0.01 lots
GOLD = QuantityLimits(D("0.01"), D("0.01"), D(100))


def sized(mode: str, multiplier: str = "1", *, allow_minimum: bool = False, **by: str) -> Sizing:
    numbers: dict[str, Any] = {name: D(value) for name, value in by.items()}
    return Sizing(mode=mode, multiplier=D(multiplier), allow_minimum=allow_minimum, **numbers)


def whole(sizing: Sizing, limits: QuantityLimits = MICRO, **given: Any) -> Size | Denial:
    usual: dict[str, Any] = {
        "balance": D(10_000), "equity": D(9_000), "price": D("1.25"), "rate": D(1),
        "stop_loss_per_unit": None, "provider": ProviderFigures(),
    }  # fmt: skip
    known = usual | {n: D(value) if isinstance(value, str) else value for n, value in given.items()}
    return size(
        sizing=sizing, limits=limits, account=Account(known["balance"], known["equity"]),
        unit_value=known["price"] * known["rate"], provider=known["provider"],
        stop_loss_per_unit=known["stop_loss_per_unit"],
    )  # fmt: skip


def quantity(sizing: Sizing, limits: QuantityLimits = MICRO, **given: Any) -> D | Denial:
    found = whole(sizing, limits, **given)
    return found.quantity if isinstance(found, Size) else found


def below_minimum(current: str, minimum: str, unrounded: str) -> Denial:
    return Denial(Code.QUANTITY_BELOW_MINIMUM, D(current), D(minimum), unrounded=D(unrounded))


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
        ("999", below_minimum("999", "1000", "999")),
        ("1000", D(1000)),
        ("1999.99", D(1000)),
        ("2000", D(2000)),
        ("10000000", D(10_000_000)),
        ("10001000", D(10_000_000)),
    ],
)
def test_quantity_is_floored_to_the_brokers_steps(fixed: str, expected: D | Denial) -> None:
    assert quantity(sized("FIXED", fixed_quantity=fixed)) == expected


def test_size_far_below_zero_is_denied() -> None:
    denied = whole(
        sized("RISK_PERCENT", risk_percent="1"),
        QuantityLimits(D("0.00000001"), D("0.00000001"), D(100)),
        equity="-1000000000000", stop_loss_per_unit="0.000000000001",
    )  # fmt: skip
    assert isinstance(denied, Denial)
    assert (denied.code, denied.value) == (Code.QUANTITY_BELOW_MINIMUM, D(0))


def test_denial_below_the_minimum_states_the_raw_quantity() -> None:
    steps = QuantityLimits(D(5000), D(1000), D(10_000))
    denial = quantity(sized("FIXED", fixed_quantity="4500"), steps)
    assert denial == below_minimum("4500", "5000", "4500")


@pytest.mark.parametrize(
    ("limits", "fixed", "shown", "least"),
    [
        (QuantityLimits(D(10), D(3), D(100)), "11", "11", "12"),  # whole steps: 9 or 12
        (QuantityLimits(D(10), D(1), D(8)), "20", "8", "10"),  # no more than the maximum
        (QuantityLimits(D(10), D(1), D(100)), "9.99999999", "9.99999", "10"),
        (QuantityLimits(D("0.0001"), D("0.0001"), D(100)), "0.0000123456789", "0.0000123456",
         "0.0001"),
    ],
)  # fmt: skip
def test_denied_quantity_reads_as_below_the_least_that_can_be_sent(
    limits: QuantityLimits, fixed: str, shown: str, least: str
) -> None:
    denial = quantity(sized("FIXED", fixed_quantity=fixed), limits)
    assert denial == below_minimum(shown, least, fixed)


def test_quantity_below_one_unit_is_allowed() -> None:
    assert quantity(sized("FIXED", fixed_quantity="0.5"), GOLD) == D("0.5")


def test_quantity_of_zero_is_denied_without_a_minimum() -> None:
    no_minimum = QuantityLimits(D(0), D("0.01"), D(100))
    denial = quantity(sized("FIXED", fixed_quantity="0.009"), no_minimum)
    assert denial == below_minimum("0.009", "0.01", "0.009")


@pytest.mark.parametrize(
    "mode",
    ["FIXED", "PER_BALANCE", "PERCENT_BALANCE", "PERCENT_EQUITY", "FIXED_AMOUNT", "RISK_PERCENT",
     "RISK_AMOUNT", "RISK_CATEGORY"],
)  # fmt: skip
@pytest.mark.parametrize("allow_minimum", [False, True])
def test_sizing_without_its_number_has_no_quantity(mode: str, allow_minimum: bool) -> None:
    without = sized(mode, allow_minimum=allow_minimum)
    assert quantity(without, GOLD, stop_loss_per_unit="0.002") == below_minimum("0", "0.01", "0")


@pytest.mark.parametrize(
    ("category", "product"), [("small", "0.75"), ("normal", "1.5"), ("large", "3")]
)
def test_multipliers_are_multiplied(category: str, product: str) -> None:
    preset = SimpleNamespace(
        sizing_mode="RISK_PERCENT", multiplier=D("0.5"), small_multiplier=D("0.5"),
        normal_multiplier=D(1), large_multiplier=D(2),
    )  # fmt: skip
    assert multiplier_of(preset, category, D(3)) == D(product)


def test_numbers_of_a_denial_are_plain_text() -> None:
    denial = Denial(Code.MAX_QUANTITY, D("1E+3"), D(500))
    assert denial.numbers("EUR/USD", "CHF") == {
        "name": "Quantity", "value": "1000", "maximum": "500", "unit": "EUR"
    }  # fmt: skip
    assert Denial(Code.MARGIN, D(7), D(5)).numbers("EUR/USD", "CHF")["unit"] == "CHF"
    assert Denial(Code.QUOTE_MISSING).numbers("EUR/USD", "CHF") == {}


def test_figures_state_what_is_known_of_value_and_bound() -> None:
    """A price is compared with another, which has a name; either may be unknown."""
    passed = Denial(Code.ACTIVATION_REACHED, D("1.1"), D("1.05")).figures("EUR/USD", "USD")
    assert passed is not None
    assert (passed.value, passed.bound_value, passed.word) == ("1.1", "1.05", "activation price")
    only_bound = Denial(Code.MAX_QUANTITY, maximum=D(5)).figures("EUR/USD", "USD")
    assert only_bound is not None
    assert (only_bound.value, only_bound.bound_value) == ("", "5")
    assert Denial(Code.MAX_QUANTITY).figures("EUR/USD", "USD") is None


@pytest.mark.parametrize(("category", "percent"), [("small", 1), ("normal", 2), ("large", 3)])
def test_risk_category_selects_the_percent_and_no_multiplier(category: str, percent: int) -> None:
    preset = SimpleNamespace(
        sizing_mode="RISK_CATEGORY", multiplier=D("0.5"), small_multiplier=D(7),
        normal_multiplier=D(7), large_multiplier=D(7), risk_percent=D(9),
        small_risk_percent=D(1), normal_risk_percent=D(2), large_risk_percent=D(3),
    )  # fmt: skip
    assert risk_percent_of(preset, category) == percent
    assert multiplier_of(preset, category, D(3)) == D("1.5")
    preset.sizing_mode = "RISK_PERCENT"
    assert risk_percent_of(preset, category) == 9
    assert multiplier_of(preset, category, D(3)) == D("10.5")


@pytest.mark.parametrize(
    ("sizing", "given", "expected"),
    [
        # 50 % of 9,000 equity at 1.25
        (sized("PERCENT_EQUITY", percent_of_equity="50"), {}, "3000"),  # 4,500 / 1.25 = 3,600
        (sized("PERCENT_EQUITY", "2", percent_of_equity="50"), {}, "7000"),
        # 50 USD over 20 pips
        (sized("RISK_AMOUNT", risk_amount="50"), {"stop_loss_per_unit": "0.0020"}, "25000"),
        (sized("RISK_CATEGORY", risk_percent="2"), {"stop_loss_per_unit": "0.0020"}, "90000"),
        # 1,000 for each 2,500 of 10,000 balance; continuous: 2,400 gives 4,166.67
        (sized("PER_BALANCE", fixed_quantity="1000", per_balance="2500"), {}, "4000"),
        (sized("PER_BALANCE", "2", fixed_quantity="1000", per_balance="2400"), {}, "8000"),
        (sized("PROVIDER_MULTIPLE", "0.1"), {"provider": ProviderFigures(D(250_000))}, "25000"),
        # 9,000 of 45,000 equity: a fifth of 250,000
        (sized("EQUITY_RATIO"), {"provider": ProviderFigures(D(250_000), D(45_000))}, "50000"),
        (sized("EQUITY_RATIO", "0.5"), {"provider": ProviderFigures(D(250_000), D(45_000))},
         "25000"),
    ],
)  # fmt: skip
def test_added_sizing_modes_have_their_exact_quantity(
    sizing: Sizing, given: dict[str, Any], expected: str
) -> None:
    assert quantity(sizing, MICRO, **given) == D(expected)


@pytest.mark.parametrize("mode", ["RISK_AMOUNT", "RISK_CATEGORY"])
def test_each_mode_by_risk_needs_a_stop_before_the_entry(mode: str) -> None:
    by_risk = sized(mode, risk_amount="1", risk_percent="1")
    assert quantity(by_risk) == Denial(Code.STOP_REQUIRED)
    assert quantity(by_risk, stop_loss_per_unit="0") == Denial(Code.STOP_AT_ENTRY)


@pytest.mark.parametrize(
    ("mode", "provider", "missing"),
    [
        ("PROVIDER_MULTIPLE", ProviderFigures(), "provider_quantity"),
        ("EQUITY_RATIO", ProviderFigures(), "provider_quantity"),
        ("EQUITY_RATIO", ProviderFigures(equity=D(1)), "provider_quantity"),
        ("EQUITY_RATIO", ProviderFigures(D(1)), "provider_equity"),
    ],
)
def test_provider_figure_that_is_missing_is_named(
    mode: str, provider: ProviderFigures, missing: str
) -> None:
    denial = quantity(sized(mode, allow_minimum=True), provider=provider)
    assert denial == Denial(Code.PROVIDER_SIZE_MISSING, detail=missing)


@pytest.mark.parametrize("equity", ["0", "-100"])
def test_account_without_equity_gets_no_minimum(equity: str) -> None:
    by_equity = sized("PERCENT_EQUITY", allow_minimum=True, percent_of_equity="50")
    assert quantity(by_equity, equity=equity) == below_minimum("0", "1000", "0")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("0.000001", Size(D(1000), D("0.000001"), is_minimum=True)),
        ("999.99", Size(D(1000), D("999.99"), is_minimum=True)),
        ("1000", Size(D(1000), D(1000))),
        ("1999.99", Size(D(1000), D("1999.99"))),
    ],
)
def test_allowed_minimum_is_traded_below_it_only(wanted: str, expected: Size) -> None:
    assert whole(sized("FIXED", allow_minimum=True, fixed_quantity=wanted)) == expected


def test_allowed_minimum_is_a_multiple_of_the_step_within_the_maximum() -> None:
    fixed = sized("FIXED", allow_minimum=True, fixed_quantity="1")
    assert quantity(fixed, QuantityLimits(D(1000), D(300), D(10_000))) == D(1200)
    assert quantity(fixed, QuantityLimits(D(1000), D(300), D(1199))) == below_minimum(
        "1", "1200", "1"
    )
    assert quantity(fixed, QuantityLimits(D(1000), D(300), D(1200))) == D(1200)
    tenth = sized("FIXED", allow_minimum=True, fixed_quantity="0.001")
    assert quantity(tenth, GOLD) == D("0.01")
    no_minimum = QuantityLimits(D(0), D(10), D(100))
    assert quantity(fixed, no_minimum) == below_minimum("1", "10", "1")


def test_unrounded_quantity_is_before_step_and_maximum() -> None:
    fixed = sized("FIXED", "2", fixed_quantity="10500.5")
    assert whole(fixed) == Size(D(21_000), D(21_001))
    assert whole(fixed, QuantityLimits(D(1), D(1000), D(5500))) == Size(D(5000), D(21_001))


def test_quantity_of_a_tiny_loss_is_capped_and_storable() -> None:
    by_risk = sized("RISK_AMOUNT", risk_amount="10000")
    tiny = whole(by_risk, GOLD, stop_loss_per_unit=D("1e-30"))
    assert tiny == Size(D(100), MAX_UNROUNDED)
