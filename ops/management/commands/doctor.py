"""manage.py doctor: check this installation and print what to do about each finding."""

import sys
from collections.abc import Sequence
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from brokers.types import Check, CheckResult
from ops.doctor.examination import examine, is_well

STYLES = {CheckResult.OK: "green", CheckResult.WARN: "yellow", CheckResult.FAIL: "bold red"}


class Command(BaseCommand):
    """Check everything that trading depends on."""

    help = (
        "Check settings, servers, processes, prices and brokers. Each line that is not ok states "
        "what to do. The exit code is 1 if anything fails; warnings alone are 0."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--json", action="store_true", help="one line of JSON for machines instead of a table"
        )

    def handle(self, *_args: Any, json: bool, **_options: Any) -> None:
        """Run the checks and print the findings; exit with code 1 if one failed."""
        findings = examine()
        if json:
            self.stdout.write(as_json(findings))
        else:
            show(findings, Console())
        if not is_well(findings):
            sys.exit(1)


def as_json(findings: Sequence[Check]) -> str:
    """Return all findings as one line."""
    checks = [
        {
            "name": check.name,
            "result": check.result.value,
            "detail": check.detail,
            "remedy": check.hint,
        }
        for check in findings
    ]
    return orjson.dumps({"ok": is_well(findings), "checks": checks}).decode()


def show(findings: Sequence[Check], console: Console) -> None:
    """Print a table; each remedy is below its finding."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", "check", "finding"):
        table.add_column(heading, overflow="fold")
    for check in findings:
        text = check.detail + (f"\n→ {check.hint}" if check.hint else "")
        table.add_row(Text(check.result.value, STYLES[check.result]), Text(check.name), Text(text))
    console.print(table)
    counts = {result: sum(check.result is result for check in findings) for result in CheckResult}
    console.print(
        f"\n{len(findings)} checks = {counts[CheckResult.OK]} ok + "
        f"{counts[CheckResult.WARN]} warnings + {counts[CheckResult.FAIL]} failed"
    )
