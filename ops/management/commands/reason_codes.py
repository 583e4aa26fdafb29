"""manage.py reason_codes: docs/reason-codes.md, from common/reason_codes.py."""

import re
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from common import reason_codes
from common.ended_orders import ENDED_WAITS
from common.reason_codes import RETRIES, Code
from config.installation import ROOT

PAGE = ROOT / "docs" / "reason-codes.md"
_SECTION = re.compile(r"# -+ (.+?) -+$")
_CODE = re.compile(r"([A-Z][A-Z0-9_]*) = \(")


def sections(source: str) -> list[tuple[str, list[Code]]]:
    """Return each heading of the table with the codes below it, in the order of the source."""
    found: list[tuple[str, list[Code]]] = []
    for line in source.splitlines():
        text = line.strip()
        if heading := _SECTION.fullmatch(text):
            found.append((heading[1], []))
        elif code := _CODE.match(text):
            found[-1][1].append(Code[code[1]])
    return found


def reference(source: str) -> str:
    """Return the page. Raises ValueError if a code would be missing from it."""
    grouped = sections(source)
    if {code for _, group in grouped for code in group} != set(Code):
        raise ValueError(
            "common/reason_codes.py: each code begins a line below a `# ---- heading ----`."
        )
    lines = [
        "# Reason codes",
        "",
        "`manage.py reason_codes` writes this page from common/reason_codes.py. A code never "
        "changes its",
        "meaning and is never used again for something else.",
        "",
        "*Skipped*: a candidate that may not trade now. *Denied*: refused by our own rules.",
        "*Rejected*: refused by the broker. *Failed*: proven not sent. *Unknown*: not known yet.",
        "",
        "Where an order is tried again automatically, its code describes how; every other refusal",
        "is final. Each code has a page in the installation: `/reasons/CODE/`.",
    ]
    for title, group in grouped:
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", "| code | meaning | what to do |"]
        lines += ["|---|---|---|"]
        lines += [f"| `{code.value}` | {code.sentence} | {_to_do(code)} |" for code in group]
    lines += [
        "",
        "## Orders that ended while they waited",
        "",
        "An entry whose signal gets too old while it waits ends with the code of what it waited",
        "for. Nothing was sent, and nothing will be. The order then shows:",
        "",
        "| code | meaning | what to do |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{code}` | {ended.sentence} | {ended.hint} |" for code, ended in ENDED_WAITS.items()
    ]
    return "\n".join(lines) + "\n"


def _to_do(code: Code) -> str:
    retries = f"Tried again: {RETRIES[code]}." if code in RETRIES else ""
    return f"{code.hint} {retries}".strip() or "–"


class Command(BaseCommand):
    """Write the page, or check that it is up to date."""

    help = "Write docs/reason-codes.md from the table in common/reason_codes.py."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the page would change"
        )

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        """Write the page. With --check, exit with code 1 if it would change."""
        text = reference(Path(reason_codes.__file__).read_text())
        if PAGE.exists() and PAGE.read_text() == text:
            return
        if check:
            self.stderr.write(f"{PAGE.relative_to(ROOT)} is out of date; run `make docs`")
            sys.exit(1)
        PAGE.write_text(text)
        self.stdout.write(f"{PAGE.relative_to(ROOT)} written")
