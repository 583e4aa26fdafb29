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
        "Each refusal is final but for those [tried again](#tried-again-automatically). An entry",
        "whose signal got too old while it waited ends with the code of what it waited for, marked",
        "† here: nothing was sent or will be; the next signal is taken when that has passed.",
        "Each code has a page in the installation: `/reasons/CODE/`.",
    ]
    for title, group in grouped:
        lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
        lines += _table(group)
    return "\n".join([*lines, "", *_retries()]) + "\n"


def _table(group: list[Code]) -> list[str]:
    """Return a row for each code; without a column of hints if none has one."""
    if not any(code.hint for code in group):
        return [
            "| code | meaning |",
            "|---|---|",
            *(f"| `{code.value}` | {code.sentence} |" for code in group),
        ]
    lines = ["| code | meaning | what to do |", "|---|---|---|"]
    for code in group:
        mark = " †" if code in ENDED_WAITS else ""
        lines.append(f"| `{code.value}`{mark} | {code.sentence} | {code.hint or '–'} |")
    return lines


def _retries() -> list[str]:
    """Return what is tried again, once for the codes that share it."""
    codes_by_text: dict[str, list[str]] = {}
    for code, how in RETRIES.items():
        codes_by_text.setdefault(how, []).append(f"`{code.value}`")
    return [
        "## Tried again automatically",
        "",
        "| codes | how |",
        "|---|---|",
        *(f"| {', '.join(codes)} | {how} |" for how, codes in codes_by_text.items()),
    ]


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
