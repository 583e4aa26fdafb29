"""The environment variables behind the fields of Settings: names, docs and error messages."""

from dataclasses import Field, field
from typing import Annotated, Any, Literal, get_args, get_origin

from config.env_types import Reader, choice, comma_list

UNPREFIXED = ("database_url", "redis_url")


class InvalidEnvironmentError(Exception):
    """Settings are missing or malformed; the message has one sentence for each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n  ".join(["Fillcast cannot start with these settings:", *faults]))


def setting(default: Any, sentence: str, *, required: bool = False, secret: bool = False) -> Any:
    """Declare a field of Settings.

    sentence: what the setting does, for the docs. required: in production. secret: its value is
    never displayed.
    """
    marks = {"sentence": sentence, "required": required, "secret": secret}
    return field(default=default, repr=not secret, metadata=marks)


class Variable:
    """One environment variable.

    name: in the environment. sentence: what the setting does. required: in production. secret: its
    value is never displayed. default: as it would be written in the environment.
    """

    def __init__(self, field: Field[Any]) -> None:
        self.field_name, self.reader = field.name, _reader(field.type)
        name = field.name.upper()
        self.name = name if field.name in UNPREFIXED else f"FILLCAST_{name}"
        self.sentence: str = field.metadata["sentence"]
        self.required: bool = field.metadata["required"]
        self.secret: bool = field.metadata["secret"]
        self.default = _as_text(field.default)

    def describe_missing(self) -> str:
        """Return the error for an empty variable that production needs."""
        expected = self.reader.expected.removesuffix(", or nothing")
        return f"{self.name} is not set; production needs {expected}. {self.sentence}"

    def describe_malformed(self, text: str) -> str:
        """Return the error for a text that the setting does not accept."""
        display = f"a text of {len(text)} characters (not shown)" if self.secret else repr(text)
        return f"{self.name} is {display}; expected {self.reader.expected}."


def _reader(annotation: Any) -> Reader:
    """Return the parser for a field's type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        reader: Reader = arguments[1]
        return reader
    if origin is Literal:
        return choice(*arguments)
    inner = _reader(arguments[0])
    if origin is tuple:
        return comma_list(inner)
    return Reader(f"{inner.expected}, or nothing", inner.read)  # X | None


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, tuple) else str(value)
