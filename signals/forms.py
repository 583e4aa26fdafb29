"""Operators' forms for feeds and for signals that are not published yet."""

from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import UnfoldAdminTextInputWidget

from common.admin import AmountInput
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.draft import Target, level_errors
from signals.errors import field_errors
from signals.models import Action, Feed, OrderType, Signal
from signals.preview import require_possible
from signals.symbol_completion import settled_pair
from signals.symbols import read_symbol
from signals.validation import unlimited_stop


class FeedForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only for type checkers
    """A feed, for operators. The approval on this form is an operator's, not the owner's."""

    class Meta:
        model = Feed
        fields = ("name", "slug", "description", "owner", "is_public", "is_approved")
        help_texts = {
            "is_approved": "Approved by operators: its signals need no further approval and reach "
            "every subscriber and the administrators' accounts. The approval ends if the feed "
            "goes public or to another owner."
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["is_approved"] = self.instance.reaches_admins


_FORM_FIELDS = {"sl": "sl", "targets": "target_prices"}


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
            "open_price", "stop_price", "sl", "target_prices", "target_fractions",
            "close_fraction", "time_in_force", "valid_until", "max_slippage_pips",
            "max_slippage_unit",
            "strategy_id", "trade_plan_id", "risk_category", "note",
        )  # fmt: skip

    def clean_currency_pair(self) -> str:
        try:
            return read_symbol(self.cleaned_data["currency_pair"])
        except InvalidInputError as error:
            raise forms.ValidationError(f"{error.detail} {error.code.hint}") from error

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        self._check_symbol(data)
        self._check_prices(data)
        self._check_targets(data)
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
        if order_type == OrderType.LIMIT and not data.get("open_price"):
            self.add_error("open_price", "A limit order needs its price.")
        if order_type == OrderType.STOP and not data.get("stop_price"):
            self.add_error("stop_price", "A stop order needs its trigger.")
        if order_type == OrderType.STOP and data.get("max_slippage_pips") is not None:
            self.add_error("max_slippage_pips", unlimited_stop("max_slippage"))
        if order_type != OrderType.STOP and data.get("stop_price"):
            self.add_error("stop_price", "Only a stop order has a trigger; the stop loss is below.")

    def _check_targets(self, data: dict[str, Any]) -> None:
        prices, fractions = data.get("target_prices") or [], data.get("target_fractions") or []
        if len(prices) != len(fractions):
            self.add_error("target_fractions", "Give one fraction for each target.")
            return
        if any(not 0 < fraction <= 1 for fraction in fractions) or sum(fractions) > 1:
            self.add_error("target_fractions", Code.TARGET_FRACTIONS.sentence)
        if data.get("action") != Action.OPEN or not data.get("direction"):
            return
        is_stop = data.get("order_type") == OrderType.STOP
        targets = tuple(Target(*pair) for pair in zip(prices, fractions, strict=True))
        for problem in level_errors(
            direction=data["direction"],
            entry=data.get("stop_price" if is_stop else "open_price"),
            sl=data.get("sl"),
            targets=targets,
        ):
            self.add_error(_FORM_FIELDS.get(problem.field), problem.detail)
