"""Sizing for any numbers: no rounding up. No I/O. Limits: `test_limit_properties.py`."""

from decimal import Decimal as D
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connections.models import SizingMode
from execution.submission.sizing import (
    Account,
    Denial,
    ProviderFigures,
    QuantityLimits,
    Size,
    Sizing,
    size,
)


def amounts(most: str = "1000000", places: int = 6) -> st.SearchStrategy[D]:
    least = D(1).scaleb(-places)
    return st.decimals(least, D(most), places=places, allow_nan=False, allow_infinity=False)


STEPS = st.sampled_from([D("0.00001"), D("0.01"), D("0.1"), D(1), D(10), D(1000)])
LIMITS = st.builds(
    lambda step, least, more: QuantityLimits(step * least, step, step * (least + more)),
    STEPS, st.integers(0, 50), st.integers(1, 1_000_000),
)  # fmt: skip
SIZINGS = st.builds(
    Sizing,
    mode=st.sampled_from(SizingMode.values),
    multiplier=amounts("20"),
    fixed_quantity=amounts(),
    per_balance=amounts(),
    percent_of_balance=amounts("10000"),
    percent_of_equity=amounts("10000"),
    fixed_amount=amounts(),
    risk_amount=amounts(),
    risk_percent=amounts("100"),
    allow_minimum=st.booleans(),
)
INPUTS = st.fixed_dictionaries(
    {
        "sizing": SIZINGS,
        "account": st.builds(Account, balance=amounts(), equity=amounts()),
        "unit_value": amounts("100000"),
        "stop_loss_per_unit": st.none() | amounts("1000"),
        "limits": LIMITS,
        "provider": st.builds(ProviderFigures, amounts(), amounts()),
    }
)


def exact(inputs: dict[str, Any]) -> Fraction:
    """Return the quantity of docs/sizing.md without any rounding."""
    by, account, provider = inputs["sizing"], inputs["account"], inputs["provider"]
    value, loss = Fraction(inputs["unit_value"]), Fraction(inputs["stop_loss_per_unit"] or 1)
    balance, equity = Fraction(account.balance), Fraction(account.equity)
    of_mode = {
        "FIXED": Fraction(by.fixed_quantity),
        "PER_BALANCE": Fraction(by.fixed_quantity) * balance / Fraction(by.per_balance),
        "PERCENT_BALANCE": balance * Fraction(by.percent_of_balance) / 100 / value,
        "PERCENT_EQUITY": equity * Fraction(by.percent_of_equity) / 100 / value,
        "FIXED_AMOUNT": Fraction(by.fixed_amount) / value,
        "RISK_PERCENT": equity * Fraction(by.risk_percent) / 100 / loss,
        "RISK_CATEGORY": equity * Fraction(by.risk_percent) / 100 / loss,
        "RISK_AMOUNT": Fraction(by.risk_amount) / loss,
        "PROVIDER_MULTIPLE": Fraction(provider.quantity),
        "EQUITY_RATIO": Fraction(provider.quantity) * equity / Fraction(provider.equity),
    }
    return of_mode[by.mode] * Fraction(by.multiplier)


@given(INPUTS)
def test_size_is_a_step_within_the_brokers_range(inputs: dict[str, Any]) -> None:
    found, limits = size(**inputs), inputs["limits"]
    if isinstance(found, Denial):
        return
    assert found.quantity % limits.step == 0
    assert max(limits.minimum, 0) <= found.quantity <= limits.maximum
    assert found.quantity > 0


@given(INPUTS)
def test_size_is_never_above_what_the_mode_asks_for(inputs: dict[str, Any]) -> None:
    """28 digits are calculated with: an exact step may come out one step higher or lower."""
    found, asked = size(**inputs), exact_or_none(inputs)
    if not isinstance(found, Size) or asked is None:
        return
    if found.is_minimum:
        assert inputs["sizing"].allow_minimum
        assert found.quantity == inputs["limits"].minimum > asked
        return
    rounding = asked / 10**25
    assert Fraction(found.quantity) <= asked + rounding
    capped = min(asked, Fraction(inputs["limits"].maximum))
    assert Fraction(found.quantity) > capped - Fraction(inputs["limits"].step) - rounding


@given(INPUTS)
def test_denied_size_is_below_the_minimum(inputs: dict[str, Any]) -> None:
    found, asked = size(**inputs), exact_or_none(inputs)
    if isinstance(found, Size) or asked is None:
        return
    least = Fraction(max(inputs["limits"].minimum, inputs["limits"].step))
    assert asked < least * (1 + Fraction(1, 10**25))
    assert found.unrounded is not None
    assert abs(Fraction(found.unrounded) - asked) <= Fraction(1, 10**17)


def exact_or_none(inputs: dict[str, Any]) -> Fraction | None:
    by_risk = inputs["sizing"].mode.startswith("RISK_")
    return None if by_risk and inputs["stop_loss_per_unit"] is None else exact(inputs)
