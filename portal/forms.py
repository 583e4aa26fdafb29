"""The forms of the portal. Choices are limited to the tenant's own rows."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms

from brokers.registry import form_of
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.row_changes import ChangedFieldsForm
from connections.forms import (
    ACCOUNT_FIELDS,
    OWN,
    AccountSettings,
    SourceField,
    known_form,
    selected_source,
)
from connections.models import DataConnection, Directions, ExecutionConnection, TradingPreset
from connections.selectors import can_provide_prices
from portal.selectors.accounts import Account, presets_for, price_sources_for
from users.models import User

DIRECTIONS = [("BOTH", "Buys and sells"), ("BUY", "Buys only"), ("SELL", "Sells only")]
FRACTIONS = [
    ("1", "All of it"),
    ("0.5", "Half of what was opened"),
    ("0.25", "A quarter of what was opened"),
]


class Amount(forms.CharField):
    """A decimal above zero, written as `1.5`."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return read_decimal(text.strip(), positive=True)
        except InvalidInputError as error:
            remedy = error.code.hint or "Write it as 1.5."
            raise forms.ValidationError(f"{error.detail} {remedy}") from error

    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, Decimal) else value


class AccountForm(AccountSettings):
    """The settings of an account that its owner can change."""

    name = forms.CharField(max_length=100, help_text="How the account is named on these pages.")
    preset = forms.ModelChoiceField(
        TradingPreset.objects.none(), required=False, empty_label="None: nothing is traded",
        help_text="Sets the size of your trades and your limits.",
    )  # fmt: skip
    data_connection = SourceField(
        DataConnection.objects.none(), required=False, label="Price source",
        empty_label="None: nothing is traded",
        help_text="Its prices are used to size trades and to monitor stops.",
    )  # fmt: skip

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["preset"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = presets_for(user)

    def offer_sources(self, user: User, kind: str, of: ExecutionConnection | None = None) -> None:
        """Offer the price sources for this broker type. of: the account, if it exists."""
        field = self.fields["data_connection"]
        assert isinstance(field, SourceField)
        field.queryset = price_sources_for(user, kept=of.data_connection_id if of else None)
        field.offer(kind, of)


class ChangeAccountForm(AccountForm):
    """The same for an existing account, with automatic correction."""

    is_change = True

    auto_correct = forms.BooleanField(
        required=False,
        label="Accept what I change at the broker",
        help_text="Partial closes and moved levels at the broker are accepted without a question. A"
        " missing stop is placed again; unknown positions always wait for your decision.",
    )

    def __init__(self, user: User, connection: ExecutionConnection, *args: Any) -> None:
        super().__init__(user, *args, initial=before(connection))
        self.offer_sources(user, connection.type, connection)
        self.add_settings(known_form(connection.type), connection.settings)
        self.order_fields(["name", *self.setting_names])


def before(connection: ExecutionConnection) -> dict[str, Any]:
    """Return the current values of what can be changed."""
    names = ("name", "preset", "auto_correct")
    now = {name: getattr(connection, name) for name in names}
    return {**now, "data_connection": selected_source(connection)}


class AddForm(AccountForm):
    """A new account of one broker type; credentials and test follow."""

    account = forms.CharField(max_length=60, label="Account number")

    def __init__(self, user: User, kind: str, *args: Any) -> None:
        super().__init__(user, *args)
        form = form_of(kind)
        self.offer_sources(user, kind)
        if can_provide_prices(kind):
            self.initial["data_connection"] = OWN
        self.add_account(form)
        self.add_settings(form, {})
        self.order_fields(
            ["name", *ACCOUNT_FIELDS, *self.setting_names, "preset", "data_connection"]
        )


class TakeForm(ChangedFieldsForm, forms.Form):
    """How an account subscribes to a feed: size and directions."""

    multiplier = Amount(
        label="Size",
        initial="1",
        help_text="A multiple of the size that the account’s preset gives: 0.5 is half.",
    )
    directions = forms.ChoiceField(choices=DIRECTIONS, initial=Directions.BOTH)


class SubscribeForm(TakeForm):
    """Which account subscribes, and how."""

    is_change = False
    account = forms.ChoiceField()
    field_order = ("account", "multiplier", "directions")

    def __init__(self, free: Sequence[Account], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(str(a.connection.pk), a.connection.name) for a in free]


class CloseForm(forms.Form):
    """How much of a position to close."""

    fraction = forms.ChoiceField(label="How much", choices=FRACTIONS)


class AdoptForm(forms.Form):
    """The levels of an adopted trade."""

    stop_loss = Amount(
        required=False, help_text="Leave empty to keep the stop that your broker holds, if any."
    )
    take_profit = Amount(required=False)


class RelinkForm(forms.Form):
    """The order or position of ours that it belongs to."""

    order = forms.IntegerField(
        required=False, min_value=1, help_text="The number of one of your orders, or:"
    )
    position = forms.IntegerField(
        required=False, min_value=1, help_text="The number of one of your positions."
    )


class IgnoreForm(forms.Form):
    """Why a difference is ignored."""

    reason = forms.CharField(max_length=200, help_text="A note for yourself.")


class PauseForm(forms.Form):
    """Whether pausing everything also cancels working entries."""

    cancel_working = forms.BooleanField(required=False, initial=True)
