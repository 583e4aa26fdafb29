"""The form of a preset, in sections; every field with its unit and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, Q, TimeField

from common.db.row_changes import ChangedFieldsForm
from common.fields import AmountField
from common.form_fields import WholeNumberInput
from common.money import plain
from common.names import one_line
from common.stop_rules import RULE_FIELDS
from connections.entry_limits import (
    ENTRY_LIMITS,
    EQUITY,
    IN_ITS_UNIT,
    MONEY,
    UNITS,
    Part,
    limits_in,
)
from connections.models import SIZE_FIELDS, DecisionProvider, SizingMode, TradingPreset
from connections.services import preset_errors
from portal.form_fields import AmountOrZero, TextList
from users.models import User

TIMES = "×"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the form. text: what it decides. names: its fields, in order."""

    title: str
    text: str
    names: tuple[str, ...]


SECTIONS = (
    Section(
        "Sizing", "How large a trade is. Choose the rule; it needs only its own numbers.",
        (
            "sizing_mode", "risk_percent", "risk_amount", "fixed_quantity", "per_balance",
            "percent_of_equity", "percent_of_balance", "fixed_amount", "small_risk_percent",
            "normal_risk_percent", "large_risk_percent", "multiplier", "small_multiplier",
            "normal_multiplier", "large_multiplier", "allow_minimum_quantity",
        ),
    ),
    Section(
        Part.TRADE, "An entry that breaks one of these is denied with the reason.",
        (*limits_in(Part.TRADE), "slippage_alert_threshold_pips"),
    ),
    Section(
        Part.EXPOSURE, "What all open trades of an account may add up to.",
        limits_in(Part.EXPOSURE),
    ),
    Section(
        Part.FLOW, "How many entries are sent, and how old a signal may be.",
        ("max_signal_age_seconds", *limits_in(Part.FLOW), "stuck_policy"),
    ),
    Section(
        Part.SESSIONS, "What is traded, and when.",
        (*limits_in(Part.SESSIONS), "trading_day_zone", "trading_day_start"),
    ),
    Section(
        "Stops", "Who holds stops and targets, and how stops are moved.",
        ("broker_holds_stops", "stop_move_seconds", *RULE_FIELDS),
    ),
    Section(
        "Decision step", "A filter or a model of yours that may reject or scale an entry.",
        ("decision_provider",),
    ),
)  # fmt: skip
ADVANCED = frozenset({"small_multiplier", "normal_multiplier", "large_multiplier", "stuck_policy"})
CATEGORY_RISKS = ("small_risk_percent", "normal_risk_percent", "large_risk_percent")
CATEGORY_MULTIPLIERS = ("small_multiplier", "normal_multiplier", "large_multiplier")
LABELS: Mapping[str, tuple[str, str]] = {  # by field: label and unit
    "sizing_mode": ("Rule", ""),
    "risk_percent": ("Risk of a trade", EQUITY),
    "risk_amount": ("Risk of a trade", MONEY),
    "fixed_quantity": ("Fixed quantity", UNITS),
    "per_balance": ("For each", f"{MONEY} of balance"),
    "percent_of_equity": ("Worth of a trade", EQUITY),
    "percent_of_balance": ("Worth of a trade", "% of balance"),
    "fixed_amount": ("Worth of a trade", MONEY),
    "small_risk_percent": ("Risk of a small trade", EQUITY),
    "normal_risk_percent": ("Risk of a normal trade", EQUITY),
    "large_risk_percent": ("Risk of a large trade", EQUITY),
    "multiplier": ("Multiplier", TIMES),
    "small_multiplier": ("Multiplier of small trades", TIMES),
    "normal_multiplier": ("Multiplier of normal trades", TIMES),
    "large_multiplier": ("Multiplier of large trades", TIMES),
    "allow_minimum_quantity": ("Trade the broker’s minimum if less is calculated", ""),
    "slippage_alert_threshold_pips": ("Alert from a slippage of", IN_ITS_UNIT),
    "max_signal_age_seconds": ("Oldest signal", "seconds"),
    "stuck_policy": ("An entry that is stuck at the broker", ""),
    "trading_day_zone": ("Zone of the trading day", "a time zone"),
    "trading_day_start": ("Start of the trading day", "local time"),
    "broker_holds_stops": ("The broker holds stops and targets", ""),
    "stop_move_seconds": ("Least time between two moves of a stop", "seconds"),
    "break_even_target": ("Break-even after target number", ""),
    "break_even_profit": ("Break-even from a profit of", "in the rule’s unit"),
    "break_even_offset": ("Beyond the entry by", "in the rule’s unit"),
    "trailing_distance": ("Trailing distance", "in the rule’s unit"),
    "trailing_step": ("Trailing step", "in the rule’s unit"),
    "trailing_activation": ("Trails from a profit of", "in the rule’s unit"),
    "stop_rule_unit": ("The rule’s unit", ""),
    "decision_provider": ("Decided by", ""),
    **{name: (limit.label, limit.unit) for name, limit in ENTRY_LIMITS.items()},
}
SENTENCES: Mapping[str, str] = {  # where the model has none, or one that names columns
    "sizing_mode": "By it the quantity is calculated, then rounded down to the broker’s step.",
    "risk_percent": "Lost if the stop is hit: at 1 and an equity of 10,000, 100.",
    "risk_amount": "Lost if the stop is hit, whatever the equity is.",
    "fixed_quantity": "Every trade has this quantity, before multipliers.",
    "per_balance": "The fixed quantity is traded for each such amount of balance.",
    "percent_of_equity": "The trade is worth this part of equity: 100 is all of it, once.",
    "percent_of_balance": "The trade is worth this part of the balance, open results left out.",
    "fixed_amount": "Every trade is worth this amount.",
    "small_risk_percent": "Lost at the stop of a signal that its provider calls small.",
    "normal_risk_percent": "Lost at the stop of a normal signal.",
    "large_risk_percent": "Lost at the stop of a signal that its provider calls large.",
    "multiplier": "Every quantity is multiplied by it before rounding: 0.5 is half.",
    "small_multiplier": "Also multiplies the quantity of small signals.",
    "normal_multiplier": "Also multiplies the quantity of normal signals.",
    "large_multiplier": "Also multiplies the quantity of large signals.",
    "allow_minimum_quantity": "Needs the largest risk of a trade below, which limits what the "
    "minimum may lose.",
    "max_signal_age_seconds": "Older signals are not executed: prices have moved.",
    "stuck_policy": "What is done when its broker neither fills nor rejects it.",
    "slippage_alert_threshold_pips": "You are notified of a fill that is worse or better by more.",
    **{name: limit.sentence for name, limit in ENTRY_LIMITS.items() if limit.sentence},
}


