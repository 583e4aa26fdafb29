"""manage.py specification_page: write docs/specification.md from the table of its words."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.installation import ROOT
from ops.specification.page import SECTIONS, absent_names, page
from ops.specification.table import faults_of

PAGE = ROOT / "docs" / "specification.md"


class Command(BaseCommand):
    """Write the page, or check that it is up to date."""

    help = (
        "Write docs/specification.md from ops/specification: where each term of the specification"
        " lives. Fails if a path or name of it does not exist."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the page would change"
        )

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        """Write the page. With --check, exit with code 1 if it would change."""
        faults = [*faults_of(SECTIONS, ROOT), *(f"{name}: no row" for name in absent_names())]
        if faults:
            raise CommandError("\n".join(["ops/specification:", *faults]))
        text = page()
        if PAGE.exists() and PAGE.read_text() == text:
            return
        if check:
            self.stderr.write("docs/specification.md is out of date; run `make docs`")
            sys.exit(1)
        PAGE.write_text(text)
        self.stdout.write("docs/specification.md written")
