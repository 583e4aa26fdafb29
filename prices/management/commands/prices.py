from typing import Any

from django.core.management.base import BaseCommand

from common.clocks import market_clock
from common.process.stop_signals import stop_at_signals
from prices.feed_runner import run

HELP = """Run the prices process: follow every active price source until it is stopped.

It stores the latest quote of each symbol and source, and notifies the level monitor. Recorded and
constant quotes also go to the paper broker. Kinds of sources: `broker` (prices from an account's
own broker; accounts in a session lane are followed by the worker that holds the lane), `replay`
(recorded quotes at the market clock's pace, see FILLCAST_REHEARSAL) and `static` (constant
prices, for benchmarks). The process decrypts credentials and must reach the brokers.
Run only one. Ctrl-C or SIGTERM stops it within a second; after a restart it continues where it
stopped."""


class Command(BaseCommand):
    """`manage.py prices`: run the prices process."""

    help = HELP
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        stop = stop_at_signals()
        clock = market_clock()
        pace = f"market clock {clock.spec()}" if clock else "real time"
        self.stderr.write(f"prices: {pace}; stop with Ctrl-C")
        published = run(stop)
        self.stderr.write(f"prices: stopped after {published:,} quotes")
