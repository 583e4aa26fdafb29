"""manage.py check_migrations: whether the released code survives the migrations made since."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.migrations.loader import MigrationLoader

from ops.upgrades.check import ACCEPTS, find_faults
from ops.upgrades.released import FILE, read_released, write_released


class Command(BaseCommand):
    """Check the migrations since the last release. It connects to no database."""

    help = (
        "Check that the released code can run beside the migrations made since the last release,"
        " as it does during an upgrade without a gap: docs/upgrades.md."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--release", action="store_true", help=f"store that all are released now ({FILE.name})"
        )

    def handle(self, *_: Any, release: bool, **options: Any) -> None:
        loader = MigrationLoader(None)
        if release:
            write_released(loader)
            sys.stderr.write(f"{FILE.name} is written; commit it with the release.\n")
            return
        if faults := find_faults(loader, read_released(loader)):
            raise CommandError(
                "\n".join(faults) + "\n\nChange it as the line states, or, if it does no harm, give"
                f" the migration {ACCEPTS} = {{key: reason}}: docs/upgrades.md#migrations"
            )
        sys.stderr.write("The released code can run beside all migrations since.\n")
