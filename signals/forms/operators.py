"""Operators' forms for feeds and for signals that are not published yet."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import UnfoldAdminTextInputWidget

from common.errors import InvalidInputError
from common.form_fields import AmountInput
from common.money import plain
from common.reason_codes import Code
from signals.feeds.alert_rules import read_sources, read_symbols
from signals.field_error import FieldError
from signals.models import Action, Direction, Feed, Signal
from signals.publishing.closing import TradeSelection, selection_errors
from signals.publishing.ingest import build_unsaved, further_errors
from signals.publishing.preview import require_possible
from signals.reading.draft import SignalDraft
from signals.reading.errors import field_errors
from signals.reading.field_table import BY_NAME, FIELDS, EntryPoint, columns_of, names_of
from signals.reading.fields import Fields
from signals.reading.intake import read_fields
from signals.symbols import CURRENCY, read_symbol


class FeedForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only for type checkers
    """A feed, for operators. The approval on this form is an operator's, not the owner's."""

    class Meta:
        model = Feed
        fields = (
            "name", "slug", "description", "owner", "is_public", "is_approved",
            "max_signal_notional", "max_signal_currency",
            "max_price_deviation_percent", "max_level_deviation_percent",
            "alerts_per_minute", "alert_symbols", "alert_sources", "alerts_signed_only",
        )  # fmt: skip
        help_texts = {
            "is_approved": "Approved by operators: its signals need no further approval and reach "
            "every subscriber and the administrators' accounts. The approval ends if the feed "
            "goes public or to another owner."
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["is_approved"] = self.instance.reaches_admins

    def clean_alert_symbols(self) -> list[str]:
        return _read_list(read_symbols, self.cleaned_data["alert_symbols"])

    def clean_alert_sources(self) -> list[str]:
        return _read_list(read_sources, self.cleaned_data["alert_sources"])

    def clean_max_signal_currency(self) -> str:
        return _currency_code(self.cleaned_data["max_signal_currency"])


def _read_list(read: Callable[[list[str]], list[str]], value: list[str]) -> list[str]:
    try:
        return read(value)
    except InvalidInputError as error:
        raise forms.ValidationError(error.detail, code=str(error.code)) from error


def _currency_code(text: str) -> str:
    """Return a currency's code in capitals, '' without one. Raises ValidationError."""
    code = text.strip().upper()
    if code and not CURRENCY.fullmatch(code):
        raise forms.ValidationError(f"{code!r} is not the code of a currency such as USD.")
    return code


class SignalForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only for type checkers
    """A signal. What is entered is read as every entry point reads it, which finds all faults.

    Each is shown beside its field, with the code that the API gives it.
    """

    target_prices = SimpleArrayField(
        AmountInput(max_digits=38, decimal_places=18, min_value=0),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Separated by commas, nearest first.",
    )
    target_fractions = SimpleArrayField(
        AmountInput(max_digits=19, decimal_places=18),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="One for each target, together at most 1: 0.5, 0.5",
    )

    class Meta:
        model = Signal
        fields = columns_of(EntryPoint.SIGNAL_FORM)

    def clean_currency_pair(self) -> str:
        try:
            return read_symbol(self.cleaned_data["currency_pair"])
        except InvalidInputError as error:
            detail = f"{error.detail} {error.code.hint}"
            raise forms.ValidationError(detail, code=error.code) from error

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        fields = Fields(sent_values(data))
        draft = read_fields(fields)
        if len(data.get("target_prices") or ()) != len(data.get("target_fractions") or ()):
            self.add_error("target_fractions", "Give one fraction for each target.")
        for problem in fields.errors:
            self._show(problem)
        reference = data.get("refers_to")
        if reference is not None and not reference.is_published:
            self.add_error("refers_to", Code.REFERENCE_REQUIRED.sentence)
        for name in ("after_signal", "close_when_signal"):
            if self.instance.pk is not None and data.get(name) == self.instance:
                self.add_error(name, "It is the trade itself: choose another signal.")
        if not self.errors:
            self._settle(draft, data)
        elif data.get("feed") and not fields.failed("action"):
            for problem in further_errors([draft], fields.errors, lambda _: data["feed"]):
                self._show(problem)
        return data

    def _settle(self, draft: SignalDraft, data: dict[str, Any]) -> None:
        """Check the signal against its feed, and take over what depends on that."""
        try:
            built = build_unsaved(data["feed"], draft)
        except InvalidInputError as error:
            for problem in field_errors(error):
                self._show(problem)
            return
        for name in _SETTLED:
            data[name] = getattr(built, name)

    def _post_clean(self) -> None:
        """After the form's own rules, reject a signal that no account could trade."""
        super()._post_clean()  # type: ignore[misc]  # missing in the stubs
        if self.errors or "feed" not in self.cleaned_data:
            return
        try:
            require_possible(self.instance)
        except InvalidInputError as error:
            for problem in field_errors(error):
                self._show(problem)

    def _show(self, problem: FieldError) -> None:
        """Show an error beside its field, unless the field could not be read anyway."""
        name: str | None = form_field_of(problem)
        if name not in self.fields:
            name = None
        if name is None or name not in self.errors:
            text = f"{problem.detail} {problem.hint}".strip()
            self.add_error(name, forms.ValidationError(text, code=problem.code))


