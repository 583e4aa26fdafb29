"""Prove that everyone is accounted for."""

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from execution.audit.counter_help import COUNTERS
from execution.audit.counters import AuditReport, audit, request_readings
from execution.audit.listings import WAIT_SECONDS, wait_for
from signals.models import Signal

WRONG_EXIT, UNREAD_EXIT = 1, 3
_COUNTERS = "\n".join(f"  {name:<10}{means}" for name, (means, _) in COUNTERS.items())
HELP = f"""\
Prove that every candidate of every published signal is accounted for, exactly once.

Who was a candidate is worked out again from the subscriptions' intervals; the states must add up to
that, and these counters must be 0:

{_COUNTERS}

DUP, ORPHAN, GHOST, REVERSED and RISEN are asked of the brokers: of the paper broker by its books,
of others by what a worker reads of each account now (positions; orders and executions of the last
day, or since the broker's midnight where it keeps no more). An account that no worker read in time
is named as not judged, with the reason.
--wait: how many seconds accounts may take to be read. 0: what was read in the last ten minutes.
--json: the last line of stdout is {{"ok", "signals", "candidates", "states", "counters", …}}.
Exit code: 0 all is well, 1 a counter is not 0, 3 all are 0 but books or accounts could not be read:
for those that proves nothing."""


class Command(BaseCommand):
    """`manage.py audit`."""

    help = HELP
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the help's lines as they are written."""
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--signal", metavar="ID", help="one signal only: 2041 or S-2041")
        parser.add_argument("--wait", metavar="SECONDS", type=float, default=WAIT_SECONDS,
                            help="for accounts to be read; 20 if not given")  # fmt: skip
        parser.add_argument("--json", action="store_true", help="one line for machines")

    def handle(
        self, *, signal: str | None, json: bool, wait: float = WAIT_SECONDS, **_: Any
    ) -> None:
        signal_id = _signal_id(signal)
        if wait > 0 and (requested := request_readings()):
            self.stderr.write(f"Waiting for {len(requested)} accounts to be read.")
            wait_for(requested, wait)
        report = audit(signal_id)
        if json:
            self.stdout.write(as_line(report))
        else:
            self._explain(report)
        if not report.ok:
            raise SystemExit(UNREAD_EXIT if report.is_clean else WRONG_EXIT)

    def _explain(self, report: AuditReport) -> None:
        self.stdout.write(f"{report.signals} signals, {report.candidates} candidates")
        for name, n in report.states.items():
            if n:
                self.stdout.write(f"  {name:<10}{n:>9,}")
        accounted = sum(report.states.values())
        self.stdout.write(f"  {'sum':<10}{accounted:>9,}")
        for name, n in report.counters.items():
            means, remedy = COUNTERS[name]
            style = self.style.ERROR if n else self.style.SUCCESS
            self.stdout.write(style(f"  {name:<10}{n:>9,}") + f"  {means}")
            if n:
                self.stdout.write(f"    {'; '.join(report.examples.get(name, []))}")
                self.stdout.write(f"    → {remedy}")
        if report.judged:
            self.stdout.write(f"{report.judged} accounts judged by what their brokers list")
        for one in report.not_judged:
            shown = f"Not judged: {one.name} ({one.connection}): {one.detail} [{one.reason}]"
            self.stderr.write(shown)
        for kind in report.unread:
            self.stderr.write(f"The books of {kind} could not be read: that proves nothing.")


def as_line(report: AuditReport) -> str:
    """One line of JSON."""
    return json.dumps(report.as_json(), default=str)


def _signal_id(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.upper().removeprefix("S-")
    if not digits.isascii() or not digits.isdigit():
        raise CommandError(f"{text!r} is no signal's number, such as 2041 or S-2041.", returncode=2)
    number = int(digits)
    if not Signal.objects.published().filter(pk=number, action="OPEN").exists():
        raise CommandError(
            f"There is no published OPEN signal S-{number}; `manage.py audit` takes all.",
            returncode=2,
        )
    return number
