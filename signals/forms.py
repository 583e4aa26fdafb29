"""Operators' forms for feeds and for signals that are not published yet."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import UnfoldAdminTextInputWidget

from common.admin import AmountInput
from common.clocks import market_now
from common.errors import InvalidInputError
from common.reason_codes import Code
from common.stop_rules import RULE_FIELDS, stop_rule_faults
from common.units import Unit
from signals.closing import TradeSelection
from signals.draft import Target, level_errors
from signals.entry_ends import new_end_errors
from signals.errors import field_errors
from signals.models import (
    AT_MARKET_FROM_STOP,
    CONDITION_FIELDS,
    EXIT_CONDITION_FIELDS,
    LIMITED,
    TRAIL_OPTIONS,
    TRIGGERED,
    Action,
    Direction,
    Feed,
    OrderType,
    Signal,
    TimeInForce,
)
from signals.preview import require_possible
from signals.slicing import STYLE_FIELDS, style_errors
from signals.symbol_completion import settled_pair
from signals.symbols import CURRENCY, read_symbol
from signals.validation import (
    LIMITED_AT_BROKER,
    break_even_target_error,
    condition_errors,
    entry_price_errors,
    has_no_pips,
    limited_already,
    no_pips,
    signal_state_errors,
    time_in_force_error,
    trail_errors,
    unlimited_stop,
)


class FeedForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only for type checkers
    """A feed, for operators. The approval on this form is an operator's, not the owner's."""

    class Meta:
        model = Feed
        fields = (
            "name", "slug", "description", "owner", "is_public", "is_approved",
            "max_signal_notional", "max_signal_currency",
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

    def clean_max_signal_currency(self) -> str:
        return _currency_code(self.cleaned_data["max_signal_currency"])


LIMIT_UNITS = {"max_slippage_pips": "max_slippage_unit", "max_spread": "max_spread_unit"}
_FORM_FIELDS = {"sl": "sl", "targets": "target_prices"}


def _currency_code(text: str) -> str:
    """Return a currency's code in capitals, '' without one. Raises ValidationError."""
    code = text.strip().upper()
    if code and not CURRENCY.fullmatch(code):
        raise forms.ValidationError(f"{code!r} is not the code of a currency such as USD.")
    return code


class SignalForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only for type checkers
    """A signal, with the same rules as every entry point; the database checks them again."""

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
        fields = (
            "feed", "action", "refers_to", "currency_pair", "direction", "order_type",
            "open_price", "stop_price", *TRAIL_OPTIONS, *CONDITION_FIELDS,
            "close_at", "close_after_seconds", *EXIT_CONDITION_FIELDS, "sl",
            "target_prices", "target_fractions",
            "close_fraction", "time_in_force", "valid_until", "max_slippage_pips",
            "max_slippage_unit", "max_spread", "max_spread_unit", *RULE_FIELDS, *STYLE_FIELDS,
            "strategy_id", "trade_plan_id", "risk_category", "provider_quantity", "provider_equity",
            "provider_currency", "note",
        )  # fmt: skip

    def clean_currency_pair(self) -> str:
        try:
            return read_symbol(self.cleaned_data["currency_pair"])
        except InvalidInputError as error:
            raise forms.ValidationError(f"{error.detail} {error.code.hint}") from error

    def clean_provider_currency(self) -> str:
        return _currency_code(self.cleaned_data["provider_currency"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        self._check_symbol(data)
        self._check_prices(data)
        self._check_time_in_force(data)
        self._check_condition(data)
        self._check_exit_condition(data)
        self._check_targets(data)
        self._check_limits(data)
        self._check_stop_rule(data)
        for error in style_errors(data, now=market_now()):
            self.add_error(error.field, error.detail)
        reference = data.get("refers_to")
        if data.get("action") != Action.OPEN and (not reference or not reference.is_published):
            self.add_error("refers_to", Code.REFERENCE_REQUIRED.sentence)
        return data

    def _post_clean(self) -> None:
        """After the form's own rules, reject a signal that no account could trade."""
        super()._post_clean()  # type: ignore[misc]  # missing in the stubs
        if self.errors or "feed" not in self.cleaned_data:
            return
        try:
            require_possible(self.instance)
        except InvalidInputError as error:
            for problem in field_errors(error):
                self.add_error(
                    _FORM_FIELDS.get(problem.field, problem.field),
                    f"{problem.detail} {problem.hint}",
                )

    def _check_symbol(self, data: dict[str, Any]) -> None:
        """Check the symbol: of a new trade one that an account of the feed can trade, else that of
        the signal that it refers to."""
        feed, symbol, reference = (
            data.get(name) for name in ("feed", "currency_pair", "refers_to")
        )
        if not feed or not symbol:
            return
        if data.get("action") != Action.OPEN:
            if reference:
                self._check_symbol_of_reference(reference, data)
            return
        try:
            data["currency_pair"] = settled_pair(feed, symbol)
        except InvalidInputError as error:
            self.add_error("currency_pair", f"{error.detail} {error.code.hint}")

    def _check_symbol_of_reference(self, reference: Signal, data: dict[str, Any]) -> None:
        pair, entered = reference.currency_pair, data["currency_pair"]
        if entered == pair or pair.startswith(f"{entered}/"):  # the currency is left out
            data["currency_pair"] = pair
        else:
            detail = (
                f"{reference.number} is in {pair}: enter that symbol, or refer to another signal."
            )
            self.add_error("currency_pair", detail)

    def _check_prices(self, data: dict[str, Any]) -> None:
        order_type = data.get("order_type")
        if data.get("action") == Action.MODIFY:
            self._check_new_prices(data)
            return
        if order_type in LIMITED and not data.get("open_price"):
            self.add_error("open_price", "A limit or stop-limit order needs its limit price.")
        if order_type in TRIGGERED and not data.get("stop_price"):
            self.add_error("stop_price", "This type of order needs its trigger.")
        if order_type in LIMITED_AT_BROKER and data.get("max_slippage_pips") is not None:
            describe = unlimited_stop if order_type == OrderType.STOP else limited_already
            self.add_error("max_slippage_pips", describe("max_slippage"))
        if order_type not in TRIGGERED and data.get("stop_price"):
            detail = "Only a stop, stop-limit or if-touched order has it; the stop loss is below."
            self.add_error("stop_price", detail)
        self._check_trail(data)

    def _check_new_prices(self, data: dict[str, Any]) -> None:
        reference = data.get("refers_to")
        prices = {name: data.get(name) for name in ("open_price", "stop_price")}
        if reference is not None:
            for name, detail in entry_price_errors(reference.order_type, prices):
                self.add_error(name, detail)
            end, close_at = data.get("valid_until"), data.get("close_at")
            for detail in new_end_errors(reference, end, close_at):
                self.add_error("valid_until", detail)

    def _check_trail(self, data: dict[str, Any]) -> None:
        errors = trail_errors(
            data.get("order_type") or "",
            [name for name in TRAIL_OPTIONS if data.get(name) is not None],
            data.get("trail_percent"),
            has_price=bool(data.get("open_price")),
        )
        for name, error in errors:
            self.add_error(name, error)
        pair = data.get("currency_pair")
        if data.get("trail_pips") and pair and has_no_pips(pair, Unit.PIPS):
            self.add_error("trail_pips", f"{pair} has no pips: enter a distance, percent or ATR.")

    def _check_limits(self, data: dict[str, Any]) -> None:
        """Refuse pips of a symbol without pips, and limits of a signal that enters nothing."""
        pair, is_open = data.get("currency_pair"), data.get("action") == Action.OPEN
        for name, unit_name in LIMIT_UNITS.items():
            if not is_open:
                for field in (name, unit_name):
                    if data.get(field) not in (None, ""):
                        self.add_error(field, "Only an OPEN has this limit.")
            elif pair and has_no_pips(pair, data.get(unit_name) or ""):
                self.add_error(unit_name, no_pips(pair))

    def _check_time_in_force(self, data: dict[str, Any]) -> None:
        order_type, time_in_force = data.get("order_type") or "", data.get("time_in_force") or ""
        if error := time_in_force_error(order_type, time_in_force):
            self.add_error("time_in_force", error)
        elif (
            time_in_force == TimeInForce.GTD
            and not data.get("valid_until")
            and "valid_until" not in self.errors
        ):
            self.add_error("valid_until", "Good till date needs its end.")

    def _check_condition(self, data: dict[str, Any]) -> None:
        """Check the time or signal that the entry waits for."""
        given = [name for name in CONDITION_FIELDS if data.get(name)]
        action, close_at = data.get("action"), data.get("close_at")
        if action == Action.CLOSE and close_at:
            self.add_error("close_at", "Only an OPEN or a MODIFY has it.")
        elif close_at and close_at <= market_now():
            self.add_error("close_at", "It has passed: enter a later time.")
        elif close_at and data.get("not_before") and close_at <= data["not_before"]:
            self.add_error("close_at", "It must be after not_before.")
        elif close_at and action == Action.OPEN and "valid_until" not in self.errors:
            data["valid_until"] = min(data.get("valid_until") or close_at, close_at)
        seconds = data.get("close_after_seconds")
        if seconds is not None and seconds <= 0:
            self.add_error("close_after_seconds", "It must be above 0.")
        if action != Action.OPEN:
            given += [name for name in ("close_after_seconds",) if data.get(name)]
            for name in given:
                self.add_error(name, "Only a signal that opens a trade has it.")
            return
        for name, error in condition_errors(given, data.get("not_before"), data.get("valid_until")):
            self.add_error(name, error)
        awaited, feed = data.get("after_signal"), data.get("feed")
        if awaited is None or feed is None:
            return
        if awaited.feed_id != feed.pk or awaited.action != Action.OPEN or awaited.cancelled_at:
            self.add_error("after_signal", "Choose a signal of this feed that opens a trade.")

    def _check_exit_condition(self, data: dict[str, Any]) -> None:
        """Check the other signal whose state closes the position."""
        given = [name for name in EXIT_CONDITION_FIELDS if data.get(name)]
        if data.get("action") == Action.CLOSE:
            for name in given:
                self.add_error(name, "Only an OPEN or a MODIFY has it.")
            return
        for name, error in signal_state_errors(given, *EXIT_CONDITION_FIELDS):
            self.add_error(name, error)
        named, feed = data.get("close_when_signal"), data.get("feed")
        if named is None or feed is None:
            return
        is_other = named not in (data.get("refers_to"), self.instance)
        if named.feed_id != feed.pk or named.action != Action.OPEN or named.cancelled_at:
            self.add_error("close_when_signal", "Choose a signal of this feed that opens a trade.")
        elif not is_other:
            self.add_error("close_when_signal", "It is the trade itself: choose another signal.")

    def _check_stop_rule(self, data: dict[str, Any]) -> None:
        if data.get("action") != Action.OPEN:
            for name in RULE_FIELDS:
                if data.get(name) not in (None, ""):
                    self.add_error(name, "Only a signal that opens a trade has it.")
            return
        for name, detail in stop_rule_faults(data):
            self.add_error(name, detail)
        targets = len(data.get("target_prices") or [])
        if error := break_even_target_error(data.get("break_even_target"), targets):
            self.add_error("break_even_target", error)
        pair = data.get("currency_pair")
        if pair and has_no_pips(pair, data.get("stop_rule_unit") or ""):
            self.add_error("stop_rule_unit", f"{pair} has no pips: choose another unit.")

    def _check_targets(self, data: dict[str, Any]) -> None:
        prices, fractions = data.get("target_prices") or [], data.get("target_fractions") or []
        if len(prices) != len(fractions):
            self.add_error("target_fractions", "Give one fraction for each target.")
            return
        if any(not 0 < fraction <= 1 for fraction in fractions) or sum(fractions) > 1:
            self.add_error("target_fractions", Code.TARGET_FRACTIONS.sentence)
        if data.get("action") != Action.OPEN or not data.get("direction"):
            return
        order_type = data.get("order_type")
        is_stop_limit = order_type == OrderType.STOP_LIMIT
        targets = tuple(Target(*pair) for pair in zip(prices, fractions, strict=True))
        for problem in level_errors(
            direction=data["direction"],
            entry=data.get("stop_price" if order_type in AT_MARKET_FROM_STOP else "open_price"),
            sl=data.get("sl"),
            targets=targets,
            trigger=data.get("stop_price") if is_stop_limit else None,
        ):
            self.add_error(_FORM_FIELDS.get(problem.field), problem.detail)


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
