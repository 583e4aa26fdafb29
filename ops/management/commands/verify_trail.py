"""Prove that nobody changed the audit trail."""

import json
import re
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from common.audit_trail_check import Findings, Head, verify
from console.tracked_tables import TRACKED
from users.trail_alarm import clear_alarm, raise_alarm

HELP = """\
Prove that no line of the audit trail was changed, removed or inserted since it was written.

Each line holds the hash of the line before and of its own content; the head counts the lines; every
five minutes a worker signs the head (FILLCAST_SECRET_KEY). All of it is worked out again, and that
the triggers are there. What is wrong stands on a line each; the last line of stdout is JSON:
{"ok", "lines", "head", "checkpoints", "wrong"}.

Keep the head (NUMBER:HASH) where the database's owner cannot write, for example in a mail, and give
it with --expect: so even who rewrites the trail and knows the key is found.

The result is stored: a broken trail raises the alarm of operators and administrators, with
--expect too; an intact one ends it. A head given with --expect that does not match, and may be
mistyped, is only printed: it neither raises the alarm nor lets it end.
Exit code: 0 the trail is whole, 1 it is not."""


class Command(BaseCommand):
    """`manage.py verify_trail`."""

    help = HELP
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the help's lines as they are written."""
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--expect", metavar="NUMBER:HASH", action="append", default=[],
            help="a head that an earlier run printed; may be given several times",
        )  # fmt: skip

    def handle(self, *, expect: list[str], **_: Any) -> None:
        found = verify([one.table for one in TRACKED], [_head(text) for text in expect])
        for sentence in (*found.wrong, *found.unmatched):
            self.stdout.write(self.style.ERROR(sentence))
        if found.more:
            self.stdout.write(f"… and {found.more} more.")
        if found.is_proven:
            self.stdout.write(
                f"{found.lines} lines, {found.checkpoints} checkpoints: the trail is whole."
            )
        self._store(found)
        self.stdout.write(as_line(found))
        if not found.is_proven:
            raise SystemExit(1)

    def _store(self, found: Findings) -> None:
        """Raise or end the alarm; a database role that may not write it still gets the verdict."""
        try:
            if found.wrong:
                raise_alarm(found.wrong)
            elif not found.unmatched:
                clear_alarm()
        except DatabaseError as error:
            self.stderr.write(f"The console's alarm was not updated: {error}")


def as_line(found: Findings) -> str:
    """One line of JSON."""
    return json.dumps(
        {
            "ok": found.is_proven,
            "lines": found.lines,
            "head": f"{found.head.number}:{found.head.hash}",
            "checkpoints": found.checkpoints,
            "wrong": found.count,
        }
    )


def _head(text: str) -> Head:
    if not (parts := re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip())):
        raise CommandError(f"{text!r} is no head, such as 1041:9f2c… of an earlier run.")
    return Head(int(parts[1]), parts[2])
