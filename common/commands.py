"""What management commands share: help that is laid out by hand, and the text of errors."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterable
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


def fault_text(error: FillcastError) -> str:
    """Return an error with its hint; all faults of an input, one a line."""
    others = error.others if isinstance(error, InvalidInputError) else ()
    own = f"{error.code}: {error.detail} {error.code.hint}".strip()
    return "\n".join([own, *map(fault_text, others)])


def raise_faults(faults: Iterable[str | FillcastError]) -> None:
    """Raise CommandError with all faults of a command's options, one a line, if there are any."""
    if lines := [one if isinstance(one, str) else fault_text(one) for one in faults]:
        raise CommandError("\n".join(lines))
