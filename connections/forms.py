"""The forms of connections: pages of other apps import them from here."""

from connections.account_settings.forms import (
    BrokerTypeForm,
    broker_type_label,
    display_settings,
    has_only_broker_type,
    selected_broker_type,
    takes_credentials,
)
from connections.account_settings.validation import check_resolved
from connections.accounts.forms import ChangeAccountForm, NewAccountForm
from connections.credentials.forms import CredentialsForm, credentials_page

__all__ = [
    "BrokerTypeForm",
    "ChangeAccountForm",
    "CredentialsForm",
    "NewAccountForm",
    "broker_type_label",
    "check_resolved",
    "credentials_page",
    "display_settings",
    "has_only_broker_type",
    "selected_broker_type",
    "takes_credentials",
]
