"""The forms of the portal. Choices are limited to the tenant's own rows."""

from collections.abc import Sequence
from typing import Any

from django import forms

from common.form_fields import Amount
from common.row_changes import ChangedFieldsForm
from connections.forms import NewAccountForm
from connections.models import Directions
from portal.selectors.accounts import Account, presets_for, price_sources_for
from users.models import User

DIRECTIONS = [("BOTH", "Buys and sells"), ("BUY", "Buys only"), ("SELL", "Sells only")]


class AddForm(NewAccountForm):
    """A new account of a tenant."""

    def __init__(self, user: User, broker_type: str, data: Any = None) -> None:
        super().__init__(
            broker_type, data, presets=presets_for(user), sources=price_sources_for(user)
        )
        del self.fields["auto_correct"]  # it is chosen later, on the account's page


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


class PauseForm(forms.Form):
    """Whether pausing everything also cancels working entries."""

    cancel_working = forms.BooleanField(required=False, initial=True)
