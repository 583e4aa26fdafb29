"""The forms of the portal. Choices are limited to the tenant's own rows."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField

from common.clocks import market_now
from common.db.row_changes import ChangedFieldsForm
from common.fields import AmountField
from common.form_fields import Amount, WholeNumberInput
from common.money import plain
from common.names import one_line
from common.stop_rules import RULE_FIELDS, stop_rule_faults
from common.web.formatting import number
from connections.entry_limits import ENTRY_LIMITS
from connections.forms import ACCOUNT_FIELDS, NewAccountForm, form_if_available
from connections.models import (
    Directions,
    PriorityClass,
    Subscription,
)
from connections.services import PAPER_BALANCES, subscription_errors
from portal.form_fields import EndField, SymbolMapField, TextList
from portal.selectors.accounts import Account, presets_for, price_sources_for
from users.models import User

PRIORITIES = [c for c in PriorityClass.choices if c[0] != PriorityClass.HIGH]
DIRECTIONS = [("BOTH", "Buys and sells"), ("BUY", "Buys only"), ("SELL", "Sells only")]


class AddForm(NewAccountForm):
    """A new account of a tenant."""

    def __init__(self, user: User, broker_type: str, data: Any = None) -> None:
        super().__init__(
            broker_type, data, presets=presets_for(user), sources=price_sources_for(user)
        )
        for later in ("auto_correct", "aggregation_ms"):  # chosen on the account's page
            del self.fields[later]
        self.add_credentials(form_if_available(broker_type), "Empty: enter it later.")
        settings = self.setting_names
        basic = [name for name in settings if name not in self.advanced_names]
        self.order_fields(["name", *ACCOUNT_FIELDS, *basic, *self.secrets, "preset", *settings])


class PaperForm(forms.Form):
    """A paper account that is opened by one click: what it starts with.

    key: of the page that shows the button, so that a double click opens one account.
    """

    start = forms.ChoiceField(
        label="Starts with",
        initial="USD 10000",
        choices=[
            (currency, [(f"{currency} {one}", f"{number(one)} {currency}") for one in offered])
            for currency, offered in PAPER_BALANCES.items()
        ],
        help_text="The balance and the currency of the account; neither changes later.",
    )
    name = forms.CharField(
        validators=[one_line],
        required=False,
        max_length=100,
        help_text="Empty: a free one, such as Paper USD.",
    )
    key = forms.CharField(widget=forms.HiddenInput, max_length=64)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, initial={"key": uuid4().hex})

    def terms(self) -> dict[str, Any]:
        """Return what was chosen, as `open_paper_account` takes it."""
        currency, balance = self.cleaned_data["start"].split()
        name, key = self.cleaned_data["name"], self.cleaned_data["key"]
        return {"currency": currency, "balance": int(balance), "name": name, "request_key": key}


class TakeForm(ChangedFieldsForm, forms.Form):
    """How an account subscribes to a feed: size, directions and priority."""

    multiplier = Amount(
        label="Size",
        initial="1",
        help_text="A multiple of the size that the account’s preset gives: 0.5 is half.",
    )
    directions = forms.ChoiceField(choices=DIRECTIONS, initial=Directions.BOTH)
    priority = forms.TypedChoiceField(
        coerce=int,
        choices=PRIORITIES,
        initial=PriorityClass.NORMAL,
        help_text="Low: its entries wait while many others are due. Exits never wait for entries.",
    )
    expires_at = EndField(
        label="Ends",
        required=False,
        help_text="UTC. From then on its signals are skipped; open positions stay. Empty: no end.",
    )
    symbol_map = SymbolMapField(
        label="Symbols",
        required=False,
        help_text="Only where your broker’s symbol is not found automatically, or another one is to"
        " be traded: one line each, EUR/USD = EURUSD.m",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.initial.get("priority") == PriorityClass.HIGH:  # an operator gave it
            field = self.fields["priority"]
            assert isinstance(field, forms.ChoiceField)
            field.choices = PriorityClass.choices
        self.fields |= forms.fields_for_model(Subscription, RULE_FIELDS)
        self._mark_fields()

    def clean_expires_at(self) -> datetime | None:
        """Refuse an end that has passed, unless it is the one that the subscription has."""
        end: datetime | None = self.cleaned_data["expires_at"]
        if end is not None and end <= market_now() and "expires_at" in self.changed_data:
            raise forms.ValidationError(
                f"This has passed: it is {market_now():%Y-%m-%d %H:%M} UTC."
            )
        return end

    def clean(self) -> dict[str, Any]:
        """Add the faults of the break-even and trailing rule to their fields."""
        data = super().clean() or self.cleaned_data
        for name, detail in stop_rule_faults(data):
            self.add_error(name, detail)
        return data

    @property
    def stop_rule(self) -> dict[str, Any]:
        """The break-even and trailing rule that was entered."""
        return {name: self.cleaned_data[name] for name in RULE_FIELDS}


class SubscribeForm(TakeForm):
    """Which account subscribes, and how."""

    is_change = False
    account = forms.ChoiceField()
    field_order = (
        "account", "multiplier", "directions", "priority", "expires_at", "symbol_map", *RULE_FIELDS
    )  # fmt: skip

    def __init__(self, free: Sequence[Account], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(str(a.connection.pk), a.connection.name) for a in free]


class ShownPositionsForm(forms.Form):
    """The positions that a confirmation shows, so that no others are closed by it."""

    positions = forms.CharField(widget=forms.HiddenInput)

    def clean_positions(self) -> set[int]:
        """Return the ids."""
        return _ids_of(self.cleaned_data["positions"], "positions")


class ShownOrdersForm(forms.Form):
    """The orders that a confirmation shows, so that no others are cancelled by it."""

    orders = forms.CharField(widget=forms.HiddenInput)

    def clean_orders(self) -> set[int]:
        """Return the ids."""
        return _ids_of(self.cleaned_data["orders"], "working orders")


def _ids_of(text: str, what: str) -> set[int]:
    texts = text.split(",")
    if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in texts):
        raise forms.ValidationError(f"Open the page again from the list of {what}.")
    return {int(text) for text in texts}


class LimitsForm(ChangedFieldsForm, forms.Form):
    """The limits of a subscription. The service compares them with the preset's."""

    def __init__(self, subscription: Subscription, data: Any = None) -> None:
        columns = {column.name: column for column in Subscription._meta.concrete_fields}
        initial = {_shown_name(name): getattr(subscription, name) for name in ENTRY_LIMITS}
        super().__init__(data, initial=initial)
        preset = subscription.connection.preset
        for name in ENTRY_LIMITS:
            field = _limit_field(columns[name])
            field.widget.attrs["placeholder"] = _of_preset(getattr(preset, name, None))
            self.fields[_shown_name(name)] = field
        self._mark_fields()
        self.subscription = subscription

    def clean(self) -> dict[str, Any]:
        """Compare the limits that could be read with the preset's, if others could not."""
        data = super().clean() or self.cleaned_data
        changes = {name: data[name] for name in self.changed_data if name in data}
        errors = subscription_errors(self.subscription, changes, None) if self.errors else []
        for error in errors:  # else saving them states them
            if error.field in self.fields and error.field not in self.errors:
                self.add_error(error.field, error.detail)
        return data


