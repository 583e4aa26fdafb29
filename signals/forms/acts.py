"""The portal's forms of a signal: OPEN, MODIFY, CLOSE, each with only its own fields.

What is entered becomes the JSON object that the API takes and is stored as a draft, so that the
same reader finds all faults at once, and nothing that was typed is lost. The fields that most
signals need come first (`basic`), all others are behind "More options" (`more`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any
from uuid import uuid4

from django import forms
from django.forms import BoundField

from common.errors import FillcastError, InvalidInputError
from common.form_fields import WholeNumberInput
from common.units import CHOICES
from signals.field_error import FieldError
from signals.forms.entries import LegForm
from signals.forms.options import SignalIdField, option_field
from signals.models import (
    Action,
    Direction,
    Feed,
    OrderType,
    RiskCategory,
    SavedDraft,
    Signal,
    TimeInForce,
)
from signals.publishing.ingest import build_unsaved, further_errors
from signals.publishing.preview import possible_preview
from signals.reading.errors import InvalidSignalError, field_errors
from signals.reading.field_table import FIELDS, EntryPoint, names_of
from signals.reading.intake import read_signal

ENTRY_POINTS = {
    Action.OPEN: EntryPoint.OPEN_FORM,
    Action.MODIFY: EntryPoint.MODIFY_FORM,
    Action.CLOSE: EntryPoint.CLOSE_FORM,
}
BASIC: Mapping[Action, tuple[str, ...]] = {
    Action.OPEN: (
        "symbol", "direction", "order_type", "open_price", "stop_price", "sl", "target_prices",
        "target_fractions", "valid_until",
    ),
    Action.MODIFY: ("refers_to", "sl", "target_prices", "target_fractions"),
    Action.CLOSE: ("refers_to", "close_fraction"),
}  # fmt: skip
_FORM_NAMES = {"targets": "target_prices", "tp": "target_prices", "valid_for": "valid_until"}
_JSON_NAMES = {alias: field.name for field in FIELDS for alias in field.aliases}
_MOMENT = "%Y-%m-%dT%H:%M"
_LONGEST = {"note": 500, "strategy_id": 64, "trade_plan_id": 64, "symbol": 60}


class ActForm(forms.Form):
    """A signal of one action. key, version: of its draft, so that a second click repeats it."""

    key = forms.UUIDField(widget=forms.HiddenInput)
    version = WholeNumberInput(required=False, widget=forms.HiddenInput)

    def __init__(
        self,
        feed: Feed,
        action: Action,
        trades: Sequence[Signal] = (),
        data: Any = None,
        *,
        draft: SavedDraft | None = None,
        refers_to: str = "",
    ) -> None:
        """trades: those that a MODIFY or CLOSE may refer to. refers_to: the one chosen at first."""
        initial: dict[str, Any] = {"key": uuid4(), "refers_to": refers_to}
        if draft is not None:
            initial = {"key": draft.key, "version": draft.version, **shown_values(draft.body)}
        super().__init__(data, initial=initial)
        self.feed, self.action = feed, action
        self._stored = draft.body if draft is not None else {}
        for name in _form_names(action):
            self.fields[name] = _field_of(action, name, trades)

    @property
    def basic(self) -> list[BoundField]:
        """The fields that come first."""
        return [self[name] for name in BASIC[self.action]]

    @property
    def more(self) -> list[BoundField]:
        """All other fields."""
        hidden = {"key", "version"}
        return [self[name] for name in self.fields if name not in (*BASIC[self.action], *hidden)]

    @property
    def is_more_open(self) -> bool:
        """Whether one of the other fields was filled in, or is wrong."""
        usual = {"", RiskCategory.NORMAL.value, None}
        return any(bound.value() not in usual or bound.errors for bound in self.more)

    def body(self) -> dict[str, Any]:
        """Return what was typed as the API takes it, also where it has faults."""
        typed = {name: _typed(self, name) for name in _form_names(self.action)}
        prices, fractions = (
            [part.strip() for part in typed.pop(name, "").split(",") if part.strip()]
            for name in ("target_prices", "target_fractions")
        )
        if len(prices) == 1 and not fractions:
            fractions = ["1"]
        values: dict[str, Any] = {name: text for name, text in typed.items() if text}
        pairs = zip_longest(prices, fractions)
        if targets := [_target(price, fraction) for price, fraction in pairs]:
            values["targets"] = targets
        is_waiting = values.get("order_type", OrderType.MARKET) != OrderType.MARKET
        if self.action == Action.OPEN and is_waiting and "valid_until" in values:
            values.setdefault("time_in_force", TimeInForce.GTD.value)
        return self._beside_the_form() | values

    def _beside_the_form(self) -> dict[str, Any]:
        """Return what the API has written in the draft and this form has no field for."""
        shown = {*self.fields, "targets", "tp", "valid_for", "refers_to_external_id"}
        return {
            name: value
            for name, value in self._stored.items()
            if _JSON_NAMES.get(name, name) not in shown
        }

    def find_faults(self) -> bool:
        """Show all faults beside their fields, those that the feed and the market show as well;
        return whether there are any."""
        self.is_valid()
        drafts: tuple[Any, ...] = ()
        errors: tuple[FieldError, ...] = ()
        try:
            drafts = (read_signal({**self.body(), "action": self.action}),)
        except InvalidInputError as error:
            self._show(error)
            if isinstance(error, InvalidSignalError):
                drafts, errors = error.drafts, error.errors
        try:
            if not self.errors:
                signal = build_unsaved(self.feed, drafts[0])
                if self.action == Action.OPEN:
                    possible_preview(signal)
            elif more := further_errors(drafts, errors, lambda _: self.feed):
                self._show(InvalidSignalError(more))
        except FillcastError as error:
            self._show(error)
        return bool(self.errors)

    def _show(self, error: FillcastError) -> None:
        if not isinstance(error, InvalidInputError):
            self.add_error(None, f"{error.detail} {error.code.hint}".strip())
            return
        for one in field_errors(error):
            name = form_name_of(one.field)
            place = name if name in self.fields else None
            if place is None or place not in self.errors:
                text = f"{one.detail} {one.hint}".strip()
                self.add_error(place, forms.ValidationError(text, code=one.code))


def form_name_of(path: str) -> str:
    """Return the form's field that an error's path is about; '' for the whole signal."""
    first, *rest = path.split(".")
    first = _JSON_NAMES.get(first, first)
    if rest[-1:] == ["fraction"]:
        return "target_fractions"
    if first == "max_slippage_pips":
        return "max_slippage"
    return _FORM_NAMES.get(first, first.replace("_external_id", ""))


def shown_values(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a form shows of a stored body, which the API may have written."""
    values: dict[str, Any] = {_JSON_NAMES.get(name, name): value for name, value in body.items()}
    targets = values.pop("targets", None)
    if isinstance(targets, list):
        pairs = [one for one in targets if isinstance(one, Mapping)]
        for name in ("price", "fraction"):
            texts = [str(one[name]) for one in pairs if one.get(name) not in (None, "")]
            values[f"target_{name}s"] = ", ".join(texts)
    elif "tp" in values:
        values["target_prices"], values["target_fractions"] = values["tp"], "1"
    for name in ("valid_until", "close_at", "not_before"):
        if name in values:
            values[name] = _shown_moment(values[name])
    return values


