"""Forms of an OCO pair and of a bracket, for people.

What is entered becomes the JSON object that the API takes, so that the same reader finds all errors
at once (`oco.read_pair`, `intake.read_bracket`). Each error is shown beside its field.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID, uuid4

from django import forms
from django.db import transaction
from django.db.models import QuerySet
from django.http import QueryDict

from common.errors import FillcastError, InvalidInputError
from common.units import CHOICES
from signals.field_error import FieldError
from signals.forms.options import OptionsForm, moment_field
from signals.models import Direction, Feed, OrderType, Origin, RiskCategory, Signal, TimeInForce
from signals.publishing.ingest import build_unsaved, further_errors, save_draft
from signals.publishing.oco import (
    build_unsaved_pair,
    possible_pair_previews,
    read_pair,
    require_possible_pair,
    save_pair,
)
from signals.publishing.preview import Preview, possible_preview, require_possible
from signals.reading.draft import SignalDraft
from signals.reading.errors import InvalidSignalError, field_errors
from signals.reading.field_table import EntryPoint, names_of
from signals.reading.intake import read_bracket
from users.models import User

HELD_TYPES = (
    OrderType.LIMIT,
    OrderType.STOP,
    OrderType.STOP_LIMIT,
    OrderType.IF_TOUCHED,
    OrderType.TRAILING_STOP,
)
# What the reader calls differently from the form.
_FIELD_NAMES = {"targets": "target_prices", "tp": "target_prices", "valid_for": "valid_until"}


class SharedForm(forms.Form):
    """What all legs have in common."""

    feed = forms.ModelChoiceField(Feed.objects.none(), to_field_name="slug")
    symbol = forms.CharField(max_length=60, help_text="EUR/USD, EURUSD, FX:EURUSD or NASDAQ:AAPL.")
    valid_until = moment_field(
        "UTC. What has not been sent or filled then is cancelled. Empty: until you cancel it."
    )
    max_spread = forms.CharField(
        required=False,
        help_text="Accounts whose prices have a larger spread do not enter. 0: only without one.",
    )
    max_spread_unit = forms.ChoiceField(
        required=False, choices=[("", "Default of the symbol"), *CHOICES]
    )
    risk_category = forms.ChoiceField(choices=RiskCategory.choices, initial=RiskCategory.NORMAL)
    note = forms.CharField(required=False, max_length=500)
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    request_id = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, feeds: QuerySet[Feed], data: Any = None) -> None:
        super().__init__(data)
        field = self.fields["feed"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = feeds


class LegForm(forms.Form):
    """An entry with its stop loss and targets. Numbers are read by the reader of signals."""

    direction = forms.ChoiceField(label="Side", choices=Direction.choices)
    order_type = forms.ChoiceField()
    stop_price = forms.CharField(
        required=False,
        help_text="Stop, stop-limit and if-touched orders: the price at which they are triggered.",
    )
    open_price = forms.CharField(
        required=False, label="Limit price", help_text="Limit and stop-limit orders."
    )
    trail_distance = forms.CharField(
        required=False,
        help_text="Trailing stop: how far it follows, in quote currency. Fill in one of the four.",
    )
    trail_pips = forms.CharField(required=False, help_text="The same in pips.")
    trail_percent = forms.CharField(required=False, help_text="The same in percent of the price.")
    trail_atr = forms.CharField(
        required=False, label="Trail ATR",
        help_text="The same in average true ranges (ATR) of the last 14 candles.",
    )  # fmt: skip
    trail_atr_minutes = forms.CharField(
        required=False, label="Trail ATR minutes",
        help_text="Length of these candles: 1, 5, 15, 30, 60 or 240. Empty: an hour.",
    )  # fmt: skip
    activation_price = forms.CharField(
        required=False, help_text="Trailing stop: it follows from here on. Empty: at once."
    )
    sl = forms.CharField(required=False, label="Stop loss")
    target_prices = forms.CharField(
        required=False, label="Targets", help_text="Prices, nearest first, separated by commas."
    )
    target_fractions = forms.CharField(
        required=False,
        label="Fractions",
        help_text="The part of the position to close at each target: 0.5, 0.5. Empty for a single "
        "target: all of it.",
    )

    def __init__(
        self,
        types: Iterable[OrderType],
        data: Any,
        *,
        prefix: str,
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, prefix=prefix, initial=initial)
        field = self.fields["order_type"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(one.value, one.label) for one in types]

    def values(self) -> dict[str, Any]:
        """Return what was entered as the reader takes it. Fractions without a price are errors."""
        data = {name: value for name, value in self.cleaned_data.items() if value}
        prices, fractions = (
            [text.strip() for text in data.pop(name, "").split(",") if text.strip()]
            for name in ("target_prices", "target_fractions")
        )
        if len(prices) == 1 and not fractions:
            fractions = ["1"]
        if len(prices) != len(fractions):
            self.add_error("target_fractions", "Give one fraction for each target.")
        elif prices:
            data["targets"] = [
                {"price": price, "fraction": fraction}
                for price, fraction in zip(prices, fractions, strict=True)
            ]
        return data


# What the first part of the page asks for; all else that the entry point takes is optional.
_ASKED = (*SharedForm.base_fields, *LegForm.base_fields, "targets")
_COMMON = (
    "strategy_id", "trade_plan_id", "provider_quantity", "provider_equity", "provider_currency",
)  # fmt: skip


def options_of(entry_point: EntryPoint) -> tuple[str, ...]:
    """Return the fields of a form's entry point that an entry may leave out, by the table."""
    return tuple(name for name in names_of(entry_point) if name not in (*_ASKED, *_COMMON))


