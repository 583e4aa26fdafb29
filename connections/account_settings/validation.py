"""What an account's settings may say: its kind's form decides, and the operators' allowed hosts.

Every way in (console, portal, API) comes through here, so none of them lets in what another would
refuse.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import category

import structlog

from brokers.connection_form import Form, SettingType, raise_first, unknown_key_error
from brokers.registry import broker_types, form_of
from common.errors import InvalidInputError, MisconfiguredError
from common.reason_codes import Code
from connections.account_settings import hosts
from connections.models.accounts import LONGEST_CLAIM, LONGEST_SCOPE

log = structlog.get_logger(__name__)
_INVISIBLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, half characters, ends of lines
_LINES = str.maketrans(dict.fromkeys("\n\r\t", " "))
_SECRETS = ("password", "secret", "token", "api_key", "apikey", "passphrase", "private_key")


def form_for(broker_type: str) -> Form:
    """Return a kind's form. Raises InvalidInputError FIELD_INVALID about `type`."""
    if broker_type not in broker_types():
        raise InvalidInputError(
            Code.FIELD_INVALID,
            f"There is no broker type {broker_type!r}. Installed: {', '.join(broker_types())}.",
            field="type",
        )
    return form_of(broker_type)


def known_form(broker_type: str) -> Form | None:
    """Return a kind's form; None where its package is gone from this process, or broken: pages
    about such an account are shown without it."""
    try:
        return form_of(broker_type)
    except (InvalidInputError, ImportError, AttributeError, MisconfiguredError):
        log.warning("a broker kind has no form here", kind=broker_type, exc_info=True)
        return None


def invalid_symbols_message(broker_type: str, names: Sequence[str]) -> str:
    """Return why names cannot be this broker's symbols, by the check of the form's own `symbols`;
    "" if they can be, or if the form does not judge names."""
    form = known_form(broker_type)
    fields = form.settings if form is not None else ()
    listed = next((one for one in fields if one.key == "symbols"), None)
    if listed is None or listed.check is None or listed.value_type is not SettingType.NAMES:
        return ""
    return listed.check(names)


def read_settings(
    broker_type: str, values: Mapping[str, Any], username: str = ""
) -> dict[str, Any]:
    """Return the settings as they are kept. username: whose account it is.

    Raises InvalidInputError with one error for each field that is wrong (`others`): FIELD_REQUIRED,
    FIELD_INVALID, FIELD_UNKNOWN, HOST_NOT_ALLOWED.
    """
    form = form_for(broker_type)
    if not isinstance(values, Mapping):
        raise InvalidInputError(
            Code.FIELD_INVALID, "Settings are an object: { … }.", field="settings"
        )
    _refuse_secrets(values, form)
    kept = form.validate(values)
    hosts.check_named(*named_hosts(form, kept), username)
    return kept


def scope_for(broker_type: str, owner_id: int, settings: Mapping[str, Any]) -> str:
    """Return among which accounts of a kind a number names one: two brokers' servers may give the
    same, and two owners the same name. '' for a kind that nobody here knows."""
    form = known_form(broker_type)
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
    """Return what one account is the only one with, by what its broker calls it; '': nobody can
    tell, for its owner gave it a name and the broker told no `identity`.

    A gateway that a tenant runs may say what its owner likes: its word counts among its own
    accounts alone. Those in networks that the operators named are believed of one another's.
    """
    form = form_for(broker_type)
    reported = identity if form.is_own_name else account
    if not reported:
        return ""
    scope = "" if form.is_own_name else scope_for(broker_type, owner_id, settings)
    gateways = hosts.hosts_outside_operator_networks(*named_hosts(form, settings))
    return "|".join((broker_type, exchange, scope, reported, ",".join(gateways)))[:LONGEST_CLAIM]


def check_resolved(broker_type: str, settings: Mapping[str, Any], username: str) -> None:
    """Refuse settings whose hosts are, or lead into, our own network or somebody else's gateway. It
    asks the name server: not inside a transaction. Raises InvalidInputError HOST_NOT_ALLOWED.
    """
    hosts.check_resolved(*named_hosts(form_for(broker_type), settings), username)


def named_hosts(form: Form, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings with the hosts that count where they name none, and the keys of hosts.

    A default is a host like any other: who may not name our own gateway may not leave it out
    either.
    """
    fields = [setting for setting in form.settings if setting.value_type is SettingType.HOST]
    known = {setting.key: setting.default for setting in fields}
    return {**known, **settings}, list(known)


def read_exchange(broker_type: str, text: str) -> str:
    """Return the exchange as it is kept. Raises InvalidInputError about `exchange_name`."""
    form = form_for(broker_type)
    if form.exchange is None:
        check_line(text.strip(), "exchange_name")
        return text.strip()
    try:
        return str(form.exchange.read(text) or "")
    except InvalidInputError as error:
        error.field = "exchange_name"
        raise


def check_line(text: str, field: str) -> None:
    """Refuse a text with characters that no line of text has, as NUL is, which no database takes.
    Raises InvalidInputError FIELD_INVALID about the field."""
    if any(category(one) in _INVISIBLE for one in text):
        raise InvalidInputError(
            Code.FIELD_INVALID,
            "It has characters that nobody can see: write it anew, on one line.",
            field=field,
        )


def check_credential_names(broker_type: str, values: Mapping[str, str]) -> None:
    """Refuse credentials that the kind does not ask for, and those that lack one: they replace what
    is stored, and no test could say which name was misspelt. A kind that asks for none, or that
    nobody here knows, is not judged. Raises InvalidInputError FIELD_UNKNOWN, FIELD_REQUIRED."""
    form = known_form(broker_type)
    if form is None or not form.secrets:
        return
    known = [secret.key for secret in form.secrets]
    wrong = [
        unknown_key_error(key, known, "credential", "credentials")
        for key in values
        if key not in known
    ]
    wrong += [
        InvalidInputError(
            Code.FIELD_REQUIRED,
            f"{secret.label} is missing. {secret.hint}".strip(),
            field=f"credentials.{secret.key}",
        )
        for secret in form.secrets
        if secret.required and not values.get(secret.key)
    ]
    raise_first(wrong)


def check_secrets(values: Mapping[str, str]) -> None:
    """Refuse credentials with characters of that kind; a key may have several lines."""
    for name, value in values.items():
        check_line(str(name), "credentials")
        check_line(value.translate(_LINES), f"credentials.{name}")


def _refuse_secrets(values: Mapping[str, Any], form: Form) -> None:
    """Refuse what belongs to the credentials: settings are shown."""
    known = {setting.key for setting in form.fields}
    for key in values:
        if key not in known and any(word in str(key).lower() for word in _SECRETS):
            raise InvalidInputError(
                Code.FIELD_INVALID,
                f"{key!r} belongs to the credentials, which are sealed; settings are shown.",
                field=f"settings.{key}",
            )