def _shown_moment(value: Any) -> Any:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC).strftime(_MOMENT)
    except ValueError:
        return value


def _target(price: str | None, fraction: str | None) -> dict[str, str]:
    parts = {"price": price, "fraction": fraction}
    return {name: text for name, text in parts.items() if text is not None}


def _typed(form: ActForm, name: str) -> str:
    """Return what was typed into a field as the reader takes it; a time in UTC, with its zone."""
    value = form[name].value()
    text = "" if value is None else str(value).strip()
    field = form.fields[name]
    if isinstance(field, SignalIdField):
        return field.clean(text) if text else ""
    if text and isinstance(field, forms.DateTimeField):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat()
        except ValueError:
            return text
    return text


def _form_names(action: Action) -> tuple[str, ...]:
    """Return the fields of a form: those of its entry point, the basic ones first."""
    names = dict.fromkeys(BASIC[action])
    for name in names_of(ENTRY_POINTS[action]):
        if name == "feed":  # the page is of one feed
            continue
        names |= dict.fromkeys(
            ("target_prices", "target_fractions") if name == "targets" else (name,)
        )
    return tuple(names)


def _field_of(action: Action, name: str, trades: Sequence[Signal]) -> forms.Field:
    choices: Sequence[tuple[Any, str]]
    if name == "refers_to":
        choices = [(str(trade.pk), f"{trade.number} · {trade}") for trade in trades]
        return forms.ChoiceField(
            label="Trade", choices=[("", "Choose a trade"), *choices],
            help_text="What it changes or closes: a trade of this feed.",
        )  # fmt: skip
    if name == "close_fraction":
        return forms.CharField(
            label="How much", required=False, initial="1",
            help_text="A share of what is open: 1 is all of it, 0.5 half.",
        )  # fmt: skip
    if name == "direction":
        return forms.ChoiceField(label="Side", choices=Direction.choices)
    if name == "order_type":
        return forms.ChoiceField(label="Order type", choices=OrderType.choices)
    if name == "risk_category":
        return forms.ChoiceField(choices=RiskCategory.choices, initial=RiskCategory.NORMAL)
    if name in ("max_slippage_unit", "max_spread_unit"):
        return forms.ChoiceField(choices=[("", "Default of the symbol"), *CHOICES], required=False)
    if name == "symbol":
        return forms.CharField(
            max_length=60, help_text="EUR/USD, EURUSD, FX:EURUSD or NASDAQ:AAPL."
        )
    if name in LegForm.base_fields:
        return _leg_field(action, name)
    field = option_field(name)
    if name in _LONGEST and isinstance(field, forms.CharField):
        field.widget.attrs["maxlength"] = str(_LONGEST[name])
    return field


def _leg_field(action: Action, name: str) -> forms.Field:
    base = LegForm.base_fields[name]
    help_text = base.help_text if action == Action.OPEN else ""
    if action == Action.MODIFY and name == "sl":
        help_text = "The new stop loss. Empty: it stays as it is."
    if action == Action.MODIFY and name == "target_prices":
        help_text = "All targets from now on, nearest first, separated by commas. Empty: they stay."
    return forms.CharField(
        required=False, label=base.label or name.replace("_", " ").capitalize(),
        help_text=help_text,
    )  # fmt: skip
