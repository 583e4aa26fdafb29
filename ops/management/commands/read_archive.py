"""manage.py read_archive: read rows back from the archive."""

import csv
import json
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, islice
from typing import IO, Any, cast
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.archive.kinds import ArchiveKind
from common.archive.parquet_files import ArchiveDamagedError
from common.archive.reading import read_archive
from common.process.commands import HelpedCommand, number_in
from common.web.csv_text import inert
from config.retention import KINDS, archive_folder, obstacle

HELP = """\
Read rows back that `manage.py archive` has moved to Parquet files, the oldest first.

  manage.py read_archive logs --order O-12
  manage.py read_archive events --account 0b6f… --since 2026-01-01 --until 2026-02-01
  manage.py read_archive deliveries --format csv > deliveries.csv

Times are UTC; --since is included, --until is not. Each file is compared with its checksum before
it is read. Kinds: {kinds}."""
WIDTH = 240  # in a file or pipe
FORMATS = ("table", "csv", "json")


class Command(HelpedCommand):
    """`manage.py read_archive`."""

    help = HELP.format(kinds=", ".join(KINDS))

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("kind", choices=list(KINDS), help="which rows")
        parser.add_argument("--account", help="the id of a connection")
        parser.add_argument("--order", help="the number of an order, such as O-12")
        parser.add_argument("--signal", help="the number of a signal, such as S-7")
        parser.add_argument(
            "--since", type=_time, metavar="TIME", help="such as 2026-01-31, or 2026-01-31T14:30"
        )
        parser.add_argument("--until", type=_time, metavar="TIME", help="the same")
        parser.add_argument("--limit", type=_at_least_one, help="no more rows than these")
        parser.add_argument(
            "--format", choices=FORMATS, default="table", help="json: one object in each line"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Read the rows and print them. Raises CommandError."""
        if reason := obstacle():
            raise CommandError(reason)
        kind = KINDS[options["kind"]]
        found = read_archive(
            kind,
            archive_folder(),
            equal=_wanted(kind, options),
            since=options["since"],
            until=options["until"],
        )
        try:
            self._print(islice(found, options["limit"]), options["format"])
        except ArchiveDamagedError as error:
            raise CommandError(f"{error}. Restore it from a backup.") from error

    def _print(self, rows: Iterable[Mapping[str, Any]], form: str) -> None:
        rows = iter(rows)
        first = next(rows, None)
        if first is None:
            self.stderr.write("No such row is archived.")
            return
        whole = chain([first], rows)
        if form == "json":
            for row in whole:
                self.stdout.write(json.dumps({name: _plain(row[name]) for name in row}))
        elif form == "csv":
            writer = csv.writer(self.stdout)
            writer.writerow(first)
            writer.writerows([_cell(row.get(name)) for name in first] for row in whole)
        else:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for name in first:
                table.add_column(name, overflow="fold")
            for row in whole:
                table.add_row(*(Text(_text(row.get(name))) for name in first))
            width = None if self.stdout.isatty() else WIDTH
            Console(file=cast("IO[str]", self.stdout), width=width).print(table)


def _wanted(kind: ArchiveKind, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that rows must have, by column. Raises CommandError."""
    given = {name: options[name] for name in ("account", "order", "signal") if options[name]}
    if missing := [name for name in given if name not in kind.filters]:
        raise CommandError(f"Rows of {kind.name} name no {missing[0]}.")
    numbers = {
        "order": lambda text: _number(text, "O-"), "signal": lambda text: _number(text, "S-")
    }  # fmt: skip
    return {kind.filters[name]: numbers.get(name, _account)(text) for name, text in given.items()}


def _number(text: str, prefix: str) -> int:
    if not (number := number_in(text, prefix)):
        raise CommandError(f"{text!r} is not a number such as {prefix}12.")
    return number


def _account(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise CommandError(f"{text!r} is not the id of a connection.") from error


def _at_least_one(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"{text!r} is not a number from 1.")
    return int(text)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not a day or time such as 2026-01-31 or 2026-01-31T14:30."
        ) from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers with decimals as text, so that none is rounded."""
    if isinstance(value, datetime | Decimal | UUID):
        return _text(value)
    return value.hex() if isinstance(value, bytes) else value


def _cell(value: Any) -> str:
    """Return a value for a spreadsheet: texts of brokers and users are no formulas."""
    is_text = isinstance(value, str | dict | list)
    return inert(_text(value)) if is_text else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
