"""manage.py paper_broker: the paper broker as a process of its own."""

import asyncio
import logging
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from brokers.paper.models import PaperInstrument
from brokers.paper.remote.endpoint import parse_address
from brokers.paper.remote.server import Server
from common.readiness import announce_ready

HELP = """The paper broker as a process of its own, with its own books.

Its books are in the database that DATABASE_URL names here: give it another one than Fillcast's, and
make its tables once:

    DATABASE_URL=postgresql://…/paper manage.py migrate paper
    DATABASE_URL=postgresql://…/paper manage.py paper_broker --listen 127.0.0.1:8019

Then start Fillcast's processes with FILLCAST_PAPER_BROKER=127.0.0.1:8019. Accounts' passwords
travel unencrypted: listen on loopback or a private network only. Ctrl-C or SIGTERM ends it."""


class Command(BaseCommand):
    help = HELP
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the help's lines as they are written."""
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--listen",
            default="127.0.0.1:8019",
            metavar="HOST:PORT",
            help="where to listen (127.0.0.1:8019); port 0 is any free one, told on standard error",
        )
        parser.add_argument(
            "--faults",
            action="store_true",
            help="let callers ask for trouble (resets, half answers, …); for tests only",
        )

    def handle(self, *_args: Any, listen: str, faults: bool, **_options: Any) -> None:
        logging.basicConfig(stream=sys.stderr)
        try:
            host, port = parse_address(listen)
        except ValueError as error:
            raise CommandError(f"{listen!r} is not HOST:PORT, such as 127.0.0.1:8019.") from error
        try:
            listed = PaperInstrument.objects.count()
        except DatabaseError as error:
            raise CommandError(
                "The books cannot be opened; is DATABASE_URL right, and did you run"
                f" `manage.py migrate paper` there? ({type(error).__name__})"
            ) from error
        try:
            asyncio.run(self._serve(host, port, faults=faults, listed=listed))
        except OSError as error:
            raise CommandError(f"Cannot listen on {listen}: {error}") from error

    async def _serve(self, host: str, port: int, *, faults: bool, listed: int) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        server = Server(faults=faults)
        await server.open(host, port)
        self.stderr.write(f"paper broker: {host}:{server.port}, {listed} instruments listed")
        announce_ready()
        await ended.wait()
        await server.close()
        self.stderr.write("paper broker: ended")
