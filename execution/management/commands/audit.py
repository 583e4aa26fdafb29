"""Prove that everyone is accounted for."""

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from execution.audit import AuditReport, audit
from signals.models import Signal

HELP = """\
Prove that every candidate of every published signal is accounted for, exactly once.

Who was a candidate is worked out again from the subscriptions' intervals; the states must add up to
that, and these counters must be 0:

  MISSING   a candidate without an order          EXTRA     an order without a candidate
  LOST      an order that nobody works on         DUP       accepted twice by the broker
  ORPHAN    at the broker, unknown to us          GHOST     open for us, not at the broker
  LIMBO     unknown for too long                  LATE      an entry sent after valid_until
  MISMATCH  a quantity that is not its fills'     REVERSED  a position whose side flipped
  RISEN     called never arrived, yet accepted    NAKED     a position without its stop for > 5 s

--json: the last line of stdout is {"ok", "signals", "candidates", "states", "counters", …}.
Exit code: 0 all counters are 0, 1 one is not."""


class Command(BaseCommand):
    """`manage.py audit`."""

    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the help's lines as they are written."""
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--signal", metavar="ID", help="one signal only: 2041 or S-2041")
        parser.add_argument("--json", action="store_true", help="one line for machines")

    def handle(self, *, signal: str | None, json: bool, **_: Any) -> None:
        report = audit(_signal_id(signal))
        if json:
            self.stdout.write(as_line(report))
        else:
            self._explain(report)
        if not report.ok:
            raise SystemExit(1)

    def _explain(self, report: AuditReport) -> None:
        self.stdout.write(f"{report.signals} signals, {report.candidates} candidates")
        for name, n in report.states.items():
            if n:
                self.stdout.write(f"  {name:<10}{n:>9,}")
        accounted = sum(report.states.values())
        self.stdout.write(f"  {'sum':<10}{accounted:>9,}")
        for name, n in report.counters.items():
            about = "; ".join(report.examples.get(name, []))
            style = self.style.ERROR if n else self.style.SUCCESS
            self.stdout.write(style(f"  {name:<10}{n:>9,}") + (f"  {about}" if n else ""))
        for kind in report.unread:
            self.stderr.write(f"The books of {kind} could not be read; nothing is said of them.")


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
