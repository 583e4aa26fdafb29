"""manage.py create_operator: create a user for the operators' console."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from common.errors import FillcastError
from common.permissions import Role
from users.services import create_operator, has_operator


class Command(BaseCommand):
    """Create a user for the console, with a role."""

    help = (
        "Create a user for the operators' console, with a role. The command asks for the password"
        " twice, or reads it from standard input if that is not a terminal."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("username", nargs="?", help="the name to sign in with")
        parser.add_argument("--email", default="", help="the e-mail address")
        parser.add_argument(
            "--role",
            default=Role.ADMINISTRATOR.value,
            choices=[role.value for role in Role],
            help="docs/roles.md lists what each role may do (default: %(default)s)",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="create no user; check whether an operator exists, exit code 1 if not",
        )

    def handle(
        self, *_args: Any, username: str | None, email: str, role: str, check: bool, **_: Any
    ) -> None:
        """Create the user, or exit with the reason why not."""
        if check:
            exists = has_operator()
            self.stdout.write("yes" if exists else "no")
            sys.exit(0 if exists else 1)
        if not username:
            raise CommandError("Give a name: manage.py create_operator olga")
        try:
            user = create_operator(username, _password(), email=email, role=Role(role))
        except FillcastError as error:
            raise CommandError(error.detail or str(error)) from error
        also = " and, as the first one, a superuser" if user.is_superuser else ""
        self.stderr.write(f"{user.username} has the role {role}{also}. Sign in at /admin/.")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Once more: "):
        raise CommandError("The two passwords differ; no user was created.")
    return first
