"""manage.py bench: measure, each thing beside its baseline in the same run."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from common.embedded.errors import EmbeddedError


class Command(BaseCommand):
    """Run the benches on servers and processes of their own."""

    help = (
        "Measure Fillcast beside the plain way of doing the same, on an own PostgreSQL, Redis and"
        " processes. Words go to standard error; the last line of standard output is JSON, also"
        " kept in var/bench/latest.json. See docs/performance.md."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        from benchmarks.place import USUAL_ROUNDS
        from benchmarks.suite import NAMES

        parser.add_argument("--only", choices=sorted(NAMES), help="run this one alone")
        parser.add_argument(
            "--rounds",
            type=int,
            default=USUAL_ROUNDS,
            help="measure each side so often, and take the median (default: %(default)s)",
        )
        parser.add_argument("-n", type=int, help="how many connections (or positions)")

    def handle(
        self, *_args: Any, only: str | None, n: int | None, rounds: int, **_options: Any
    ) -> None:
        """Run and print."""
        from benchmarks.place import BenchError
        from benchmarks.suite import NAMES, run

        try:
            self.stdout.write(run([only] if only else NAMES, n, rounds))
        except (EmbeddedError, BenchError) as e:
            sys.exit(str(e))
        except KeyboardInterrupt:
            sys.exit(130)
