"""`manage.py audit`: prove that every candidate is accounted for."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.process.commands import HelpedCommand, number_in, read_seconds
from execution.audit.counter_help import COUNTERS
from execution.audit.counters import AuditReport, audit, request_readings
from execution.audit.listings import WAIT_SECONDS, wait_for
from signals.models import Signal

WRONG_EXIT, UNREAD_EXIT = 1, 3
_COUNTERS = "\n".join(f"  {name:<10}{meaning}" for name, (meaning, _) in COUNTERS.items())
HELP = f"""\
Prove that every candidate of every published signal is accounted for, exactly once.

The candidates are recomputed from the subscriptions' intervals. The states must add up to them, and
these counters must be 0:

{_COUNTERS}

DUP, ORPHAN, GHOST, REVERSED and RISEN use the brokers' data: the paper broker's books, and for
other brokers what a worker reads of each account now (positions; orders and executions of the last
day, or since the broker's midnight where it keeps no more). An account that no worker read in time
is listed as not judged, with the reason.
--wait: how many seconds to wait for these reads. 0: use what was read in the last ten minutes.
--json: the last line of stdout is {{"ok", "signals", "candidates", "states", "counters", …}}.
Exit code: 0 all is well; 1 a counter is not 0; 3 all are 0, but books or accounts could not be
read, so nothing is proven for those."""


class Command(HelpedCommand):
    """`manage.py audit`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--signal", metavar="ID", help="one signal only: 2041 or S-2041")
        parser.add_argument(
            "--wait",
            metavar="SECONDS",
            type=read_seconds,
            default=WAIT_SECONDS,
            help="how long to wait for accounts to be read; default: 20",
        )
        parser.add_argument("--json", action="store_true", help="print one line of JSON")

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
            self._print(report)
        if not report.ok:
            raise SystemExit(UNREAD_EXIT if report.is_clean else WRONG_EXIT)

    def _print(self, report: AuditReport) -> None:
        self.stdout.write(f"{report.signals} signals, {report.candidates} candidates")
        for name, number in report.states.items():
            if number:
                self.stdout.write(f"  {name:<10}{number:>9,}")
        accounted = sum(report.states.values())
        self.stdout.write(f"  {'sum':<10}{accounted:>9,}")
        for name, number in report.counters.items():
            meaning, remedy = COUNTERS[name]
            style = self.style.ERROR if number else self.style.SUCCESS
            self.stdout.write(style(f"  {name:<10}{number:>9,}") + f"  {meaning}")
            if number:
                self.stdout.write(f"    {'; '.join(report.examples.get(name, []))}")
                self.stdout.write(f"    → {remedy}")
        if report.judged:
            self.stdout.write(f"{report.judged} accounts judged by what their brokers list")
        for account in report.not_judged:
            self.stderr.write(
                f"Not judged: {account.name} ({account.connection}): {account.detail}"
                f" [{account.reason}]"
            )
        for broker_type in report.unread:
            self.stderr.write(f"The books of {broker_type} could not be read; nothing is proven.")


def as_line(report: AuditReport) -> str:
    """Return the report as one line of JSON."""
    return json.dumps(report.as_json(), default=str)


def _signal_id(text: str | None) -> int | None:
    if text is None:
        return None
    number = number_in(text, "S-")
    if not number:
        raise CommandError(
            f"{text!r} is not a signal's number, such as 2041 or S-2041.", returncode=2
        )
    if not Signal.objects.published().filter(pk=number, action="OPEN").exists():
        raise CommandError(
            f"There is no published OPEN signal S-{number}. `manage.py audit` audits all.",
            returncode=2,
        )
    return number
