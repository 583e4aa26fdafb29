"""manage.py reset_second_factor: for a user, such as the only administrator, who lost it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.lookups import named
from users.sign_in.second_factor import is_required, reset


class Command(BaseCommand):
    """Remove a user's second factor."""

    help = (
        "Remove the second factor and the recovery codes of a user who has lost them. A user who"
        " must have one sets up a new one at the next sign-in. The audit trail records this."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("name", help="the user's name, as it is typed to sign in")

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove it. Raises CommandError if the user does not exist."""
        user = named(options["name"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['name']!r}.")
        if not reset(user.pk, by=None):
            self.stdout.write(f"{user.username} has no second factor; nothing was changed.")
            return
        then = "sets up a new one" if is_required(user) else "signs in with the password alone"
        self.stdout.write(f"Removed. {user.username} {then} at the next sign-in.")
