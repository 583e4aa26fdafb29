"""The forms by which operators add a connection and change what may be changed of it."""

from typing import Any

from django import forms

from brokers.registry import kinds
from connections.models import DataConnection, ExecutionConnection, TradingPreset
from users.models import User


def _kinds() -> list[tuple[str, str]]:
    return [(kind, kind) for kind in kinds()]


class ChangeForm(forms.Form):
    """What can be changed. For another owner, kind or account, make another connection."""

    name = forms.CharField(max_length=100)
    preset = forms.ModelChoiceField(
        TradingPreset.objects.all(), required=False, help_text="Without one nothing is traded."
    )
    data_connection = forms.ModelChoiceField(
        DataConnection.objects.all(), required=False, label="Price source"
    )
    settings = forms.JSONField(
        required=False,
        initial=dict,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="JSON, for example host and port. Secrets belong to the credentials; here they "
        "are refused.",
    )
    auto_correct = forms.BooleanField(
        required=False,
        label="Correct by itself",
        help_text="Quantities that shrank and levels that were moved at the broker are taken over "
        "without a decision, once they were seen twice. Unknown positions never are.",
    )
    is_active = forms.BooleanField(required=False, initial=True, label="Switched on")

    def clean_settings(self) -> dict[str, Any]:
        value = self.cleaned_data["settings"] or {}
        if not isinstance(value, dict):
            raise forms.ValidationError("Settings are a JSON object: { … }.")
        return value


class AddForm(ChangeForm):
    """A new connection, with its owner and account."""

    owner = forms.CharField(max_length=150, help_text="The user's name.")
    takes_all = forms.BooleanField(
        required=False,
        label="Takes every published signal",
        help_text="Only for an administrator's own account; tenants subscribe to feeds.",
    )
    type = forms.ChoiceField(choices=_kinds, label="Kind")
    exchange_name = forms.CharField(
        max_length=40, required=False, label="Exchange", help_text="Only for crypto."
    )
    account = forms.CharField(max_length=60, help_text="The account number or login at the broker.")
    field_order = ("name", "owner", "takes_all", "type", "exchange_name", "account", "preset",
                   "data_connection", "settings", "auto_correct", "is_active")  # fmt: skip

    def clean_owner(self) -> User:
        owner = User.objects.filter(username=self.cleaned_data["owner"], is_active=True).first()
        if owner is None:
            raise forms.ValidationError("There is no active user of this name.")
        return owner


def initial_of(connection: ExecutionConnection) -> dict[str, Any]:
    """What the form of an existing connection begins with."""
    names = ("name", "preset", "data_connection", "settings", "auto_correct", "is_active")
    return {name: getattr(connection, name) for name in names}