class PresetForm(ChangedFieldsForm, forms.Form):
    """The name and everything that a preset sets. The service judges the whole preset."""

    name = forms.CharField(
        max_length=100, validators=[one_line], help_text="How it is called in your lists."
    )

    def __init__(
        self, user: User, preset: TradingPreset, data: Any = None, *, is_change: bool = True
    ) -> None:
        self.is_change, self.preset = is_change, preset
        columns = {column.name: column for column in TradingPreset._meta.concrete_fields}
        initial = {
            name: getattr(preset, columns[name].attname)
            for name in ("name", *(n for section in SECTIONS for n in section.names))
        }
        super().__init__(data, initial=initial)
        for section in SECTIONS:
            for name in section.names:
                self.fields[name] = _field(name, columns[name], user)
        for name, modes in RULES.items():
            self.fields[name].widget.attrs["data-rules"] = " ".join(modes)
        self._mark_fields()

    @property
    def advanced_names(self) -> frozenset[str]:
        """What is folded away in its section."""
        return ADVANCED

    @property
    def sections(self) -> list[dict[str, Any]]:
        """The sections with their bound fields; those without any choice are left out."""
        found = []
        for section in SECTIONS:
            bound = [self[name] for name in section.names if name in self.fields]
            is_open = section is SECTIONS[0] or any(field.errors for field in bound)
            found.append({"section": section, "fields": bound, "is_open": is_open})
        return found

    def clean(self) -> dict[str, Any]:
        """Add all faults of the preset as it would be, beside their fields."""
        data = super().clean() or self.cleaned_data
        for error in preset_errors(self.edited(), failed=tuple(self.errors)):
            name = error.field if error.field in self.fields else None
            if name is None or name not in self.errors:
                self.add_error(name, error.detail)
        return data

    def edited(self) -> TradingPreset:
        """Return the preset with what was entered, not stored."""
        values = {
            field.name: getattr(self.preset, field.name)
            for field in TradingPreset._meta.concrete_fields
            if field.name in ("id", "user", "created_at")
        }
        columns = {field.name: field for field in TradingPreset._meta.concrete_fields}
        for name in self.fields:
            stored = getattr(self.preset, columns[name].name)
            values[name] = self.cleaned_data.get(name, stored)
        return TradingPreset(**values)

    def stored_value(self, name: str) -> Any:
        """Return the preset's value; a provider is a row."""
        return getattr(self.preset, name)

    def changed_lines(self) -> list[tuple[str, str, str]]:
        """Return label, value before and value after of what was changed."""
        return [
            (
                str(self.fields[name].label),
                shown_value(name, getattr(self.preset, name)),
                shown_value(name, self.cleaned_data[name]),
            )
            for name in self.changed_data
        ]


