from typing import Any

from django import forms

from common.form_fields import Amount, UtcDateTimeField

MOST_MAP_TEXT = 10_000


class AmountOrZero(Amount):
    """A decimal, written as `1.5`, that may be 0: the row's own rules judge its range."""

    positive = False


class TextList(forms.CharField):
    """Texts separated by commas."""

    def to_python(self, value: Any) -> Any:
        texts = (text.strip() for text in str(super().to_python(value)).split(","))
        return [text for text in texts if text]

    def prepare_value(self, value: Any) -> Any:
        """Return the list as the input shows it."""
        return ", ".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the texts differ from those that the page showed."""
        shown = self.to_python(initial) if isinstance(initial, str) else list(initial or ())
        return bool(shown != self.to_python(data or ""))


class EndField(UtcDateTimeField):
    """When something ends, UTC to the second; it may be left empty."""

    widget = forms.DateTimeInput(
        attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"
    )


class SymbolMapField(forms.CharField):
    """A map from pairs to a broker's symbols, one line each: `EUR/USD = EURUSD.m`."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocapitalize": "none"})

    def to_python(self, value: Any) -> Any:
        """Return the map. Raises ValidationError for a line that is none, and a pair given twice.

        The service judges pairs and symbols.
        """
        if isinstance(value, dict):
            return value
        text = str(super().to_python(value))
        if len(text) > MOST_MAP_TEXT:
            raise forms.ValidationError(f"At most {MOST_MAP_TEXT:,} characters.")
        found: dict[str, str] = {}
        for line in filter(None, map(str.strip, text.replace(",", "\n").splitlines())):
            pair, _, symbol = map(str.strip, line.partition("="))
            if not pair or not symbol:
                raise forms.ValidationError(f"{line}: write EUR/USD = EURUSD.m")
            if pair in found:
                raise forms.ValidationError(f"{pair} has two symbols: leave one.")
            found[pair] = symbol
        return found

    def prepare_value(self, value: Any) -> Any:
        """Return the map as the input shows it."""
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{pair} = {symbol}" for pair, symbol in value.items())

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the map differs from the one that the page showed."""
        try:
            return bool(self.to_python(initial or "") != self.to_python(data or ""))
        except forms.ValidationError:
            return True
