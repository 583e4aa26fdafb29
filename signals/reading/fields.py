"""Read the fields of a JSON object and collect all errors. Pure."""

from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from common.errors import InvalidInputError
from common.money import read_decimal
from common.reason_codes import Code
from signals.field_error import FieldError
from signals.reading.draft import SignalDraft
from signals.reading.errors import InvalidSignalError
from signals.reading.strict_json import JsonObject, NumberText


@cache
def _by_lower(allowed: Any) -> dict[str, str]:
    return {str(option).lower(): str(option) for option in allowed}


class Fields:
    """The fields of a JSON object. A field that cannot be read adds an error and reads as None."""

    def __init__(
        self, data: Mapping[str, Any], *, at: str = "", errors: list[FieldError] | None = None
    ):
        """data: a parsed object. at: its path within the outer object (`targets.0.`)."""
        self._data = data
        self._at = at
        self._read: set[str] = set()
        self.errors: list[FieldError] = [] if errors is None else errors
        for name in data.duplicates if isinstance(data, JsonObject) else ():
            self.add_error(Code.DUPLICATE_KEY, name, f"{_excerpt(name)} is there twice.")

    def add_error(self, code: Code, field: str, detail: str = "") -> None:
        """Add an error about a field."""
        short = field if len(field) <= 60 else field[:60] + "…"
        place = (
            self._at + short.encode(errors="replace").decode()
        )  # a key may hold half a surrogate pair
        self.errors.append(FieldError(code, place, detail or code.sentence))

    def failed(self, name: str) -> bool:
        """Whether this field has an error."""
        return any(error.field == self._at + name for error in self.errors)

    def first_used(self, *names: str) -> str:
        """Return the first of these names that is present, else the last."""
        return next((name for name in names if self.has(name)), names[-1])

    def has(self, name: str) -> bool:
        """Whether the field is present and not null."""
        return self._data.get(name) is not None

    def raw(self, name: str) -> Any:
        """Return a field as parsed; None if it is missing."""
        self._read.add(name)
        return self._data.get(name)

    def one_name(self, *names: str) -> str:
        """Return the used one of a field's alternative names, else the first. Two are an error."""
        self._read.update(names)
        used = [name for name in names if self.has(name)]
        for other in used[1:]:
            self.add_error(
                Code.FIELD_INVALID, other, f"It means the same as {used[0]}; send only one."
            )
        return used[0] if used else names[0]

    def text(self, name: str, longest: int) -> str:
        """Return a text without control characters; empty if it is missing."""
        value = self.raw(name)
        if value is None:
            return ""
        if isinstance(value, NumberText) or not isinstance(value, str):
            self.add_error(Code.FIELD_INVALID, name, "It must be a text in quotation marks.")
        elif len(value) > longest:
            self.add_error(Code.FIELD_INVALID, name, f"It must have at most {longest} characters.")
        elif not value.isprintable() and not _is_prose(value):
            self.add_error(Code.FIELD_INVALID, name, "It has characters that cannot be printed.")
        else:
            return value.strip()
        return ""

    def choice(self, name: str, allowed: Hashable, default: str = "") -> str:
        """Return one of `allowed`, ignoring case; `default` if it is missing or not valid.

        allowed: an enumeration or a tuple of texts.
        """
        value = self.raw(name)
        if value is None:
            return default
        by_lower = _by_lower(allowed)
        chosen = by_lower.get(value.strip().lower()) if isinstance(value, str) else None
        if chosen is None:
            known = ", ".join(by_lower.values())
            self.add_error(Code.FIELD_INVALID, name, f"{_excerpt(value)} is not one of {known}.")
            return default
        return chosen

    def decimal(self, name: str, *, zero: bool = False) -> Decimal | None:
        """Return a plain decimal number above 0; zero: 0 is allowed, too."""
        value = self.raw(name)
        if value is None:
            return None
        try:
            number = read_decimal(value, field=name, positive=not zero)
        except InvalidInputError as error:
            self.add_error(error.code, name, error.detail)
            return None
        if number < 0:
            self.add_error(Code.FIELD_INVALID, name, f"{number} must not be below 0.")
            return None
        return number

    def whole(self, name: str, highest: int, lowest: int = 1) -> int | None:
        """Return a whole number up to `highest`, as a JSON number or in quotation marks."""
        value = self.raw(name)
        if value is None:
            return None
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        plain = text.isascii() and text.isdigit() and len(text) < 20
        if not plain or not lowest <= int(text) <= highest:
            detail = f"{_excerpt(value)} is not a whole number from {lowest} to {highest}."
            self.add_error(Code.FIELD_INVALID, name, detail)
            return None
        return int(text)

    def moment(self, name: str) -> datetime | None:
        """Return an ISO 8601 time with its offset (`2026-11-20T12:00:00Z`), in UTC."""
        value = self.raw(name)
        if value is None:
            return None
        try:
            return read_time(value, field=name)
        except InvalidInputError as error:
            self.add_error(error.code, name, error.detail)
            return None

    def objects(self, name: str, most: int) -> list["Fields"]:
        """Return the fields of each object in a list; [] if it is missing or not valid."""
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, list) or not value or len(value) > most:
            self.add_error(Code.FIELD_INVALID, name, f"It must be a list of 1 to {most} objects.")
            return []
        if not all(isinstance(item, dict) for item in value):
            self.add_error(Code.FIELD_INVALID, name, "Each entry must be an object.")
            return []
        return [
            Fields(item, at=f"{self._at}{name}.{index}.", errors=self.errors)
            for index, item in enumerate(value)
        ]

    def refuse_unknown(self) -> None:
        """Add an error for every field that was not read."""
        for name in self._data:
            if name not in self._read:
                self.add_error(Code.FIELD_UNKNOWN, name, f"{_excerpt(name)} is not a known field.")

    def raise_errors(self, *drafts: SignalDraft) -> None:
        """Raise InvalidSignalError if there are errors. drafts: what was read all the same."""
        if self.errors:
            raise InvalidSignalError(self.errors, () if self.failed("action") else drafts)


def read_time(value: object, *, field: str = "time") -> datetime:
    """Return an ISO 8601 time with its offset, in UTC. Raises InvalidInputError FIELD_INVALID."""
    try:
        if isinstance(value, NumberText) or not isinstance(value, str) or not value.isascii():
            raise ValueError(value)
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError(value)
        return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        detail = f"{_excerpt(value)} is not a time with its zone, like 2026-11-20T12:00:00Z."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=field) from error


def _is_prose(text: str) -> bool:
    """Whether a text is printable apart from line breaks and tabs, as a note may be."""
    return all(letter.isprintable() or letter in "\n\r\t" for letter in text)


def _excerpt(value: object) -> str:
    text = repr(str(value)) if isinstance(value, str) else repr(value)
    return text if len(text) <= 42 else text[:41] + "…"
