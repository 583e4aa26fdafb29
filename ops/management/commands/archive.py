"""manage.py archive: move old rows to Parquet files, or show what is archived."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any, cast

from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from common.archive.batches import ROWS_AT_ONCE, ArchiveBusyError, archive_kind
from common.archive.column_types import UnknownTypeError
from common.archive.kinds import ArchiveKind
from common.archive.overview import count_removable, damaged, overview, unlisted
from common.clocks import machine_time
from common.process.commands import HelpedCommand, read_seconds
from config.retention import KINDS, archive_folder, has_policy, obstacle

NICENESS = 10
MOST_NAMED = 10
HELP = """\
Move old rows to Parquet files in the archive's folder, or show what is archived.

  manage.py archive               what each kind's policy is, what is archived
  manage.py archive --dry-run     how many rows would be archived now; nothing is changed
  manage.py archive --now         archive them now, as a worker does every six hours
  manage.py archive --verify      compare every file with the checksum in the database

A file is on disk before its rows are deleted, and it is listed in the transaction that deletes
them: the command can be killed at any moment. `manage.py read_archive` reads the rows.
docs/retention.md states which rows stay whatever their age, and for how long others stay is in the
operational settings (`retention`).

Exit code: 0, or 1 if something could not be archived or a file is damaged."""


class Command(HelpedCommand):
    """`manage.py archive`."""

    help = HELP

    def run_from_argv(self, argv: list[str]) -> None:
        """Give way to trading; the niceness is that of this command's own process."""
        with suppress(OSError, AttributeError):  # Windows has no niceness
            os.nice(max(0, NICENESS - os.nice(0)))
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--now", action="store_true", help="archive what is old enough")
        what.add_argument("--dry-run", action="store_true", help="only count it")
        what.add_argument("--verify", action="store_true", help="check every file")
        parser.add_argument("--kind", choices=list(KINDS), help="only this kind of rows")
        parser.add_argument(
            "--seconds", type=read_seconds, help="with --now: begin no batch after these"
        )
        parser.add_argument(
            "--rows", type=int, default=ROWS_AT_ONCE, help="rows of one transaction and file"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Do what was asked."""
        kinds = [KINDS[options["kind"]]] if options["kind"] else list(KINDS.values())
        if options["now"]:
            self._archive(kinds, options["seconds"], max(1, options["rows"]))
        elif options["dry_run"]:
            for kind in kinds:
                self.stdout.write(f"{kind.name}: {count_removable(kind):,} rows would be archived.")
        elif options["verify"]:
            self._verify(kinds)
        else:
            self._show(kinds)

    def _archive(self, kinds: Iterable[ArchiveKind], seconds: float | None, at_once: int) -> None:
        if not has_policy():
            self.stdout.write("Every policy is never: nothing is archived.")
            return
        if reason := obstacle():
            raise CommandError(f"{reason} Nothing is archived.")
        end = None if seconds is None else machine_time() + seconds
        failed = [kind.name for kind in kinds if not self._archive_kind(kind, end, at_once)]
        if failed:
            raise CommandError(f"Not archived: {', '.join(failed)}.")

    def _archive_kind(self, kind: ArchiveKind, end: float | None, at_once: int) -> bool:
        """Archive one kind; return whether it went well. Another kind is none of its concern."""
        try:
            done = archive_kind(
                kind, archive_folder(), pause=time.sleep, rows_at_once=at_once,
                is_over=lambda: end is not None and machine_time() >= end,
            )  # fmt: skip
        except ArchiveBusyError:
            self.stdout.write(f"{kind.name}: another process is archiving them.")
        except (OSError, UnknownTypeError) as error:
            self.stderr.write(f"{kind.name}: {error}")
            return False
        else:
            self.stdout.write(f"{kind.name}: {done:,} rows archived.")
        return True

    def _verify(self, kinds: Iterable[ArchiveKind]) -> None:
        if reason := obstacle():
            raise CommandError(reason)
        faults = list(damaged(archive_folder(), kinds))
        for sentence in faults:
            self.stdout.write(self.style.ERROR(sentence))
        if faults:
            raise CommandError(f"{len(faults)} files are damaged.")
        self.stdout.write("Every file is as it was written.")

    def _show(self, kinds: Iterable[ArchiveKind]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        headings = ("kind", "kept", "in the table", "since", "archived", "files", "size", "last")
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for kind in kinds:
            table.add_row(*_line(kind))
        Console(file=cast("IO[str]", self.stdout)).print(table)
        if reason := obstacle():
            self.stdout.write(f"{reason} Nothing is archived.")
        elif others := unlisted(archive_folder()):
            named = ", ".join(others[:MOST_NAMED])
            self.stdout.write(
                f"{len(others)} files are not listed: a run ended before its commit, or the"
                f" database was restored. Their rows are in the database; delete them: {named}"
            )


def _line(kind: ArchiveKind) -> tuple[str, ...]:
    found, kept = overview(kind), kind.kept_for
    return (
        kind.name,
        "for ever" if kept is None else f"{kept.days} days",
        f"about {found.in_table:,}",
        f"{found.oldest:%Y-%m-%d}" if found.oldest else "",
        f"{found.rows:,}",
        f"{found.files:,}",
        f"{found.size / 1e6:,.1f} MB",
        f"{found.written_at:%Y-%m-%d %H:%M}" if found.written_at else "never",
    )
