"""All errors of one input, so that its sender can fix them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import InvalidInputError
from common.reason_codes import Code

if TYPE_CHECKING:
    from signals.draft import SignalDraft


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error in an input: the code, the field, and a sentence about this case."""

    code: Code
    field: str
    detail: str

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.code.hint

    def as_dict(self) -> dict[str, str]:
        """Return the error as every entry point shows it."""
        return {"code": self.code, "field": self.field, "detail": self.detail, "hint": self.hint}


class InvalidSignalError(InvalidInputError):
    """A signal with errors. Code and text are those of the first one; `errors` holds all.

    drafts: what could be read of it, of an OCO pair both legs; what depends on the feed can be
    checked with them (`ingest.with_feed_errors`). Empty: not enough could be read.
    """

    def __init__(self, errors: Sequence[FieldError], drafts: Sequence[SignalDraft] = ()) -> None:
        first = errors[0]
        super().__init__(first.code, first.detail, field=first.field)
        self.errors = tuple(errors)
        self.drafts = tuple(drafts)


def field_errors(error: InvalidInputError) -> tuple[FieldError, ...]:
    """Return all field errors that an exception holds, or itself as one."""
    if isinstance(error, InvalidSignalError):
        return error.errors
    own = FieldError(error.code, error.field, error.detail)
    return (own, *(inner for other in error.others for inner in field_errors(other)))