# What depends on the feed, on other signals and on the time.
_SETTLED = (
    "currency_pair", "direction", "valid_until", "target_prices", "target_fractions",
    "provider_currency",
)  # fmt: skip


def sent_values(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was entered in a form of the model as the JSON object that the API takes.

    What an action has no use for is left out while it has the model's default.
    """
    sent: dict[str, Any] = {}
    unused = Signal()
    action = data.get("action", Action.OPEN)
    for name in names_of(EntryPoint.SIGNAL_FORM):
        field = BY_NAME[name]
        column = field.column or name
        value = data.get(column)
        if name == "feed" or value in (None, "", []):
            continue
        if action not in field.actions and value == getattr(unused, column):
            continue
        if name == "targets":
            pairs = zip(value, data.get("target_fractions") or (), strict=False)
            value = [{"price": plain(p), "fraction": plain(f)} for p, f in pairs]
        sent[name] = _sent(value)
    return {name: value for name, value in sent.items() if value != []}


def _sent(value: Any) -> Any:
    match value:
        case Decimal():
            return plain(value)
        case datetime():
            return value.isoformat()
        case Signal():
            return value.pk
    return value


def form_field_of(problem: FieldError) -> str:
    """Return the field of the model's form that an error's path is about."""
    first, *rest = problem.field.split(".")
    if problem.code == Code.TARGET_FRACTIONS or rest[-1:] == ["fraction"]:
        return "target_fractions"
    field = next((one for one in FIELDS if first in one.names), None)
    return (field.column or field.name) if field else first


class CloseTradesForm(forms.Form):
    """Which of a feed's open trades to close, and how much of each."""

    symbol = forms.CharField(
        required=False,
        max_length=40,
        help_text="Only the trades in this symbol, for example EUR/USD. Empty: in all symbols.",
    )
    direction = forms.ChoiceField(
        required=False,
        label="Side",
        choices=[("", "Buys and sells"), ("BUY", "Buys only"), ("SELL", "Sells only")],
    )
    fraction = forms.TypedChoiceField(
        label="How much",
        coerce=Decimal,
        choices=[("1", "All of it"), ("0.5", "Half of what is open"), ("0.25", "A quarter of it")],
    )

    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    request_id = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def clean_symbol(self) -> str:
        """Return the symbol as it was written. Raises ValidationError if it cannot be read."""
        text = str(self.cleaned_data["symbol"])
        for error in selection_errors(TradeSelection(text)):
            raise forms.ValidationError(error.detail)
        return text

    def is_confirmed(self) -> bool:
        """Whether a valid form answers the question that its page showed."""
        return bool(self.cleaned_data["request_id"]) and self.cleaned_data["seen"] == _trades_text(
            self.cleaned_data
        )

    def mark_as_seen(self) -> None:
        """Note what the page shows, with an id that makes a second click repeat the first."""
        self.data = {
            **{name: self.data.get(name, "") for name in ("symbol", "direction", "fraction")},
            "seen": _trades_text(self.cleaned_data),
            "request_id": str(uuid4()),
        }

    def selection(self) -> TradeSelection:
        """Return what a valid form selects."""
        data = self.cleaned_data
        direction = Direction(data["direction"]) if data["direction"] else None
        return TradeSelection(data["symbol"], direction, data["fraction"])


def _trades_text(data: dict[str, Any]) -> str:
    return f"{data['symbol']}|{data['direction']}|{data['fraction']}"
