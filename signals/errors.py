"""All faults of one input, so that a sender mends them at once and not one a day."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import InvalidInputError
from common.reason_codes import Code


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: which code, where, and a sentence about this very case."""

    code: Code
    field: str
    detail: str

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.code.hint

    def as_dict(self) -> dict[str, str]:
        """Return it as every door shows it."""
        return {"code": self.code, "field": self.field, "detail": self.detail, "hint": self.hint}


class InvalidSignalError(InvalidInputError):
    """A signal that cannot be taken. It speaks for its first fault; `errors` are all of them."""

    def __init__(self, errors: Sequence[Fault]) -> None:
        first = errors[0]
        super().__init__(first.code, first.detail, field=first.field)
        self.errors = tuple(errors)


def faults_of(error: InvalidInputError) -> tuple[Fault, ...]:
    """Return all faults that an error stands for: its own, if it does not say more."""
    if isinstance(error, InvalidSignalError):
        return error.errors
    own = Fault(error.code, error.field, error.detail)
    return (own, *(fault for other in error.others for fault in faults_of(other)))
