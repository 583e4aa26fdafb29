"""What an owner fills in to connect an account: its settings, which are shown, and its secrets.

Each kind of broker has one `Form`, and nothing of a broker's library is needed for it: pages show
it, and every way in checks with it, where that library is missing.
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
    """What a setting may do while the account has an order at work or a position.

    Another server's or another market's books would answer for this one's rows: what is open would
    look closed, and what was sent never arrived.
    """

    FREE = "free"  # it may be changed: what is open is found there all the same
    STAYS = "stays"  # it says whose account it is, or where it is
    COUNTED = "counted"  # it stays, too, but it is the same account that is counted in it
    NAMES_STAY = "names stay"  # what is said of a symbol stays while something is open in it


_LOCATION_TYPES = frozenset({SettingType.HOST, SettingType.FOLDER})
_LOCATION_KEYS = frozenset(
    {"host", "port", "server", "server_host", "gateway", "url", "base_url", "address", "exchange"}
    | {"market", "sandbox"}
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One field that is shown. key: its name in the connection's settings.

    default: what counts where nothing is said. choices: value and label, of a CHOICE. least and
    most: the bounds of a number. check: returns a sentence where a value that was read cannot be
    used, else ''. while_open: whether it may change while something is open; None: what may say
    where the account is (a HOST, a FOLDER, a key such as `server`) stays, so do the names of
    SYMBOLS, and all else is free.
    """

    key: str
    label: str
    hint: str = ""
    kind: SettingType = SettingType.TEXT
    default: Any = None
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = False
    least: float | None = None
    most: float | None = None
    check: Callable[[Any], str] | None = None
    while_open: OpenChangeRule | None = None

    def read(self, value: Any) -> Any:
        """Return the value as it is kept. None: nothing is said.

        Raises InvalidInputError FIELD_INVALID or FIELD_REQUIRED; `field` is `settings.<key>`.
        """
        if isinstance(value, str):
            value = value.strip()
        if value is None or value in ("", [], {}):
            if self.required:
                raise self._wrong(f"{self.label} is missing. {self.hint}", Code.FIELD_REQUIRED)
            return None
        try:
            read = READERS[self.kind](self, value)
        except InvalidSettingError as error:
            raise self._wrong(f"{self.label}: {error}") from error
        if self.check is not None and (wrong := self.check(read)):
            raise self._wrong(f"{self.label}: {wrong}")
        return read

    def in_use(self, before: Any, after: Any, symbols: Collection[str]) -> str:
        """Return the symbol that keeps the setting from becoming `after`; '' if none does.

        symbols: the broker's own names of what has an order at work or a position.
        """
        before = self.default if before is None else before
        after = self.default if after is None else after
        rule = self._rule
        if before == after or rule is OpenChangeRule.FREE:
            return ""
        if rule in (OpenChangeRule.STAYS, OpenChangeRule.COUNTED):
            return min(symbols, default="")
        lists_all = self.kind is not SettingType.TABLE
        return next(
            (one for one in sorted(symbols) if _changes_mapping(one, before, after, lists_all)), ""
        )

    @property
    def says_where(self) -> bool:
        """Whether it says whose account it is, or where."""
        return self._rule is OpenChangeRule.STAYS

    @property
    def _rule(self) -> OpenChangeRule:
        if self.while_open is not None:
            return self.while_open
        if self.kind is SettingType.SYMBOLS:
            return OpenChangeRule.NAMES_STAY
        is_place = self.kind in _LOCATION_TYPES or self.key in _LOCATION_KEYS
        return OpenChangeRule.STAYS if is_place else OpenChangeRule.FREE

    def _wrong(self, sentence: str, code: Code = Code.FIELD_INVALID) -> InvalidInputError:
        return InvalidInputError(code, sentence.strip(), field=f"settings.{self.key}")


@dataclass(frozen=True, slots=True)
class Secret:
    """One field that is sealed and never shown again. key: its name in the credentials."""

    key: str
    label: str
    hint: str = ""
    required: bool = True


UPDATE_INTERVAL = Setting(
    "update_interval_seconds",
    "Ask every … seconds",
    "How often orders and fills are asked for at a broker that tells nothing by itself: from 0.2 to"
    " 3600 seconds. Empty: as the operators have set it.",
    SettingType.NUMBER,
    least=0.2,
    most=3600,
)
COMMON = (UPDATE_INTERVAL,)
"""What every kind's connections may say."""


