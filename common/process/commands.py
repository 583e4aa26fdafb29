"""What management commands share: help that is laid out by hand, and the text of errors."""

import math
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from common.errors import FillcastError, InvalidInputError


class HelpedCommand(BaseCommand):
    """A command that keeps the line breaks of its help and runs without Django's checks."""

    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return a parser that keeps the help's line breaks."""
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)


def number_in(text: str, prefix: str) -> int:
    """Return the number of a row from `O-12` or `12`; 0, which no row has, for another text.

    prefix: `O-`.
    """
    digits = text.upper().removeprefix(prefix)
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if is_number else 0


def row_number(prefix: str, row: str) -> Callable[[str], int]:
    """Return how an option reads the number of a row, such as `S-`, `a signal`: `S-12` or `12`."""

    def read(text: str) -> int:
        if number := number_in(text, prefix):
            return number
        raise ArgumentTypeError(f"{text!r} is not the number of {row}, such as {prefix}12 or 12.")

    return read


def read_seconds(text: str) -> float:
    """Read an option's number of seconds, which is not negative."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, such as 20; 0 is the least.")
    return found


def fault_text(error: FillcastError) -> str:
    """Return an error with its hint; all faults of an input, one a line."""
    others = error.others if isinstance(error, InvalidInputError) else ()
    own = f"{error.code}: {error.detail} {error.code.hint}".strip()
    return "\n".join([own, *map(fault_text, others)])


def raise_faults(faults: Iterable[str | FillcastError]) -> None:
    """Raise CommandError with all faults of a command's options, one a line, if there are any."""
    if lines := [one if isinstance(one, str) else fault_text(one) for one in faults]:
        raise CommandError("\n".join(lines))
