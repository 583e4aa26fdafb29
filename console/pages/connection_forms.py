"""The operators' forms to add and change a connection: the owners' forms with more fields."""

from typing import Any

from django import forms
from django.db.models import Q

from connections.forms import ChangeAccountForm, NewAccountForm
from connections.models import DataConnection, ExecutionConnection, TradingPreset
from users.lookups import named
from users.models import User


class ChangeForm(ChangeAccountForm):
    """The settings of a connection, and whether it is switched on."""

    is_active = forms.BooleanField(required=False, initial=True, label="Switched on")

    def __init__(self, connection: ExecutionConnection, data: Any = None) -> None:
        super().__init__(
            connection.type, data, presets=TradingPreset.objects.all(), connection=connection,
            sources=DataConnection.objects.filter(Q(user=connection.owner_id) | Q(user=None)),
        )  # fmt: skip


class AddForm(NewAccountForm):
    """A new connection and its owner."""

    owner = forms.CharField(max_length=150, help_text="The user's name.")
    takes_all = forms.BooleanField(
        required=False,
        label="Takes all published signals",
        help_text="Only for an administrator's own account; tenants subscribe to feeds.",
    )
    is_active = forms.BooleanField(required=False, initial=True, label="Switched on")

    def __init__(self, broker_type: str, data: Any = None) -> None:
        # the owner is entered in the same form; saving refuses another owner's price source
        super().__init__(
            broker_type, data, presets=TradingPreset.objects.all(),
            sources=DataConnection.objects.all(),
        )  # fmt: skip

    def clean_owner(self) -> User:
        owner = named(self.cleaned_data["owner"]).filter(is_active=True).first()
        if owner is None:
            raise forms.ValidationError("There is no active user with this name.")
        return owner