class EntryForms:
    """The forms of one page: what is shared, and a form for each leg, each with its options.

    A page previews what was entered; only what it has shown is stored (`is_confirmed`).
    """

    entry_point: ClassVar[EntryPoint]
    types: ClassVar[tuple[OrderType, ...]]
    leg_names: ClassVar[tuple[str, ...]]
    required: ClassVar[tuple[str, ...]] = ()
    initial: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, feeds: QuerySet[Feed], data: QueryDict | None = None) -> None:
        self._data = data
        self.shared = SharedForm(feeds, data)
        self.shared_options = OptionsForm(_COMMON, data)
        self.legs = [
            LegForm(self.types, data, prefix=name, initial=self.initial.get(name))
            for name in self.leg_names
        ]
        names = options_of(self.entry_point)
        self.options = [OptionsForm(names, data, prefix=name) for name in self.leg_names]
        for leg in self.legs:
            for name in self.required:
                leg.fields[name].required = True

    @property
    def all_forms(self) -> list[forms.Form]:
        """The shared forms and those of the legs."""
        return [self.shared, self.shared_options, *self.legs, *self.options]

    @property
    def titled_legs(self) -> list[tuple[str, forms.Form, OptionsForm]]:
        """(title, form, options) of each leg."""
        suffix = " leg" if len(self.legs) > 1 else ""
        return [
            (f"{name.capitalize()}{suffix}", leg, options)
            for name, leg, options in zip(self.leg_names, self.legs, self.options, strict=True)
        ]

    @property
    def has_errors(self) -> bool:
        """Whether something must be corrected."""
        return any(form.errors for form in self.all_forms)

    @property
    def feed(self) -> Feed:
        """The feed of a valid form."""
        feed: Feed = self.shared.cleaned_data["feed"]
        return feed

    def read(self) -> tuple[SignalDraft, ...] | None:
        """Return what was entered; None: the forms show what is wrong, all of it."""
        is_complete = all([form.is_valid() for form in self.all_forms])  # noqa: C419 - each of them
        drafts: tuple[SignalDraft, ...] = ()
        errors: tuple[FieldError, ...] = ()
        try:
            drafts = self._read()
        except InvalidInputError as error:
            self._show(error)
            if isinstance(error, InvalidSignalError):
                drafts, errors = error.drafts, error.errors
        if is_complete and not self.has_errors:
            return drafts
        has_feed = "feed" in self.shared.cleaned_data
        if has_feed and (more := further_errors(drafts, errors, lambda _: self.feed)):
            self._show(InvalidSignalError(more))
        return None

    def preview(self, drafts: Sequence[SignalDraft]) -> list[tuple[Signal, Preview]]:
        """Return what would happen now to each leg; []: the forms show why none could be sent."""
        try:
            return self._preview(drafts)
        except FillcastError as error:
            self._show(error)
            return []

    def save(self, drafts: Sequence[SignalDraft], *, by: User) -> list[Signal]:
        """Store what was entered, not published; []: the forms show why not. Once a page."""
        key = f"form:{self.shared.cleaned_data['request_id']}"
        try:
            with transaction.atomic():
                return self._save(drafts, key, by)
        except FillcastError as error:
            self._show(error)
            return []

    def is_confirmed(self) -> bool:
        """Whether the page has shown the preview of exactly this."""
        data = self.shared.cleaned_data
        return isinstance(data["request_id"], UUID) and data["seen"] == self._digest()

    def mark_as_seen(self) -> None:
        """Note what the page shows, with an id that makes a second click repeat the first."""
        assert self._data is not None
        data = self._data.copy()
        data["seen"], data["request_id"] = self._digest(), str(uuid4())
        for form in self.all_forms:
            form.data = data

    def body(self) -> dict[str, Any]:
        """Return what was entered, as the API takes it."""
        raise NotImplementedError

    def shared_values(self) -> dict[str, Any]:
        """Return what is sent with each leg."""
        data = self.shared.cleaned_data
        names = ("max_spread", "max_spread_unit", "risk_category", "note")
        values = {name: data[name] for name in names if data.get(name)}
        values |= self.shared_options.values()
        if until := data.get("valid_until"):
            values["valid_until"] = until.isoformat()
        return values

    def leg_values(self, number: int) -> dict[str, Any]:
        """Return the values of a leg with the shared ones. An end makes a waiting order GTD."""
        leg, options = self.legs[number], self.options[number]
        values = {**self.shared_values(), **leg.values(), **options.values()}
        is_open = "valid_until" in values and "time_in_force" not in values
        if is_open and values.get("order_type") != OrderType.MARKET:
            values["time_in_force"] = TimeInForce.GTD.value
        return values

    def _digest(self) -> str:
        text = json.dumps([self.feed.slug, self.body()], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _read(self) -> tuple[SignalDraft, ...]:
        raise NotImplementedError

    def _preview(self, drafts: Sequence[SignalDraft]) -> list[tuple[Signal, Preview]]:
        raise NotImplementedError

    def _save(self, drafts: Sequence[SignalDraft], key: str, by: User) -> list[Signal]:
        raise NotImplementedError

    def _show(self, error: FillcastError) -> None:
        """Show each error beside its field. A field that has an error already keeps that one.

        Targets whose number of fractions is wrong were not given to the reader.
        """
        if not isinstance(error, InvalidInputError):
            self.shared.add_error(None, f"{error.detail} {error.code.hint}".strip())
            return
        for one in field_errors(error):
            form, name = self._place(one.field)
            is_counted = name == "target_prices" and "target_fractions" in form.errors
            if name not in form.errors and not is_counted:
                text = f"{one.detail} {one.hint}".strip()
                form.add_error(name, forms.ValidationError(text, code=one.code))

    def _place(self, path: str) -> tuple[forms.Form, str | None]:
        """Return the form and the field that an error's path names."""
        parts = path.split(".")
        number = 0
        if parts[0] == "legs":
            if len(parts) == 1:
                return self.shared, None
            number, parts = int(parts[1]), parts[2:]
        leg = self.legs[number]
        name = parts[0] if parts else ""
        name = "target_fractions" if parts[-1:] == ["fraction"] else _FIELD_NAMES.get(name, name)
        for form in (self.shared, self.shared_options, leg, self.options[number]):
            if name in form.fields:
                return form, name
        return leg, None


class PairForms(EntryForms):
    """An OCO pair: two entries of one symbol, of which each account sends at most one."""

    entry_point = EntryPoint.PAIR_FORM
    types = HELD_TYPES
    leg_names = ("first", "second")
    initial: ClassVar = {
        "first": {"direction": Direction.BUY, "order_type": OrderType.STOP},
        "second": {"direction": Direction.SELL, "order_type": OrderType.STOP},
    }

    def body(self) -> dict[str, Any]:
        """Return what was entered, as the API takes it."""
        data = self.shared.cleaned_data
        return {
            **{name: data[name] for name in ("symbol",) if data.get(name)},
            "legs": [self.leg_values(number) for number in range(len(self.legs))],
        }

    def _read(self) -> tuple[SignalDraft, ...]:
        return read_pair(self.body())

    def _preview(self, drafts: Sequence[SignalDraft]) -> list[tuple[Signal, Preview]]:
        signals = build_unsaved_pair(self.feed, drafts)
        return list(zip(signals, possible_pair_previews(signals), strict=True))

    def _save(self, drafts: Sequence[SignalDraft], key: str, by: User) -> list[Signal]:
        keyed = [replace(draft, external_id=f"{key}:{n}") for n, draft in enumerate(drafts, 1)]
        signals, is_new = save_pair(self.feed, keyed, origin=Origin.HAND, by=by)
        if is_new:
            require_possible_pair(signals)
        return signals


class BracketForms(EntryForms):
    """A bracket: an entry with a stop loss and at least one target."""

    entry_point = EntryPoint.BRACKET_FORM
    types = (OrderType.MARKET, *HELD_TYPES)
    leg_names = ("entry",)
    required = ("sl", "target_prices")

    def body(self) -> dict[str, Any]:
        """Return what was entered, as the API takes it."""
        data = self.shared.cleaned_data
        symbol = {"symbol": data["symbol"]} if data.get("symbol") else {}
        return {**symbol, **self.leg_values(0)}

    def _read(self) -> tuple[SignalDraft, ...]:
        return (read_bracket(self.body()),)

    def _preview(self, drafts: Sequence[SignalDraft]) -> list[tuple[Signal, Preview]]:
        [draft] = drafts
        signal = build_unsaved(self.feed, draft)
        return [(signal, possible_preview(signal))]

    def _save(self, drafts: Sequence[SignalDraft], key: str, by: User) -> list[Signal]:
        [draft] = drafts
        signal, is_new = save_draft(
            self.feed, replace(draft, external_id=key), origin=Origin.HAND, by=by
        )
        if is_new:
            require_possible(signal)
        return [signal]
