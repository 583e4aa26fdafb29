"""Confirmation pages, and error messages for forms."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.forms import Form

from common.errors import FillcastError, InvalidInputError, MisconfiguredError


@dataclass(frozen=True, slots=True)
class Consequence:
    """One line about what will happen. css: the class of the shape before it."""

    css: str
    text: str


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """A page that lists what an action will do, before it is done.

    danger: the action moves money, or stops it from moving. button: '' if there is nothing to
    confirm. decline_label: of the link that goes back. refresh_seconds: how often the points are
    refreshed; 0: never. as_of: when they were read. only_shows: the button only shows what would
    be done; the next page's address holds what was typed, so that the browser can go back to it
    without sending a form again. action: the address that the form is sent to; '': the page's.
    """

    title: str
    points: Sequence[Consequence]
    button: str
    back: str
    danger: bool = True
    form: Form | None = None
    decline_label: str = "Leave it"
    refresh_seconds: int = 0
    as_of: datetime | None = None
    only_shows: bool = False
    action: str = ""

    @property
    def keeps_typed(self) -> bool:
        """Whether Back shows again what was typed: it is no secret."""
        return self.only_shows or bool(self.action)


def error_message(error: FillcastError | MisconfiguredError) -> str:
    """Return why nothing was changed and what to do, with the reason code at the end."""
    if isinstance(error, MisconfiguredError):
        return f"Nothing was changed. {error}"
    remedy = f" {error.code.hint}" if error.code.hint else ""
    return f"Nothing was changed. {error.detail}{remedy} ({error.code.value})"


def add_form_error(form: Form, error: FillcastError) -> None:
    """Show an error, and its `others`, beside the fields that they are about."""
    field = error.field if isinstance(error, InvalidInputError) else ""
    if field not in form.fields:
        field = field.partition(".")[0]
    form.add_error(field if field in form.fields else None, error.detail)
    for other in error.others if isinstance(error, InvalidInputError) else ():
        add_form_error(form, other)
