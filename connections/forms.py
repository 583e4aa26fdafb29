"""The forms of connections: pages of other apps import them from here."""

from connections.account_settings.forms import (
    ACCOUNT_FIELDS,
    BrokerTypeForm,
    broker_type_label,
    display_settings,
    has_only_broker_type,
    selected_broker_type,
    takes_credentials,
)
from connections.account_settings.validation import check_resolved, form_if_available
from connections.accounts.forms import ChangeAccountForm, NewAccountForm
from connections.credentials.forms import CredentialsForm, credentials_page
from connections.subscriptions.forms import PriorityForm, RouteForm, route_points

__all__ = [
    "ACCOUNT_FIELDS",
    "BrokerTypeForm",
    "ChangeAccountForm",
    "CredentialsForm",
    "NewAccountForm",
    "PriorityForm",
    "RouteForm",
    "broker_type_label",
    "check_resolved",
    "credentials_page",
    "display_settings",
    "form_if_available",
    "has_only_broker_type",
    "route_points",
    "selected_broker_type",
    "takes_credentials",
]
