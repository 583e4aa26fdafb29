"""manage.py demo: everything at once, with a market, people and alerts."""

import errno
import json
import logging
import signal
import sys
from textwrap import shorten
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseError
from psycopg.errors import DiskFull
from rich.console import Console
from rich.text import Text

from demo.run import DemoRun, Options
from demo.stack_options import demo_processes
from ops.embedded.errors import EmbeddedError
from ops.stack.stack import Stack

HELP = (
    "DemoRun Fillcast at work: start everything (as `manage.py stack` does), replay the market of"
    " 2 May 2014 around the US payrolls at 60 times its speed into 152 paper accounts, post a file"
    " of alerts as TradingView would, and tell what happens. Keeps running to be looked at; Ctrl-C"
    " ends it. --once: end after the summary, whose last line on stdout is JSON; exit code 0 only"
    " if the audit holds. Each run begins anew; people and settings stay."
)
WIDTH = 140


class Command(BaseCommand):
    """Run the demo."""

    help = HELP
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="end by itself after the summary")
        parser.add_argument("--verbose", action="store_true", help="a line for each single event")
        parser.add_argument(
            "--speed", type=float, default=60.0, help="market seconds in a second (default 60)"
        )

    def handle(self, *_args: Any, once: bool, verbose: bool, speed: float, **_: Any) -> None:
        """Run until the end or until told to stop."""
        if not 1 <= speed <= 600:
            sys.exit("--speed must lie between 1 and 600.")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        console = Console(stderr=True, highlight=False)
        if not console.is_terminal:
            console = Console(stderr=True, highlight=False, width=WIDTH)
        logging.disable(logging.INFO)  # here; the processes write theirs into their logs
        options = Options(once=once, verbose=verbose, speed=speed)
        try:
            with Stack(
                what="manage.py demo",
                children=demo_processes,
                report=lambda text: console.print(
                    Text(shorten(text, WIDTH * 2), "red"), soft_wrap=True
                ),
            ) as stack:
                show = DemoRun(stack, console, options)
                code = show.run()
        except EmbeddedError as e:
            sys.exit(str(e))
        except (DatabaseError, OSError) as e:
            sys.exit(_sentence(e))
        except KeyboardInterrupt:
            sys.exit(130)
        if once and show.result is not None:
            self.stdout.write(json.dumps(show.result))
        sys.exit(code)


def _sentence(error: Exception) -> str:
    """Return what to do about a database or a disk that fails us in the middle."""
    full = isinstance(error.__cause__, DiskFull) or getattr(error, "errno", None) == errno.ENOSPC
    if full:
        return "The disk is full; make room and start again, nothing has to be repaired."
    return f"Something that the demo stands on failed: {error} Start it again."
