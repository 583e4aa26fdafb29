"""Validation of settings and credentials, by the form of the broker type and the allowed hosts.

Console, portal and API all use it, so that each of them accepts the same values.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from brokers.connection_form import Form, SettingType, raise_first, unknown_key_error
from brokers.registry import broker_types, form_of
from common.errors import InvalidInputError, MisconfiguredError
from common.names import check_line
from common.reason_codes import Code
from connections.account_settings import hosts

log = structlog.get_logger(__name__)
LONGEST_SCOPE, LONGEST_CLAIM = 120, 500  # characters
_LINES = str.maketrans(dict.fromkeys("\n\r\t", " "))
_SECRETS = ("password", "secret", "token", "api_key", "apikey", "passphrase", "private_key")


def form_for(broker_type: str) -> Form:
    """Return the form of a broker type. Raises InvalidInputError FIELD_INVALID for `type`."""
    if broker_type not in broker_types():
        raise InvalidInputError(
            Code.FIELD_INVALID,
            f"There is no broker type {broker_type!r}. Installed: {', '.join(broker_types())}.",
            field="type",
        )
    return form_of(broker_type)


def form_if_available(broker_type: str) -> Form | None:
    """Return the form of a broker type; None if this process cannot use its package.

    Pages about such an account are shown without the form.
    """
    try:
        return form_of(broker_type)
    except (InvalidInputError, ImportError, AttributeError, MisconfiguredError):
        log.warning("no form for a broker type", broker_type=broker_type, exc_info=True)
        return None


def invalid_symbols_message(broker_type: str, names: Sequence[str]) -> str:
    """Return why names cannot be symbols of this broker; '' if they can, or the form has no check.

    Uses the check of the form's setting `symbols`.
    """
    form = form_if_available(broker_type)
    fields = form.settings if form is not None else ()
    listed = next((setting for setting in fields if setting.key == "symbols"), None)
    if listed is None or listed.check is None or listed.value_type is not SettingType.NAMES:
        return ""
    return listed.check(names)


def read_settings(
    broker_type: str, values: Mapping[str, Any], username: str = ""
) -> dict[str, Any]:
    """Return the validated settings as they are stored. username: of the account's owner.

    Raises InvalidInputError with one error for each wrong field (`others`): FIELD_REQUIRED,
    FIELD_INVALID, FIELD_UNKNOWN, HOST_NOT_ALLOWED.
    """
    form = form_for(broker_type)
    if not isinstance(values, Mapping):
        raise InvalidInputError(
            Code.FIELD_INVALID, "Settings are an object: { … }.", field="settings"
        )
    _refuse_secrets(values, form)
    validated = form.validate(values)
    hosts.check_named(*hosts_in_settings(form, validated), username)
    return validated


def scope_for(broker_type: str, owner_id: int, settings: Mapping[str, Any]) -> str:
    """Return the scope within which an account number is unique; '' for an unknown broker type.

    Two servers of a broker type may use the same number, and two owners the same name.
    """
    form = form_if_available(broker_type)
    return form.scope(settings, owner_id)[:LONGEST_SCOPE] if form else ""


def claim_for(
    broker_type: str,
    exchange: str,
    owner_id: int,
    settings: Mapping[str, Any],
    *,
    account: str,
    identity: str = "",
) -> str:
    """Return the unique claim of an account, from what its broker reports.

    account, identity: as reported. '' if the account's number is only its owner's name for it, and
    the broker reported no `identity`. A tenant's own gateway can report anything: its host is part
    of the claim, so that it cannot claim accounts of others. Gateways in the operators' networks
    are trusted.
    """
    form = form_for(broker_type)
    reported = identity if form.is_own_name else account
    if not reported:
        return ""
    scope = "" if form.is_own_name else scope_for(broker_type, owner_id, settings)
    gateways = hosts.hosts_outside_operator_networks(*hosts_in_settings(form, settings))
    return "|".join((broker_type, exchange, scope, reported, ",".join(gateways)))[:LONGEST_CLAIM]


def check_resolved(broker_type: str, settings: Mapping[str, Any], username: str) -> None:
    """Refuse settings whose hosts are in, or resolve into, our own network or another's gateway.

    Resolves names: call it outside of any transaction. Raises InvalidInputError HOST_NOT_ALLOWED.
    """
    hosts.check_resolved(*hosts_in_settings(form_for(broker_type), settings), username)


def hosts_in_settings(form: Form, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings with default hosts filled in, and the keys of hosts.

    A default is checked like any other host: a user who may not name our own gateway may not use
    it by default either.
    """
    fields = [setting for setting in form.settings if setting.value_type is SettingType.HOST]
    known = {setting.key: setting.default for setting in fields}
    return {**known, **settings}, list(known)


def read_exchange(broker_type: str, text: str) -> str:
    """Return the exchange as it is stored. Raises InvalidInputError for `exchange_name`."""
    form = form_for(broker_type)
    if form.exchange is None:
        check_line(text.strip(), "exchange_name")
        return text.strip()
    try:
        return str(form.exchange.read(text) or "")
    except InvalidInputError as error:
        error.field = "exchange_name"
        raise


def check_credential_names(broker_type: str, values: Mapping[str, str]) -> None:
    """Raise InvalidInputError FIELD_UNKNOWN or FIELD_REQUIRED if names of credentials are wrong.

    The credentials replace the stored ones, and a test could not show which name was misspelt.
    Unknown broker types, and those without credentials, are not checked.
    """
    form = form_if_available(broker_type)
    if form is None or not form.secrets:
        return
    known = [secret.key for secret in form.secrets]
    errors = [
        unknown_key_error(key, known, "credential", "credentials")
        for key in values
        if key not in known
    ]
    errors += [
        InvalidInputError(
            Code.FIELD_REQUIRED,
            f"{secret.label} is missing. {secret.hint}".strip(),
            field=f"credentials.{secret.key}",
        )
        for secret in form.secrets
        if secret.required and not values.get(secret.key)
    ]
    raise_first(errors)


def check_secrets(values: Mapping[str, str]) -> None:
    """Check the characters of credentials as `check_line` does; a value may have several lines."""
    for name, value in values.items():
        check_line(str(name), "credentials")
        check_line(value.translate(_LINES), f"credentials.{name}")


def _refuse_secrets(values: Mapping[str, Any], form: Form) -> None:
    """Refuse settings that look like credentials, because settings are shown on pages."""
    known = {setting.key for setting in form.fields}
    for key in values:
        if key not in known and any(word in str(key).lower() for word in _SECRETS):
            raise InvalidInputError(
                Code.FIELD_INVALID,
                f"{key!r} belongs to the credentials, which are encrypted; settings are not.",
                field=f"settings.{key}",
            )
