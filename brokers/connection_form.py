"""The form to connect an account: its settings, which stay visible, and its secrets.

Each broker type has one `Form`, which needs nothing of the broker's library: pages display it and
all entry points validate with it, even if that library is not installed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from brokers.setting_types import READERS, InvalidSettingError, SettingType
from common.errors import InvalidInputError
from common.reason_codes import Code

__all__ = ["COMMON", "Form", "OpenChangeRule", "Secret", "Setting", "SettingType", "raise_first"]


class OpenChangeRule(StrEnum):
    """Whether a setting may change while the account has a working order or an open position.

    After a wrong change we would compare our rows with another server's or market's books: open
    positions would look closed, and sent orders as if they had never arrived.
    """

    FREE = "free"  # it may change: open orders and positions are found all the same
    IDENTIFIES_ACCOUNT = "identifies account"  # locked: it states which account it is, or where
    LOCKED = "locked"  # locked, but it does not identify the account
    LOCKED_BY_SYMBOL = "locked by symbol"  # a symbol's value is locked while the symbol is open


_LOCATION_TYPES = frozenset({SettingType.HOST, SettingType.FOLDER})
_ADDRESS_KEYS = frozenset(
    {"host", "port", "server", "server_host", "gateway", "url", "base_url", "address", "exchange"}
    | {"sandbox"}
)
_LOCATION_KEYS = _ADDRESS_KEYS | {"market"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One visible field. key: its name in the connection's settings.

    default: used if the field is empty. choices: value and label, of a CHOICE. minimum and maximum:
    the bounds of a number. check: returns a sentence if the value cannot be used,
    else ''. while_open:
    whether it may change while something is open; None: fields that may locate the account (a HOST,
    a FOLDER, a key such as `server`) identify it, SYMBOLS are locked by symbol, all else is free.
    is_basic: people know it when they add the account, as they know what is required.
    is_destination: whether it decides where the credentials are sent: they are stored for this
    value only. None: a HOST, a FOLDER and keys such as `server` or `port` do.
    """

    key: str
    label: str
    hint: str = ""
    value_type: SettingType = SettingType.TEXT
    default: Any = None
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    check: Callable[[Any], str] | None = None
    while_open: OpenChangeRule | None = None
    is_basic: bool = False
    is_destination: bool | None = None

    @property
    def sends_credentials(self) -> bool:
        """Whether the credentials are sent where it says."""
        if self.is_destination is not None:
            return self.is_destination
        return self.value_type in _LOCATION_TYPES or self.key in _ADDRESS_KEYS

    @property
    def is_advanced(self) -> bool:
        """Whether forms show it under "Advanced": most people leave it as it is."""
        return not (self.required or self.is_basic)

    def read(self, value: Any) -> Any:
        """Return the value to store; None if it is empty.

        Raises InvalidInputError FIELD_INVALID or FIELD_REQUIRED; `field` is `settings.<key>`.
        """
        if isinstance(value, str):
            value = value.strip()
        if value is None or value in ("", [], {}):
            if self.required:
                raise self._wrong(f"{self.label} is missing. {self.hint}", Code.FIELD_REQUIRED)
            return None
        try:
            read = READERS[self.value_type](self, value)
        except InvalidSettingError as error:
            raise self._wrong(f"{self.label}: {error}") from error
        if self.check is not None and (sentence := self.check(read)):
            raise self._wrong(f"{self.label}: {sentence}")
        return read

    def blocking_symbol(self, before: Any, after: Any, symbols: Collection[str]) -> str:
        """Return the symbol that blocks a change of the setting to `after`; '' if none does.

        symbols: the broker's own symbols with a working order or an open position.
        """
        before = self.default if before is None else before
        after = self.default if after is None else after
        rule = self._rule
        if before == after or rule is OpenChangeRule.FREE:
            return ""
        if rule in (OpenChangeRule.IDENTIFIES_ACCOUNT, OpenChangeRule.LOCKED):
            return min(symbols, default="")
        lists_all = self.value_type is not SettingType.TABLE
        changed = (s for s in sorted(symbols) if _changes_symbol(s, before, after, lists_all))
        return next(changed, "")

    @property
    def identifies_account(self) -> bool:
        """Whether it states which account it is, or where."""
        return self._rule is OpenChangeRule.IDENTIFIES_ACCOUNT

    @property
    def _rule(self) -> OpenChangeRule:
        if self.while_open is not None:
            return self.while_open
        if self.value_type is SettingType.SYMBOLS:
            return OpenChangeRule.LOCKED_BY_SYMBOL
        is_location = self.value_type in _LOCATION_TYPES or self.key in _LOCATION_KEYS
        return OpenChangeRule.IDENTIFIES_ACCOUNT if is_location else OpenChangeRule.FREE

    def _wrong(self, sentence: str, code: Code = Code.FIELD_INVALID) -> InvalidInputError:
        return InvalidInputError(code, sentence.strip(), field=f"settings.{self.key}")


@dataclass(frozen=True, slots=True)
class Secret:
    """One field that is encrypted and never displayed again. key: its name in the credentials."""

    key: str
    label: str
    hint: str = ""
    required: bool = True


