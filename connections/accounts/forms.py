"""The forms that add and change an account, for the console and the portal."""

from typing import Any

from django import forms
from django.db import transaction
from django.db.models import QuerySet

from brokers.registry import form_of
from common.form_fields import WholeNumberInput
from common.names import one_line
from connections.account_settings.forms import ACCOUNT_FIELDS, AccountSettings
from connections.account_settings.validation import form_if_available
from connections.accounts import services
from connections.credentials.forms import CredentialFields
from connections.market_data.forms import OWN, SourceField, selected_source
from connections.market_data.sources import can_provide_prices
from connections.models import (
    MAX_AGGREGATION_MS,
    DataConnection,
    ExecutionConnection,
    TradingPreset,
)
from users.models import User

FIRST_FIELDS = ("name", "owner", "takes_all", *ACCOUNT_FIELDS)


class AccountForm(CredentialFields, AccountSettings):
    """The settings of an account that can change.

    presets, sources: the presets and price sources that are offered; of the sources only those that
    the broker type can trade on. connection: None for a new account.
    """

    name = forms.CharField(
        max_length=100, validators=[one_line], help_text="How the account is named on these pages."
    )
    preset = forms.ModelChoiceField(
        TradingPreset.objects.none(), required=False, empty_label="None: nothing is traded",
        help_text="Sets the size of trades and the limits.",
    )  # fmt: skip
    data_connection = SourceField(
        DataConnection.objects.none(), required=False, label="Price source",
        empty_label="None: nothing is traded",
        help_text="Its prices are used to size trades and to monitor stops.",
    )  # fmt: skip
    auto_correct = forms.BooleanField(
        required=False,
        label="Accept changes made at the broker",
        help_text="Partial closes and moved levels are accepted without a decision once two"
        " comparisons found them. A missing stop is placed again; unknown positions always wait for"
        " a decision.",
    )

    aggregation_ms = WholeNumberInput(
        required=False,
        min_value=0,
        max_value=MAX_AGGREGATION_MS,
        initial=0,
        label="Send entries as one order within",
        help_text="Milliseconds. Market entries of one symbol and side wait so long for others and"
        " are then sent as one order; each keeps its own position and exits, and we guard their"
        " levels. 0: each is sent alone, at once. Only for accounts that net positions.",
    )

    def __init__(
        self,
        broker_type: str,
        data: Any = None,
        *,
        presets: QuerySet[TradingPreset],
        sources: QuerySet[DataConnection],
        connection: ExecutionConnection | None = None,
    ) -> None:
        super().__init__(data, initial=self._initial(broker_type, connection))
        self.broker_type, self.connection = broker_type, connection
        preset, source = self.fields["preset"], self.fields["data_connection"]
        assert isinstance(preset, forms.ModelChoiceField)
        assert isinstance(source, SourceField)
        preset.queryset, source.queryset = presets, sources
        source.offer(broker_type, connection)
        self.add_settings(form_if_available(broker_type), connection.settings if connection else {})
        self.order_fields([*FIRST_FIELDS, *self.setting_names])

    def _initial(self, broker_type: str, connection: ExecutionConnection | None) -> dict[str, Any]:
        if connection is None:
            return {"data_connection": OWN} if can_provide_prices(broker_type) else {}
        names = {"name", "preset", "auto_correct", "aggregation_ms", "is_active"}
        names &= set(self.base_fields)
        values = {name: getattr(connection, name) for name in names}
        return {**values, "data_connection": selected_source(connection)}

    def clean_aggregation_ms(self) -> int:
        """Return the window; an empty field is no window."""
        return self.cleaned_data["aggregation_ms"] or 0


class ChangeAccountForm(AccountForm):
    """The settings of an existing account.

    Another owner, broker type or account number needs a new account.
    """

    is_change = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        form = form_if_available(self.broker_type)
        if form is None or self.connection is None or not self.connection.sealed_credentials:
            return
        if places := [setting.label for setting in form.destinations]:
            needed = (
                "Leave it empty to keep the stored one. Needed only if you change: "
                f"{', '.join(places)}."
            )
            self.add_credentials(form, needed)
            basic = [name for name in self.setting_names if name not in self.advanced_names]
            self.order_fields([*FIRST_FIELDS, *basic, *self.secrets, *self.setting_names])

    def changed_values(self) -> dict[str, Any]:
        """Return the changed fields of the account; the credentials are one value, too."""
        changed = super().changed_values()
        changed = {name: value for name, value in changed.items() if name not in self.secrets}
        credentials = self.entered_credentials()
        return {**changed, "credentials": credentials} if credentials else changed

    @transaction.atomic
    def save(self, *, by: User) -> dict[str, Any]:
        """Write what was changed and return it. Raises as `update_connection`."""
        assert self.connection is not None
        pk, changed = self.connection.pk, self.changed_values()
        values = dict(changed)
        active = values.pop("is_active", None)
        uses_own = values.get("data_connection") == OWN and values.pop("data_connection")
        if values:
            services.update_connection(pk, by=by, **values)
        if uses_own:
            services.use_own_prices(pk, by=by)
        if active is not None:
            (services.activate if active else services.deactivate)(pk, by=by)
        return changed


class NewAccountForm(AccountForm):
    """A new account of one broker type; credentials and test follow."""

    account = forms.CharField(max_length=60, label="Account number")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_account(form_of(self.broker_type))
        self.order_fields([*FIRST_FIELDS, *self.setting_names])

    @transaction.atomic
    def create(
        self, *, by: User, user: User | None = None, admin: User | None = None
    ) -> ExecutionConnection:
        """Create the account of a user or an administrator. Raises as `create_connection`."""
        data = self.cleaned_data
        names = (
            "name", "account", "exchange_name", "preset", "auto_correct", "aggregation_ms",
            "is_active",
        )  # fmt: skip
        values = {name: data[name] for name in names if name in data}
        values["exchange_name"] = values.get("exchange_name") or ""
        if credentials := self.entered_credentials():
            values["credentials"] = credentials
        uses_own = data["data_connection"] == OWN
        connection = services.create_connection(
            by=by, user=user, admin=admin, type=self.broker_type,
            settings=self.entered_settings(),
            data_connection=None if uses_own else data["data_connection"], **values,
        )  # fmt: skip
        if uses_own:
            services.use_own_prices(connection.pk, by=by)
        return connection
