"""Errors that carry a stable code, so that every door can explain itself the same way."""

from collections.abc import Sequence
from typing import Any

from common.reason_codes import Code


class MisconfiguredError(Exception):
    """The installation's settings cannot work; the message names the setting and the remedy."""


class FillcastError(Exception):
    """A refusal with a stable code.

    detail: one sentence about this very case. numbers: what the sentence's figures are, for
    machines (limit, current, maximum).
    """

    def __init__(self, code: Code, detail: str = "", **numbers: Any) -> None:
        super().__init__(detail or code.sentence)
        self.code = code
        self.detail = detail or code.sentence
        self.numbers = numbers


class InvalidInputError(FillcastError):
    """The caller's input is wrong; `field` says where. others: what else is wrong with it."""

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
    """The input is fine, but the state of things does not allow it now."""


class NotAllowedError(FillcastError):
    """The caller may not do this."""