def _of_preset(value: Any) -> str:
    """Return what the input of a limit shows while it is empty: the preset's value."""
    if value in (None, "", []):
        return "The preset has no limit"
    if isinstance(value, list):
        return f"Preset: {', '.join(value)}"
    return f"Preset: {plain(value) if isinstance(value, Decimal) else value}"


def _shown_name(name: str) -> str:
    return name.removesuffix("_pips")


def _limit_field(column: Any) -> forms.Field:
    label = str(column.verbose_name).replace(" percent", ", %").replace(" seconds", ", seconds")
    shown: dict[str, Any] = {
        "label": label[:1].upper() + label[1:], "help_text": column.help_text, "required": False,
    }  # fmt: skip
    if isinstance(column, AmountField):
        return Amount(**shown)
    if isinstance(column, ArrayField):
        return TextList(**shown)
    if column.choices:
        return forms.ChoiceField(choices=[("", "Default of the symbol"), *column.choices], **shown)
    if isinstance(column, BooleanField):
        return forms.BooleanField(**shown)
    return WholeNumberInput(min_value=1, **shown)


class PauseForm(forms.Form):
    """Whether pausing everything also cancels unfilled entries and closes positions."""

    cancel_working = forms.BooleanField(required=False, initial=True)
    close_positions = forms.BooleanField(required=False)
