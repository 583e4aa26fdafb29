"""manage.py demo: run a whole installation with a recorded market, users and alerts."""

import errno
import json
import logging
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
    "Show Fillcast at work: start everything (as `manage.py stack` does), replay the market of"
    " 2 May 2014 around the US payrolls at 60 times its speed into 152 paper accounts, post a file"
    " of alerts as TradingView would, and print what happens. The installation keeps running so"
    " that you can look at it; Ctrl-C stops it. --once: stop after the summary; the last line on"
    " stdout is JSON, and the exit code is 0 only if the audit passes. Each run starts without"
    " trades; users and settings stay."
)
WIDTH = 140


class Command(BaseCommand):
    """Run the demo."""

    help = HELP
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="stop after the summary")
        parser.add_argument("--verbose", action="store_true", help="print a line for each event")
        parser.add_argument(
            "--speed", type=float, default=60.0, help="market seconds per second (default 60)"
        )

    def handle(self, *_args: Any, once: bool, verbose: bool, speed: float, **_: Any) -> None:
        """Run the demo until it ends or a signal stops it."""
        if not 1 <= speed <= 600:
            sys.exit("--speed must be between 1 and 600.")
        console = Console(stderr=True, highlight=False)
        if not console.is_terminal:
            console = Console(stderr=True, highlight=False, width=WIDTH)
        logging.disable(logging.INFO)  # in this process; the others have log files
        options = Options(once=once, verbose=verbose, speed=speed)
        try:
            with Stack(
                what="manage.py demo",
                children=demo_processes,
                report=lambda text: console.print(
                    Text(shorten(text, WIDTH * 2), "red"), soft_wrap=True
                ),
            ) as stack:
                demo_run = DemoRun(stack, console, options)
                code = demo_run.run()
        except EmbeddedError as e:
            sys.exit(str(e))
        except (DatabaseError, OSError) as e:
            sys.exit(_sentence(e))
        except KeyboardInterrupt:
            sys.exit(130)
        if once and demo_run.result is not None:
            self.stdout.write(json.dumps(demo_run.result))
        sys.exit(code)


def _sentence(error: Exception) -> str:
    """Return what to do if the database or the disk fails during the demo."""
    full = isinstance(error.__cause__, DiskFull) or getattr(error, "errno", None) == errno.ENOSPC
    if full:
        return "The disk is full. Free disk space and start the demo again; no repair is needed."
    return f"The demo stopped because of an error: {error} Start it again."