UPDATE_INTERVAL = Setting(
    "update_interval_seconds",
    "Poll every … seconds",
    "How often to query orders and fills from a broker that does not push them: 0.2 to 3600"
    " seconds. Empty: the operators' default.",
    SettingType.NUMBER,
    minimum=0.2,
    maximum=3600,
)
COMMON = (UPDATE_INTERVAL,)
"""Settings that every broker type has."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one broker type, in the order in which they are displayed."""

    settings: tuple[Setting, ...] = ()
    secrets: tuple[Secret, ...] = ()
    label: str = ""  # display name: "Interactive Brokers"
    account: str = "The number or login at the broker."  # help text of the account number
    is_own_name: bool = False  # the account is not numbered by the broker: its owner names it
    numbered_by: str = ""  # the setting (a server, a folder) within which numbers are unique
    exchange: Setting | None = None  # which exchange; stored beside the settings

    @property
    def fields(self) -> tuple[Setting, ...]:
        """The broker type's own settings and the common ones."""
        own = {setting.key for setting in self.settings}
        return (*self.settings, *(setting for setting in COMMON if setting.key not in own))

    def scope(self, settings: Mapping[str, Any], owner_id: int) -> str:
        """Return the scope in which account numbers are unique; '': the whole broker type."""
        if self.is_own_name:
            return f"owner {owner_id}"
        return str(settings.get(self.numbered_by) or "").strip().casefold()

    def account_location(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that identify the account, without those that have their default.

        So a field that a later version adds does not change the result."""
        identifying = (field for field in self.fields if field.identifies_account)
        values = ((field, settings.get(field.key, field.default)) for field in identifying)
        return {field.key: value for field, value in values if value != field.default}

    def redirected_by(
        self, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> tuple[Setting, ...]:
        """Return the settings by whose change stored credentials would be sent elsewhere."""
        return tuple(
            field
            for field in self.destinations
            if before.get(field.key, field.default) != after.get(field.key, field.default)
        )

    @property
    def destinations(self) -> tuple[Setting, ...]:
        """The settings that decide where the credentials are sent; none without credentials."""
        return tuple(one for one in self.fields if self.secrets and one.sends_credentials)

    def read(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[InvalidInputError]]:
        """Return the settings to store, and one error for each invalid field.

        Empty fields are omitted, so that they get the default of a later version.
        """
        stored: dict[str, Any] = {}
        wrong = []
        for setting in self.fields:
            try:
                value = setting.read(settings.get(setting.key))
            except InvalidInputError as error:
                wrong.append(error)
            else:
                if value is not None:
                    stored[setting.key] = value
        known = [setting.key for setting in self.fields]
        return stored, wrong + [
            unknown_key_error(key, known, "setting", "settings")
            for key in settings
            if key not in known
        ]

    def in_use_errors(
        self, before: Mapping[str, Any], after: Mapping[str, Any], symbols: Collection[str]
    ) -> list[InvalidInputError]:
        """Return an error for each setting that may not change so while these symbols are open."""
        blocking = {
            field: self._with_scope_rule(field).blocking_symbol(
                before.get(field.key), after.get(field.key), symbols
            )
            for field in self.fields
        }
        return [
            InvalidInputError(
                Code.SETTING_IN_USE,
                f"{setting.label} cannot change while {symbol} has an order or a position: we would"
                " look for it in the wrong place. Close it first, or add the other account as a"
                " separate connection.",
                field=f"settings.{setting.key}",
            )
            for setting, symbol in blocking.items()
            if symbol
        ]

    def _with_scope_rule(self, field: Setting) -> Setting:
        """Return the field; the one within which numbers are unique identifies the account."""
        if field.key != self.numbered_by or field.while_open is not None:
            return field
        return replace(field, while_open=OpenChangeRule.IDENTIFIES_ACCOUNT)

    def validate(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings to store.

        Raises InvalidInputError FIELD_REQUIRED, FIELD_INVALID or FIELD_UNKNOWN for the first
        invalid field; `field` is `settings.<key>`, the sentence states what to do, and `others` has
        the other fields' errors.
        """
        values, errors = self.read(settings)
        raise_first(errors)
        return values


def raise_first(errors: Sequence[InvalidInputError]) -> None:
    """Raise the first of these errors with the rest as its `others`; do nothing without errors."""
    if errors:
        errors[0].others = tuple(errors[1:])
        raise errors[0]


def unknown_key_error(
    key: str, known: Sequence[str], noun: str, location: str
) -> InvalidInputError:
    """Return the error for an unknown key, with the closest known one as a suggestion.

    noun: what the key would name ("setting"); location: the field that contains it."""
    near = get_close_matches(str(key), known, 1)
    remedy = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
    return InvalidInputError(
        Code.FIELD_UNKNOWN,
        f"This broker type has no {noun} {str(key)[:60]!r}. {remedy}",
        field=f"{location}.{str(key)[:60]}",
    )


def _changes_symbol(symbol: str, before: Any, after: Any, lists_all: bool) -> bool:
    """Whether a change affects a symbol. lists_all: a symbol that is missing is not traded.

    `before` may lack the symbol under this name (a pair adopted from the broker, another spelling).
    Then no entry of `before` may change or go.
    """
    old, new, name = _by_name(before), _by_name(after), symbol.strip()
    if not lists_all or name in old:
        return old.get(name) != new.get(name)
    if not old:  # empty: all usual symbols
        return new.get(name) != _BY_DEFAULT
    return any(new.get(other) != value for other, value in old.items())


_BY_DEFAULT = "as usual"


def _by_name(value: Any) -> dict[str, Any]:
    entries = value if isinstance(value, Mapping) else dict.fromkeys(value or (), _BY_DEFAULT)
    # Do not fold case: GER40 and ger40 are two symbols to most brokers.
    return {str(name).strip(): entry for name, entry in entries.items()}
