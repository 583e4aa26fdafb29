"""Said before it is done: the question that a page asks, and how a refusal is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.forms import Form

from common.errors import FillcastError, InvalidInputError, MisconfiguredError


@dataclass(frozen=True, slots=True)
class Consequence:
    """One line of what will happen. css: the shape before it."""

    css: str
    text: str


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """Says what will happen before anything does. danger: it moves money, or stops it moving.

    button: '' where there is nothing to confirm. follow_seconds: how often its points are read
    again, as they were at as_of; 0: they do not change.
    """

    title: str
    points: Sequence[Consequence]
    button: str
    back: str
    danger: bool = True
    form: Form | None = None
    keep: str = "Leave it"
    follow_seconds: int = 0
    as_of: datetime | None = None


def error_message(error: FillcastError | MisconfiguredError) -> str:
    """Say why nothing was changed and what to do, with the code after it."""
    if isinstance(error, MisconfiguredError):
        return f"Nothing was changed. {error}"
    remedy = f" {error.code.hint}" if error.code.hint else ""
    return f"Nothing was changed. {error.detail}{remedy} ({error.code.value})"


def add_form_error(form: Form, error: FillcastError) -> None:
    """Put a refusal beside the field that it is about, or beside each of several."""
    field = error.field if isinstance(error, InvalidInputError) else ""
    if field not in form.fields:
        field = field.partition(".")[0]
    form.add_error(field if field in form.fields else None, error.detail)
    for other in error.others if isinstance(error, InvalidInputError) else ():
        add_form_error(form, other)
