"""The one rule for names that people give: one line, of letters that can be seen.

A name stands in a mail's subject, where a line break ends the header, in logs and in lists.
"""

import unicodedata
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable

from common.errors import InvalidInputError
from common.reason_codes import Code

_INVISIBLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, line and paragraph ends
FAULT = "It has invisible characters: type it again, on one line."


def has_invisible(text: str) -> bool:
    """Return whether a text has control characters, or more than one line."""
    return any(unicodedata.category(character) in _INVISIBLE for character in text)


def in_one_line(text: str) -> str:
    """Return a text with a blank for each run of blanks, line ends and controls."""
    shown = (" " if has_invisible(character) else character for character in text)
    return " ".join("".join(shown).split())


def check_line(text: str, field: str) -> None:
    """Raise InvalidInputError FIELD_INVALID if a text has control characters or line ends.

    The database cannot store some of them, such as NUL.
    """
    if has_invisible(text):
        raise InvalidInputError(Code.FIELD_INVALID, FAULT, field=field)


def one_line(text: str) -> None:
    """As `check_line`, for fields of forms, serializers and models. Raises ValidationError."""
    if has_invisible(text):
        raise ValidationError(FAULT, code="invisible")


if TYPE_CHECKING:
    _Text = models.CharField[str | int | Combinable, str]
else:
    _Text = models.CharField


class NameField(_Text):
    """A name. Forms and the API refuse it at its field, and whatever else writes one, too."""

    default_validators = [one_line]  # Django's name

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Return the value to store. Raises InvalidInputError, of `check_line`."""
        if isinstance(value, str):
            check_line(value, self.name)
        return super().get_db_prep_save(value, connection)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        """Return what migrations have of it: the column is Django's own."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", list(args), dict(kwargs)
