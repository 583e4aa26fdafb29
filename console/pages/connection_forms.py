"""The operators' forms to add and change a connection."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Q, QuerySet

from brokers.registry import form_of
from connections.forms import (
    ACCOUNT_FIELDS,
    OWN,
    AccountSettings,
    SourceField,
    known_form,
    selected_source,
)
from connections.models import DataConnection, ExecutionConnection, TradingPreset
from connections.selectors import can_provide_prices
from users.models import User


class ChangeForm(AccountSettings):
    """Settings that can change. Another owner, broker type or account needs a new connection."""

    is_change = True

    name = forms.CharField(max_length=100)
    preset = forms.ModelChoiceField(
        TradingPreset.objects.all(),
        required=False,
        help_text="Sets sizes and limits. Without one nothing is traded.",
    )
    data_connection = SourceField(
        DataConnection.objects.none(), required=False, label="Price source",
        empty_label="None: nothing is traded",
        help_text="Its prices are used to size trades and to monitor stops.",
    )  # fmt: skip
    auto_correct = forms.BooleanField(
        required=False,
        label="Correct automatically",
        help_text="Reduced quantities and moved levels at the broker are accepted without a"
        " decision once two comparisons found them. Unknown positions never are.",
    )
    is_active = forms.BooleanField(required=False, initial=True, label="Switched on")

    def __init__(
        self, kind: str, kept: Mapping[str, Any], *args: Any,
        of: ExecutionConnection | None = None, **kw: Any,
    ) -> None:  # fmt: skip
        super().__init__(*args, **kw)
        source = self.fields["data_connection"]
        assert isinstance(source, SourceField)
        source.queryset = usable_by(of)
        source.offer(kind, of)
        self.add_settings(known_form(kind), kept)
        self.order_fields(["name", *self.setting_names])


class AddForm(ChangeForm):
    """A new connection with its owner and account."""

    is_change = False

    owner = forms.CharField(max_length=150, help_text="The user's name.")
    takes_all = forms.BooleanField(
        required=False,
        label="Takes all published signals",
        help_text="Only for an administrator's own account; tenants subscribe to feeds.",
    )
    account = forms.CharField(max_length=60, label="Account number")

    def __init__(self, kind: str, *args: Any) -> None:
        super().__init__(kind, {}, *args)
        if can_provide_prices(kind):
            self.initial["data_connection"] = OWN
        self.add_account(form_of(kind))
        names = ("name", "owner", "takes_all", *ACCOUNT_FIELDS, *self.setting_names, "preset",
                 "data_connection", "auto_correct", "is_active")  # fmt: skip
        self.order_fields(names)

    def clean_owner(self) -> User:
        owner = User.objects.filter(username=self.cleaned_data["owner"], is_active=True).first()
        if owner is None:
            raise forms.ValidationError("There is no active user with this name.")
        return owner


def initial_of(connection: ExecutionConnection) -> dict[str, Any]:
    """Return the initial values of the form of an existing connection."""
    names = ("name", "preset", "auto_correct", "is_active")
    now = {name: getattr(connection, name) for name in names}
    return {**now, "data_connection": selected_source(connection)}


def usable_by(connection: ExecutionConnection | None) -> QuerySet[DataConnection]:
    """Return the price sources that an account may use: its owner's and the shared ones.

    For a new connection, whose owner is entered in the same form, all sources are offered; saving
    refuses another owner's.
    """
    rows = DataConnection.objects.all()
    if connection is None:
        return rows
    return rows.filter(Q(user=connection.owner_id) | Q(user=None))
