"""manage.py verify_trail: prove that the audit trail was not changed."""

import json
import re
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from common.db.audit_trail_check import verify
from common.hash_chain import Findings, Head
from common.process.commands import HelpedCommand
from console.tracked_tables import TRACKED
from users.trail_alarm import clear_alarm, raise_alarm

HELP = """\
Prove that no line of the audit trail was changed, removed or inserted after it was written.

Each line holds the hash of the line before it and of its own content; the head counts the lines.
Every five minutes a worker signs the head (FILLCAST_SECRET_KEY). This command computes all hashes
and signatures again and checks that the triggers exist. It prints one line for each fault; the
last line of stdout is JSON: {"ok", "lines", "head", "checkpoints", "wrong"}.

Keep the head (NUMBER:HASH) where the database's owner cannot write, for example in an e-mail, and
pass it with --expect. This also finds a trail rewritten by a person who knows the key.

The result is stored: a broken trail raises the alarm of operators and administrators, with or
without --expect; an intact one clears it. A head given with --expect that does not match may be
mistyped, so it is only printed: it neither raises nor clears the alarm.
Exit code: 0 if the trail is intact, 1 if not."""


class Command(HelpedCommand):
    """Verify the audit trail."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--expect", metavar="NUMBER:HASH", action="append", default=[],
            help="a head that an earlier run printed; may be given several times",
        )  # fmt: skip

    def handle(self, *, expect: list[str], **_: Any) -> None:
        """Verify, store the result and print it. Raises CommandError for a malformed head."""
        found = verify([tracked.table for tracked in TRACKED], [_head(text) for text in expect])
        for sentence in (*found.wrong, *found.unmatched):
            self.stdout.write(self.style.ERROR(sentence))
        if found.more:
            self.stdout.write(f"… and {found.more} more.")
        if found.is_proven:
            self.stdout.write(
                f"{found.lines} lines, {found.checkpoints} checkpoints: the trail is intact."
            )
        self._store(found)
        self.stdout.write(as_line(found))
        if not found.is_proven:
            raise SystemExit(1)

    def _store(self, found: Findings) -> None:
        """Raise or clear the alarm; a database role that may not write it still gets a verdict."""
        try:
            if found.wrong:
                raise_alarm(found.wrong)
            elif not found.unmatched:
                clear_alarm()
        except DatabaseError as error:
            self.stderr.write(f"The console's alarm was not updated: {error}")


def as_line(found: Findings) -> str:
    """Return the findings as one line of JSON."""
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
        raise CommandError(f"{text!r} is not a head of an earlier run, such as 1041:9f2c….")
    return Head(int(parts[1]), parts[2])
