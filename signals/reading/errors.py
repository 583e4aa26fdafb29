"""All errors of one input, so that its sender can fix them at once."""

from collections.abc import Sequence

from common.errors import InvalidInputError
from signals.field_error import FieldError
from signals.reading.draft import SignalDraft


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