@dataclass(frozen=True, slots=True)
class Form:
    """What one kind of broker asks an owner for, in the order in which it is shown."""

    settings: tuple[Setting, ...] = ()
    secrets: tuple[Secret, ...] = ()
    label: str = ""  # the kind, as people call it: "Interactive Brokers"
    account: str = "The number or login at the broker."  # what the account's number is
    is_own_name: bool = False  # that is no number of the broker's but a name that its owner gives
    numbered_by: str = ""  # the setting (a server, a folder) within which a number is the only one
    exchange: Setting | None = None  # which of the kind's exchanges; kept beside the settings

    @property
    def fields(self) -> tuple[Setting, ...]:
        """The kind's own settings and those of every kind."""
        own = {setting.key for setting in self.settings}
        return (*self.settings, *(one for one in COMMON if one.key not in own))

    def scope(self, settings: Mapping[str, Any], owner_id: int) -> str:
        """Return among which accounts a number or a name names one; '': among all of the kind's."""
        if self.is_own_name:
            return f"owner {owner_id}"
        return str(settings.get(self.numbered_by) or "").strip().casefold()

    def place(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what settings say of whose account it is and where, without what is the default:
        a field that a later version adds changes nothing."""
        stated = (
            (one, settings.get(one.key, one.default)) for one in self.fields if one.says_where
        )
        return {one.key: value for one, value in stated if value != one.default}

    def read(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[InvalidInputError]]:
        """Return the settings as they are kept, and what is wrong: one error for each field.

        What is left empty is left out, so that a default of a later version counts for it.
        """
        kept: dict[str, Any] = {}
        wrong = []
        for setting in self.fields:
            try:
                value = setting.read(settings.get(setting.key))
            except InvalidInputError as error:
                wrong.append(error)
            else:
                if value is not None:
                    kept[setting.key] = value
        known = [setting.key for setting in self.fields]
        return kept, wrong + [
            unknown_key_error(key, known, "setting", "settings")
            for key in settings
            if key not in known
        ]

    def in_use(
        self, before: Mapping[str, Any], after: Mapping[str, Any], symbols: Collection[str]
    ) -> list[InvalidInputError]:
        """Return an error for each setting that may not change so while these symbols are open."""
        blocking = {
            one: self._as_meant(one).in_use(before.get(one.key), after.get(one.key), symbols)
            for one in self.fields
        }
        return [
            InvalidInputError(
                Code.SETTING_IN_USE,
                f"{setting.label} stays as it is while {symbol} has an order or a position: what is"
                " open would be looked for where it is not. Close it first, or connect the other"
                " account beside this one.",
                field=f"settings.{setting.key}",
            )
            for setting, symbol in blocking.items()
            if symbol
        ]

    def _as_meant(self, field: Setting) -> Setting:
        """Where nothing is said of it: that within which numbers count says whose account it is."""
        if field.key != self.numbered_by or field.while_open is not None:
            return field
        return replace(field, while_open=OpenChangeRule.STAYS)

    def validate(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings as they are kept.

        Raises InvalidInputError FIELD_REQUIRED, FIELD_INVALID or FIELD_UNKNOWN for the first field
        that is wrong; `field` is `settings.<key>`, the sentence says what to do, and `others` are
        the other fields' errors.
        """
        kept, wrong = self.read(settings)
        raise_first(wrong)
        return kept


def raise_first(wrong: Sequence[InvalidInputError]) -> None:
    """Raise the first of these errors with the others beside it; nothing if there is none."""
    if wrong:
        wrong[0].others = tuple(wrong[1:])
        raise wrong[0]


def unknown_key_error(
    key: str, known: Sequence[str], noun: str, location: str
) -> InvalidInputError:
    """Return the error of a key that a kind of account does not have, with the one that was meant.
    noun: what it would be; location: the field that it stands in."""
    near = get_close_matches(str(key), known, 1)
    remedy = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
    return InvalidInputError(
        Code.FIELD_UNKNOWN,
        f"This kind of account has no {noun} {str(key)[:60]!r}. {remedy}",
        field=f"{location}.{str(key)[:60]}",
    )


def _changes_mapping(symbol: str, before: Any, after: Any, lists_all: bool) -> bool:
    """Whether something else is said of a symbol. lists_all: what is not named is not there.

    A symbol that `before` does not name in these words (a pair adopted from the broker, a name that
    is read in another way) asks that nothing which is there goes.
    """
    was, will, name = _by_name(before), _by_name(after), symbol.strip()
    if not lists_all or name in was:
        return was.get(name) != will.get(name)
    if not was:  # all that is usual
        return will.get(name) != _BY_DEFAULT
    return any(will.get(one) != stated for one, stated in was.items())


_BY_DEFAULT = "as usual"


def _by_name(value: Any) -> dict[str, Any]:
    stated = value if isinstance(value, Mapping) else dict.fromkeys(value or (), _BY_DEFAULT)
    # GER40 and ger40 are two symbols to most brokers.
    return {str(name).strip(): what for name, what in stated.items()}
