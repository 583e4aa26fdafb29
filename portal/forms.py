"""What tenants fill in. Choices are a tenant's own rows: another's id is simply not among them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms

from brokers.registry import form_of
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.row_changes import ChangedFieldsForm
from connections.account_settings.forms import ACCOUNT_FIELDS, AccountSettings
from connections.account_settings.validation import known_form
from connections.market_data.forms import OWN, SourceField, selected_source
from connections.models import DataConnection, Directions, ExecutionConnection, TradingPreset
from connections.selectors import can_provide_prices
from portal.selectors.accounts import Account, presets_for, price_sources_for
from users.models import User

DIRECTIONS = [("BOTH", "Buys and sells"), ("BUY", "Buys only"), ("SELL", "Sells only")]
FRACTIONS = [("1", "All of it"), ("0.5", "Half of what was opened"), ("0.25", "A quarter")]


class Amount(forms.CharField):
    """A plain decimal above zero, read by the one strict grammar: `1.5`."""

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
    """What can be changed of an account."""

    name = forms.CharField(max_length=100, help_text="As you want to read it on these pages.")
    preset = forms.ModelChoiceField(
        TradingPreset.objects.none(), required=False, empty_label="None: nothing is traded",
        help_text="Says how large a trade may be, and your limits.",
    )  # fmt: skip
    data_connection = SourceField(
        DataConnection.objects.none(), required=False, label="Price source",
        empty_label="None: nothing is traded",
        help_text="By its prices trades are sized and stops are watched.",
    )  # fmt: skip

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["preset"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = presets_for(user)

    def offer_sources(self, user: User, kind: str, of: ExecutionConnection | None = None) -> None:
        """Offer what an account of this kind may go by. of: the account, once it is there."""
        field = self.fields["data_connection"]
        assert isinstance(field, SourceField)
        field.queryset = price_sources_for(user, kept=of.data_connection_id if of else None)
        field.offer(kind, of)


class ChangeAccountForm(AccountForm):
    """The same, and what the account may correct by itself."""

    is_change = True

    auto_correct = forms.BooleanField(
        required=False,
        label="Take over what I change at the broker",
        help_text="Parts that I close and levels that I move there count without asking me. A stop "
        "that is gone is put back; unknown positions always wait for me.",
    )

    def __init__(self, user: User, connection: ExecutionConnection, *args: Any) -> None:
        super().__init__(user, *args, initial=before(connection))
        self.offer_sources(user, connection.type, connection)
        self.add_settings(known_form(connection.type), connection.settings)
        self.order_fields(["name", *self.setting_names])


def before(connection: ExecutionConnection) -> dict[str, Any]:
    """What an account says now of what can be changed."""
    names = ("name", "preset", "auto_correct")
    now = {name: getattr(connection, name) for name in names}
    return {**now, "data_connection": selected_source(connection)}


class AddForm(AccountForm):
    """A new account of one kind. Its credentials come next, then its test."""

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
    """How an account takes a feed."""

    multiplier = Amount(
        label="Size", initial="1", help_text="Times what the account’s preset says: 0.5 is half."
    )
    directions = forms.ChoiceField(choices=DIRECTIONS, initial=Directions.BOTH)


class SubscribeForm(TakeForm):
    """Which account takes it, and how."""

    is_change = False
    account = forms.ChoiceField()
    field_order = ("account", "multiplier", "directions")

    def __init__(self, free: Sequence[Account], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(str(a.connection.pk), a.connection.name) for a in free]


class CloseForm(forms.Form):
    """How much of a position is closed."""

    fraction = forms.ChoiceField(label="How much", choices=FRACTIONS)


class AdoptForm(forms.Form):
    """The levels that an adopted trade gets."""

    stop_loss = Amount(required=False, help_text="Empty: what your broker holds, if anything.")
    take_profit = Amount(required=False)


class RelinkForm(forms.Form):
    """What it really is."""

    order = forms.IntegerField(
        required=False, min_value=1, help_text="The number of an order of yours, or:"
    )
    position = forms.IntegerField(required=False, min_value=1, help_text="That of a position.")


class IgnoreForm(forms.Form):
    """Why it is left."""

    reason = forms.CharField(max_length=200, help_text="For yourself, later.")


class PauseForm(forms.Form):
    """What a pause of everything takes along."""

    cancel_working = forms.BooleanField(required=False, initial=True)
