"""Form fields that several apps use."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.utils import timezone

from common.errors import InvalidInputError
from common.money import plain, read_decimal

_WHOLE = re.compile("-?[0-9]{1,19}", re.ASCII)


class Amount(forms.CharField):
    """A decimal above zero, written as `1.5`."""

    positive = True

    def to_python(self, value: Any) -> Any:
        """Return the Decimal; None if the field is empty. Raises ValidationError."""
        text = super().to_python(value)
        if not text:
            return None
        try:
            return read_decimal(text.strip(), positive=self.positive)
        except InvalidInputError as error:
            remedy = error.code.hint or "Write it as 1.5."
            raise forms.ValidationError(f"{error.detail} {remedy}") from error

    def prepare_value(self, value: Any) -> Any:
        """Return the value as the input shows it."""
        return plain(value) if isinstance(value, Decimal) else value


class AmountInput(forms.DecimalField):
    """A decimal with any sign, shown without trailing zeros: `1.37`, not `1.370000000000000000`."""

    def to_python(self, value: Any) -> Any:
        """Return the Decimal; None if the field is empty. Raises ValidationError for `1e3`."""
        if value in self.empty_values:
            return None
        try:
            return read_decimal(str(value).strip())
        except InvalidInputError as error:
            raise forms.ValidationError(error.detail, code="invalid") from error

    def prepare_value(self, value: Any) -> Any:
        """Return the value as the input shows it."""
        return plain(value) if isinstance(value, Decimal) else value


class WholeNumberInput(forms.IntegerField):
    """A whole number in plain digits: no `1_000`, no `+5`, no full-width digits."""

    def to_python(self, value: Any) -> Any:
        """Return the number; None if the field is empty. Raises ValidationError."""
        text = str(value).strip()
        if value not in self.empty_values and not _WHOLE.fullmatch(text):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


class UtcDateTimeField(forms.DateTimeField):
    """A time that is typed and shown in UTC, whatever time zone the page's other times are in.

    Orders and signals state their times in UTC, as the API does; the help text says so.
    """

    def prepare_value(self, value: Any) -> Any:
        with timezone.override(UTC):
            return super().prepare_value(value)

    def to_python(self, value: Any) -> datetime | None:
        with timezone.override(UTC):
            return super().to_python(value)
