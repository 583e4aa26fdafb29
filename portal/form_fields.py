"""Fields of the portal's forms."""

from typing import Any

from django import forms

from common.errors import InvalidInputError
from common.form_fields import Amount
from common.money import read_decimal


class AmountOrZero(Amount):
    """A decimal, written as `1.5`, that may be 0: the row's own rules judge its range."""

    def to_python(self, value: Any) -> Any:
        """Return the Decimal; None if the field is empty. Raises ValidationError."""
        text = forms.CharField.to_python(self, value)
        if not text:
            return None
        try:
            return read_decimal(text.strip())
        except InvalidInputError as error:
            remedy = error.code.hint or "Write it as 1.5."
            raise forms.ValidationError(f"{error.detail} {remedy}") from error


class TextList(forms.CharField):
    """Texts separated by commas."""

    def to_python(self, value: Any) -> Any:
        """Return the list of texts."""
        texts = (text.strip() for text in str(super().to_python(value)).split(","))
        return [text for text in texts if text]

    def prepare_value(self, value: Any) -> Any:
        """Return the list as the input shows it."""
        return ", ".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the texts differ from those that the page showed."""
        shown = self.to_python(initial) if isinstance(initial, str) else list(initial or ())
        return bool(shown != self.to_python(data or ""))
