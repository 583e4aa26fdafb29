"""The example in money beside the form of a preset."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms

from analytics.what_if.sizing_example import Asked, Example, example_pairs, sizing_example
from common.errors import InvalidInputError
from common.form_fields import Amount
from common.money import ceil_to_step, rounded_apart
from common.units import Unit
from connections.models import TradingPreset
from connections.symbols import canonical
from portal.preset_forms import PresetForm
from portal.selectors.accounts import Account
from portal.selectors.presets import sizing_summary
from signals.models import RiskCategory

USUAL_STOP, USUAL_PAIR = Decimal(30), "EUR/USD"


class ExampleForm(forms.Form):
    """What the example is calculated for. Nothing of it is stored."""

    example_account = forms.ChoiceField(label="Account", required=False)
    example_pair = forms.CharField(
        label="Symbol", required=False, max_length=20, initial=USUAL_PAIR,
        widget=forms.TextInput(attrs={"list": "example-pairs", "autocomplete": "off"}),
    )  # fmt: skip
    example_side = forms.ChoiceField(
        label="Side", required=False, choices=[("BUY", "Buy"), ("SELL", "Sell")]
    )
    example_stop = Amount(
        label="Stop away", required=False, initial=USUAL_STOP,
        help_text="In pips; of coins, shares and indices in basis points. Empty: no stop.",
    )  # fmt: skip
    example_category = forms.ChoiceField(
        label="Its provider calls it", required=False,
        choices=RiskCategory, initial=RiskCategory.NORMAL,
    )  # fmt: skip
    example_quantity = Amount(
        label="The provider’s quantity", required=False,
        help_text="Base units; only for rules that use it.",
    )  # fmt: skip

    def __init__(self, accounts: Sequence[Account], data: Any = None) -> None:
        usable = [one for one in accounts if one.snapshot is not None]
        first = {"example_account": str(usable[0].connection.pk)} if usable else {}
        super().__init__(data, initial=first)
        field = self.fields["example_account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(str(one.connection.pk), one.connection.name) for one in usable]
        self.accounts = {str(one.connection.pk): one for one in usable}

    def value(self, name: str) -> Any:
        """Return what was entered, or what the page begins with."""
        if not self.is_bound:
            return self.get_initial_for_field(self.fields[name], name)
        return self.cleaned_data.get(name)


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example, or why there is none. rule: what is sized by, in words.

    stop: how far its stop is away, in `stop_unit`.
    """

    example: Example | None = None
    note: str = ""
    account: Account | None = None
    stop: Decimal | None = None
    stop_unit: Unit = Unit.PIPS
    rule: str = ""
    pairs: Sequence[str] = ()

    @property
    def calculated(self) -> Decimal | None:
        """The quantity before its step, with a digit more than that has, and two at least."""
        exact = self.example.calculated if self.example else None
        step = self.example.step if self.example else None
        if exact is None or not step:
            return exact
        places = max(2, 1 - int(step.normalize().as_tuple().exponent))
        return rounded_apart(exact, ceil_to_step(exact, step), places)


def example_of(form: PresetForm, chosen: ExampleForm, accounts: Sequence[Account]) -> ShownExample:
    """Return the example for what the two forms hold."""
    if not accounts:
        return ShownExample(note="Add an account: the example is calculated on its balance.")
    if not chosen.accounts:
        return ShownExample(
            note="No balance has been read yet. Once the test of an account has passed, the "
            "example is calculated on it."
        )
    if chosen.is_bound and not chosen.is_valid():
        faults = [str(text) for texts in chosen.errors.values() for text in texts]
        return ShownExample(note=" ".join(faults))
    preset = form.preset
    if form.is_bound:
        if not form.is_valid():
            wrong = [str(form.fields[name].label) for name in form.errors if name in form.fields]
            names = ", ".join(wrong) or "what is named above"
            return ShownExample(note=f"Correct these first: {names}.")
        preset = form.edited()
    key = chosen.value("example_account") or next(iter(chosen.accounts))
    account = chosen.accounts.get(str(key))
    if account is None:
        return ShownExample(note="Choose one of your accounts.")
    return _calculated(preset, account, chosen)


def _calculated(preset: TradingPreset, account: Account, chosen: ExampleForm) -> ShownExample:
    row = account.connection
    try:
        pair = canonical(chosen.value("example_pair") or USUAL_PAIR)
        asked = Asked(
            pair,
            chosen.value("example_side") or "BUY",
            chosen.value("example_stop"),
            chosen.value("example_category") or RiskCategory.NORMAL,
            chosen.value("example_quantity"),
        )
        found = sizing_example(preset, UUID(str(row.pk)), asked)
    except InvalidInputError as error:
        pairs = example_pairs(row.instrument_book)
        return ShownExample(note=error.detail, account=account, pairs=pairs)
    return ShownExample(
        found, account=account, stop=asked.stop, stop_unit=asked.stop_unit,
        rule=sizing_summary(preset), pairs=found.pairs,
    )  # fmt: skip