def _rules() -> dict[str, tuple[SizingMode, ...]]:
    category = SizingMode.RISK_CATEGORY
    used = {mode: {*SIZE_FIELDS.get(mode, ()), *CATEGORY_MULTIPLIERS} for mode in SizingMode}
    used[category] = {*CATEGORY_RISKS}  # its multipliers of a category do not count
    names = {name for fields in used.values() for name in fields}
    return {name: tuple(m for m in SizingMode if name in used[m]) for name in sorted(names)}


RULES: Mapping[str, tuple[SizingMode, ...]] = _rules()
"""The sizing fields that only some rules use, each with these rules (docs/sizing.md §1)."""


def shown_value(name: str, value: Any) -> str:
    """Return a value of a preset for people."""
    if value in (None, "", []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, Decimal):
        return plain(value)
    if name == "sizing_mode":
        return str(SizingMode(value).label)
    return str(value)


def _field(name: str, column: Any, user: User) -> forms.Field:
    label, unit = LABELS[name]
    shown: dict[str, Any] = {
        "label": f"{label}, {unit}" if unit else label,
        "help_text": SENTENCES.get(name) or column.help_text,
        "required": not (column.null or column.blank) and not column.has_default(),
    }
    is_empty_allowed = column.null or column.blank
    if name == "decision_provider":
        mine = DecisionProvider.objects.filter(Q(user=user) | Q(user=None)).order_by("name")
        return forms.ModelChoiceField(mine, empty_label="None", **shown)
    if isinstance(column, AmountField):
        return AmountOrZero(**{**shown, "required": not is_empty_allowed})
    if isinstance(column, ArrayField):
        return TextList(**shown)
    if column.choices:
        empty = [("", "Default of the symbol")] if column.blank else []
        return forms.ChoiceField(choices=[*empty, *column.choices], **shown)
    if isinstance(column, BooleanField):
        return forms.BooleanField(**{**shown, "required": False})
    if isinstance(column, TimeField):
        return forms.TimeField(
            widget=forms.TimeInput(format="%H:%M", attrs={"placeholder": "17:00"}),
            **{**shown, "required": True},
        )
    if name == "trading_day_zone":
        return forms.CharField(**{**shown, "required": True})
    return WholeNumberInput(
        min_value=0, max_value=2**31 - 1, **{**shown, "required": not is_empty_allowed}
    )
