"""Say that the database has forgotten something, see what is unsettled, let entries go on."""

import getpass
import json
from argparse import RawDescriptionHelpFormatter
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from common.errors import FillcastError
from connections.models import Epoch
from execution.disaster_recovery import restore_detector
from execution.disaster_recovery.epochs import current_epoch, open_epoch, release_epoch
from execution.disaster_recovery.open_issues import OpenIssue, list_open_issues

HELP = """\
After a restore from a backup, or after a standby was promoted that may lack the newest rows.

What the forgotten rows had sent is live at brokers. A new epoch halts all entries; what waited is
never sent again, what was under way is asked for at the brokers, every account is compared before
even an exit leaves for it, and orders with our tag that we do not know become drift.

  manage.py new_epoch                     open an epoch: do this before workers start again
  manage.py new_epoch --since 2026-11-20T12:00:00Z
                                          trust rows written after that (the database's return)
  manage.py new_epoch --status            what is still unsettled; exit code 1 while anything is
  manage.py new_epoch --release           let entries go on; refused while anything is unsettled
  manage.py new_epoch --release --force --note "why"
                                          the same with things unsettled; it is written down

Trading processes open an epoch by themselves where they can see the loss; see docs/operations.md.
The last line on standard output is JSON: {"epoch", "open", "cause", "treated", "unsettled"}."""


class Command(BaseCommand):
    """`manage.py new_epoch`."""

    help = HELP
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the help's lines as they are written."""
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--status", action="store_true", help="only say what is unsettled")
        what.add_argument("--release", action="store_true", help="let entries go on")
        parser.add_argument("--since", metavar="TIME", help="rows written after this are trusted")
        parser.add_argument("--note", default="", help="why; kept with the epoch")
        parser.add_argument("--force", action="store_true", help="release with things unsettled")

    def handle(self, *, status: bool, release: bool, note: str, force: bool, **more: Any) -> None:
        if force and not release:
            raise CommandError("--force goes with --release.", returncode=2)
        try:
            if release:
                epoch = release_epoch(by=None, by_name=_login(), note=note, force=force)
            elif status:
                epoch = current_epoch()
            else:
                epoch = _open(_time(more["since"]), note)
        except FillcastError as error:
            self._tell(current_epoch())
            raise CommandError(f"{error.detail} ({error.code.value})") from error
        left = self._tell(epoch)
        if status and left:
            raise SystemExit(1)

    def _tell(self, epoch: Epoch) -> list[OpenIssue]:
        left = [] if epoch.released_at else list_open_issues(epoch)
        state = "released" if epoch.released_at else "open: entries are halted"
        self.stderr.write(f"Epoch {epoch.number} ({epoch.get_cause_display()}), {state}.")
        for one in left:
            about = f"\n    {', '.join(one.about)}" if one.about else ""
            self.stderr.write(f"  {one.what:<11}{one.count:>6}  {one.sentence}{about}")
        shown = {
            "epoch": epoch.number,
            "open": epoch.released_at is None,
            "cause": epoch.cause,
            "treated": epoch.treated,
            "unsettled": {one.what: one.count for one in left},
        }
        self.stdout.write(json.dumps(shown))
        return left


def _open(since: datetime | None, note: str) -> Epoch:
    """Pass whatever is remembered outside, so that no process opens one more."""
    seen = restore_detector.read_database()
    known = [
        one
        for one in (restore_detector.read_file(), restore_detector.read_redis(seen.lineage))
        if one
    ]
    ours = [one for one in known if one.lineage == seen.lineage]
    beyond = (
        max((one.epoch for one in ours), default=0),
        max((one.mark for one in ours), default=0),
    )
    return open_epoch(Epoch.Cause.COMMAND, since=since, note=note, by=_login(), beyond=beyond)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CommandError(
            f"--since {text!r} is no time with its zone, such as 2026-11-20T12:00:00Z.",
            returncode=2,
        )
    return moment


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return "command line"
