"""manage.py roles: write docs/roles.md from the table of roles and rights."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from common.permissions import RIGHTS, ROLES
from config.installation import ROOT

PAGE = ROOT / "docs" / "roles.md"


def reference() -> str:
    """Return the page."""
    head = " | ".join([*(role.value for role in ROLES), "owner"])
    lines = [
        "# Roles",
        "",
        "`manage.py roles` writes this page from common/permissions.py, the one table that the",
        "API, the console, the portal and every service check.",
        "",
        "Staff act by their roles, not by the owner of a row; several roles add up. Staff without",
        "a role may do nothing and see only their own rows. A superuser may do everything. All",
        "other users (tenants, providers) act on their own rows only: the column *owner*. Staff",
        "who also trade for themselves use a second user for it.",
        "",
        "An administrator gives roles in the console, under *Access*. Users cannot change their",
        "own roles, nor give or take a right that they lack; only a superuser creates or changes",
        "a superuser. Without a right the answer is 403 `RIGHT_MISSING`, with the roles that",
        "have it.",
        "",
        f"| right | {head} | scope of an API key |",
        f"|---|{'---|' * (len(ROLES) + 2)}",
    ]
    for right, meaning in RIGHTS.items():
        have = ["yes" if right in rights else "–" for rights in ROLES.values()]
        have.append("own rows" if meaning.owners else "–")
        description = meaning.description[0].upper() + meaning.description[1:]
        lines.append(
            f"| {description} (`{right.value}`) | {' | '.join(have)} | `{meaning.scope.value}` |"
        )
    return "\n".join(lines) + "\n"


class Command(BaseCommand):
    """Write the page, or check that it is up to date."""

    help = "Write docs/roles.md from the table in common/permissions.py."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the page would change"
        )

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        """Write the page. With --check, exit with code 1 if it would change."""
        text = reference()
        if PAGE.exists() and PAGE.read_text() == text:
            return
        name = PAGE.relative_to(ROOT)
        if check:
            self.stderr.write(f"{name} is out of date; run `make docs`")
            sys.exit(1)
        PAGE.write_text(text)
        self.stdout.write(f"{name} written")
