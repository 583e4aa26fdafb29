"""An amount that is typed on a page has plain digits, as at every other entry point."""

from decimal import Decimal as D

import pytest
from django.core.exceptions import ValidationError

from common.form_fields import AmountInput
from signals.models import Signal


@pytest.mark.parametrize("text", ["1_000", "1e3", "1E3", "+5", "NaN", "Infinity", "1,000", "１０"])
def test_amount_in_another_form_than_plain_digits_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a plain decimal"):
        AmountInput(max_digits=38, decimal_places=18).clean(text)


@pytest.mark.parametrize(("text", "amount"), [("1000", D(1000)), (" -0.5 ", D("-0.5"))])
def test_amount_in_plain_digits_is_read(text: str, amount: D) -> None:
    assert AmountInput(max_digits=38, decimal_places=18).clean(text) == amount


def test_every_form_reads_the_amounts_of_rows_so() -> None:
    assert isinstance(Signal._meta.get_field("sl").formfield(), AmountInput)
