"""manage.py buses: the process that delivers events to buses."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from buses.runner import Runner, configured
from buses.sinks import SinkMisconfigured
from common.process.readiness import announce_ready
from common.process.stop_signals import stop_at_signals

HELP = """Run the process that delivers what happens to the buses of FILLCAST_BUSES, and to Python
functions that packages register (docs/buses.md). Each has a thread and a cursor of its own; two
such processes share the work by lease. Ctrl-C or SIGTERM stops it; it continues where it stopped.
Nothing that trades waits for it."""


class Command(BaseCommand):
    """`manage.py buses`."""

    help = HELP
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        try:
            makers = configured()
        except SinkMisconfigured as error:
            raise CommandError(str(error)) from error
        if not makers:
            raise CommandError("No bus is configured: set FILLCAST_BUSES; see docs/buses.md.")
        stop = stop_at_signals()
        names = ", ".join(name for name, _ in makers)
        self.stderr.write(f"buses: {names}; stop with Ctrl-C")
        announce_ready()
        Runner(makers).run(stop)
        self.stderr.write("buses: stopped")
