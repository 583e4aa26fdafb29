import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from common.clocks import market_clock
from prices.feed_runner import run

HELP = """The prices process: follows every active price source until it is stopped.

For each one it keeps the latest of each symbol, and lets triggers and broker events be worked on;
recorded and constant quotes also go to the paper broker. Kinds it drives: `broker` (what an
account's own broker tells; those of accounts in a lane are followed by the worker that holds it),
`replay` (recorded quotes at the market clock's pace, see FILLCAST_MARKET_CLOCK) and `static`
(constant prices, for benches). It opens credentials, and must reach the brokers.
Run one of it. Ctrl-C or SIGTERM stops it within a second; started again, it goes on where
it was."""


class Command(BaseCommand):
    help = HELP
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        clock = market_clock()
        pace = f"market clock {clock.spec()}" if clock else "real time"
        self.stderr.write(f"prices: {pace}; stop with Ctrl-C")
        carried = run(stop)
        self.stderr.write(f"prices: stopped after {carried:,} quotes")
