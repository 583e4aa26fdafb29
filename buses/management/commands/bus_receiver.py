"""manage.py bus_receiver: the process that takes signals and fills from buses."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from buses.receiver import Receiver, configured
from buses.sinks import SinkMisconfigured
from common.process.stop_signals import stop_at_signals

HELP = """Run the process that takes approved signals, and fills of foreign connectors, from the
buses that FILLCAST_BUSES names with from+. It carries out only what comes by a route that an
operator added in the console (Routes from buses); the rest is kept with its reason. Several such
processes share the work. Ctrl-C or SIGTERM stops it; what was not acknowledged to the bus comes
again."""


class Command(BaseCommand):
    """`manage.py bus_receiver`."""

    help = HELP
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        try:
            makers = configured()
        except SinkMisconfigured as error:
            raise CommandError(str(error)) from error
        if not makers:
            raise CommandError("No bus is configured: set FILLCAST_BUSES=from+nats://…")
        stop = stop_at_signals()
        names = ", ".join(name for name, _ in makers)
        self.stderr.write(f"bus_receiver: {names}; stop with Ctrl-C")
        Receiver(makers).run(stop)
        self.stderr.write("bus_receiver: stopped")
