"""manage.py stack: the whole installation on this machine, without demo data."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ops.embedded.errors import EmbeddedError
from ops.stack.stack import Stack


class Command(BaseCommand):
    """Start everything and keep it running."""

    help = (
        "Start Fillcast on this machine and keep it running: PostgreSQL and Redis (unless"
        " DATABASE_URL and REDIS_URL name others), tables, web, workers, beat, prices."
        " Logs are in var/log/. Ctrl-C ends it; a second time, at once."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="start, wait until everything is ready, then stop: a test that it can run",
        )

    def handle(self, *_args: Any, once: bool, **_options: Any) -> None:
        """Run until a signal stops it; the exit code is 1 if a server failed for good."""
        try:
            with Stack() as stack:
                self.stderr.write("Starting …")
                stack.prepare()
                self.stderr.write(stack.database)
                code = self._run(stack, once=once)
        except EmbeddedError as e:
            sys.exit(str(e))
        except KeyboardInterrupt:
            sys.exit(130)
        sys.exit(code)

    def _run(self, stack: Stack, *, once: bool) -> int:
        supervisor = stack.start()
        with supervisor.signals_handled():
            if supervisor.wait_ready():
                self.stderr.write(f"Fillcast runs at {stack.url} (logs: {stack.folder / 'log'})")
                self._print_first_step(stack)
            elif not supervisor.wait(0):
                self.stderr.write(f"Not ready after a minute: {', '.join(supervisor.unready())}")
                if once:
                    return 1
            return 0 if once and not supervisor.failure else supervisor.run_forever()

    def _print_first_step(self, stack: Stack) -> None:
        """Explain how to create the first operator, if there is none."""
        try:
            stack.manage("create_operator", "--check", capture=True)
        except EmbeddedError:
            self.stderr.write(
                "There is no operator yet. In another terminal, in this folder:\n"
                "  .venv/bin/python manage.py create_operator YOUR_NAME\n"
                f"then sign in at {stack.url}admin/ and continue with docs/first-hour.md"
            )
