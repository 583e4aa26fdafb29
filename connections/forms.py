"""The forms of connections: pages of other apps import them from here."""

from connections.account_settings.forms import (
    ACCOUNT_FIELDS,
    AccountSettings,
    BrokerTypeForm,
    broker_type_label,
    display_settings,
    has_only_broker_type,
    selected_broker_type,
    takes_credentials,
)
from connections.account_settings.validation import check_resolved, known_form
from connections.credentials.forms import CredentialsForm
from connections.market_data.forms import OWN, SourceField, selected_source

__all__ = [
    "ACCOUNT_FIELDS",
    "OWN",
    "AccountSettings",
    "BrokerTypeForm",
    "CredentialsForm",
    "SourceField",
    "broker_type_label",
    "check_resolved",
    "display_settings",
    "has_only_broker_type",
    "known_form",
    "selected_broker_type",
    "selected_source",
    "takes_credentials",
]
