"""The further fields of an entry's form, made from the table of fields and the model."""

from datetime import datetime
from typing import Any

from django import forms
from django.db import models

from common.form_fields import UtcDateTimeField
from signals.models import Signal
from signals.reading.field_table import BY_NAME

DEFAULTS = {
    "time_in_force": "GTC; GTD with an end",
    "execution_style": "One order",
    "catch_up": "Catch up",
    "at_end": "Leave it",
}
_IDS = ("after_signal", "close_when_signal")


class OptionsForm(forms.Form):
    """Fields that an entry may leave out. Numbers are read by the reader of signals."""

    def __init__(self, names: tuple[str, ...], data: Any, *, prefix: str = "") -> None:
        """names: of the fields, by the table."""
        super().__init__(data, prefix=prefix or None)
        for name in names:
            self.fields[name] = option_field(name)

    @property
    def has_values(self) -> bool:
        """Whether one of the fields was filled in."""
        return any(self[name].value() for name in self.fields)

    def values(self) -> dict[str, Any]:
        """Return what was entered, as the reader takes it."""
        entered = {name: value for name, value in self.cleaned_data.items() if value}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in entered.items()
        }


def moment_field(help_text: str) -> UtcDateTimeField:
    """Return the field of a time in UTC."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return UtcDateTimeField(required=False, widget=widget, help_text=help_text)


class SignalIdField(forms.CharField):
    """A signal's id, with or without its `S-`."""

    def clean(self, value: Any) -> str:
        """Return the id as the reader takes it."""
        return str(super().clean(value)).strip().upper().removeprefix("S-")


def option_field(name: str) -> forms.Field:
    """Return the form field of a signal's field, which may be left empty."""
    column: Any = Signal._meta.get_field(BY_NAME[name].column or name)
    label = str(column.verbose_name)
    shown: dict[str, Any] = {
        "required": False, "label": label[:1].upper() + label[1:],
        "help_text": str(column.help_text),
    }  # fmt: skip
    if isinstance(column, models.DateTimeField):
        return moment_field(f"UTC. {column.help_text}")
    if name in _IDS:
        return SignalIdField(**{**shown, "help_text": f"Its number: S-12. {column.help_text}"})
    if column.choices:
        usual = "None" if name.endswith("_state") else "Default of the symbol"
        choices = [(value, text) for value, text in column.choices if value]
        return forms.ChoiceField(choices=[("", DEFAULTS.get(name, usual)), *choices], **shown)
    return forms.CharField(**shown)
