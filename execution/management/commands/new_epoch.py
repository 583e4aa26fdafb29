"""`manage.py new_epoch`: open, show or release a recovery epoch after a restore."""

import getpass
import json
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from common.errors import FillcastError
from common.process.commands import HelpedCommand
from connections.models import Epoch
from execution.disaster_recovery import restore_detector
from execution.disaster_recovery.epochs import current_epoch, open_epoch, release_epoch
from execution.disaster_recovery.open_issues import OpenIssue, list_open_issues

HELP = """\
Open a recovery epoch after a restore from a backup, or after the promotion of a standby that may
lack the newest rows.

Orders of the lost rows are live at brokers. A new epoch halts all entries. Orders that waited are
never sent again, orders in flight are looked up, every account is compared before even an exit is
sent to it, and orders with our tag and without a row become drift.

  manage.py new_epoch                     open an epoch; do this before you start workers again
  manage.py new_epoch --since 2026-11-20T12:00:00Z
                                          trust rows written after that (the database's return)
  manage.py new_epoch --status            show the open issues; exit code 1 if there are any
  manage.py new_epoch --release           let entries continue; refused with open issues
  manage.py new_epoch --release --force --note "why"
                                          release with open issues; they are kept with the epoch

Trading processes open an epoch automatically where they detect the loss; see
docs/incidents/database-restored.md.
The last line on standard output is JSON: {"epoch", "open", "cause", "treated", "unsettled"}."""


class Command(HelpedCommand):
    """`manage.py new_epoch`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--status", action="store_true", help="only show the open issues")
        what.add_argument("--release", action="store_true", help="let entries continue")
        parser.add_argument("--since", metavar="TIME", help="trust rows written after this")
        parser.add_argument("--note", default="", help="why; kept with the epoch")
        parser.add_argument("--force", action="store_true", help="release with open issues")

    def handle(self, *, status: bool, release: bool, note: str, force: bool, **more: Any) -> None:
        if force and not release:
            raise CommandError("--force needs --release.", returncode=2)
        try:
            if release:
                epoch = release_epoch(by=None, by_name=_login(), note=note, force=force)
            elif status:
                epoch = current_epoch()
            else:
                epoch = _open(_time(more["since"]), note)
        except FillcastError as error:
            self._print(current_epoch())
            raise CommandError(f"{error.detail} ({error.code.value})") from error
        issues = self._print(epoch)
        if status and issues:
            raise SystemExit(1)

    def _print(self, epoch: Epoch) -> list[OpenIssue]:
        issues = [] if epoch.released_at else list_open_issues(epoch)
        state = "released" if epoch.released_at else "open: entries are halted"
        self.stderr.write(f"Epoch {epoch.number} ({epoch.get_cause_display()}), {state}.")
        for issue in issues:
            examples = f"\n    {', '.join(issue.examples)}" if issue.examples else ""
            self.stderr.write(f"  {issue.code:<11}{issue.count:>6}  {issue.sentence}{examples}")
        result = {
            "epoch": epoch.number,
            "open": epoch.released_at is None,
            "cause": epoch.cause,
            "treated": epoch.treated,
            "unsettled": {issue.code: issue.count for issue in issues},
        }
        self.stdout.write(json.dumps(result))
        return issues


def _open(since: datetime | None, note: str) -> Epoch:
    """Open an epoch that exceeds every mark kept outside, so that no process opens another."""
    seen = restore_detector.read_database()
    kept = (restore_detector.read_file(), restore_detector.read_redis(seen.lineage))
    known = [mark for mark in kept if mark is not None and mark.lineage == seen.lineage]
    must_exceed = (
        max((mark.epoch for mark in known), default=0),
        max((mark.mark for mark in known), default=0),
    )
    return open_epoch(
        Epoch.Cause.COMMAND, since=since, note=note, by=_login(), must_exceed=must_exceed
    )


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CommandError(
            f"--since {text!r} is not a time with a zone, such as 2026-11-20T12:00:00Z.",
            returncode=2,
        )
    return moment


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return "command line"
