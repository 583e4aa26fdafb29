"""Errors with a stable reason code, so that every entry point explains them the same way."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from common.reason_codes import Code

Value = TypeVar("Value")
CONTENT_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What our code raises if a value from outside has content that it does not expect."""


class MisconfiguredError(Exception):
    """The installation's settings are wrong; the message names the setting and the remedy."""


class FillcastError(Exception):
    """A refusal with a stable code.

    detail: one sentence about this case. numbers: the figures of the sentence, for machines (name,
    value, maximum).
    """

    def __init__(self, code: Code, detail: str = "", **numbers: Any) -> None:
        super().__init__(detail or code.sentence)
        self.code = code
        self.detail = detail or code.sentence
        self.numbers = numbers


class InvalidInputError(FillcastError):
    """The caller's input is wrong. field: where; others: further errors of the same input."""

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        field: str = "",
        others: "Sequence[InvalidInputError]" = (),
        **numbers: Any,
    ) -> None:
        super().__init__(code, detail, **numbers)
        self.field = field
        self.others = tuple(others)


class ConflictError(FillcastError):
    """The input is valid, but the current state does not allow it."""


class NotAllowedError(FillcastError):
    """The caller may not do this."""


def raise_all(errors: Sequence[InvalidInputError]) -> None:
    """Raise the first error of an input, with the others beside it; nothing without any."""
    if errors:
        first, *others = errors
        raise InvalidInputError(
            first.code, first.detail, field=first.field, others=others, **first.numbers
        )


class CollectedErrors:
    """The errors of an input, of all stages of its checks. Raise them together at the end."""

    def __init__(self) -> None:
        self.errors: list[InvalidInputError] = []

    def attempt(self, read: Callable[[], Value]) -> Value | None:
        """Return what a function returns; None if it refuses the input: its errors are kept.

        Two functions may find the same fault, such as an unknown broker type: it is kept once.
        """
        try:
            return read()
        except InvalidInputError as error:
            known = {(one.code, one.field, str(one)) for one in self.errors}
            found = (error, *error.others)
            self.errors += [one for one in found if (one.code, one.field, str(one)) not in known]
            return None

    def raise_all(self) -> None:
        """Raise all of them, if there are any."""
        raise_all(self.errors)
