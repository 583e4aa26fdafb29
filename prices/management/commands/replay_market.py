import sys
import threading
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from common.clocks import machine_time
from common.errors import MisconfiguredError
from common.process.commands import HelpedCommand
from common.process.stop_signals import stop_at_signals
from prices.feeds import Feed
from prices.recordings import DEFAULT_FILE, find_recording
from prices.replay_session import ManualReplay, get_or_create_source, prepare

HELP = """Replay recorded quotes into this installation: the paper broker trades on them.

FILE is a .csv or .csv.gz with the columns time_ms,symbol,bid,ask (epoch milliseconds UTC, canonical
BASE/QUOTE pairs), sorted by time, or the name of a recording in prices/data.

Examples:
  manage.py replay_market quotes-2014-05-02-nonfarm-2h.csv.gz
  manage.py replay_market my-quotes.csv.gz --speed 10 --start 12:29

The quotes come at the recording's pace times --speed. In an installation that runs in real time
they get the current time, so that every other process can trade on them. With a market clock
(FILLCAST_REHEARSAL, as in the demo) that clock sets date and pace; --speed and --start do not
apply. Accounts use these prices if their price source is the one named by --data-connection.
Progress goes to stderr; Ctrl-C stops within a second."""


class Command(HelpedCommand):
    """`manage.py replay_market`: replay a recording."""

    help = HELP

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add FILE and the options."""
        parser.add_argument("file", metavar="FILE", nargs="?", default=DEFAULT_FILE)
        parser.add_argument("--speed", type=float, default=60.0, help="1 is real time (default 60)")
        parser.add_argument(
            "--start",
            metavar="TIME",
            help="begin here in the recording: 12:29, 12:29:30 or 2014-05-02T12:29Z (UTC)",
        )
        parser.add_argument(
            "--data-connection",
            metavar="NAME",
            default="Replay",
            help="the price source that gets the quotes; created if missing (default Replay)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay until the recording ends or the user stops it. Raises CommandError."""
        if not 0 < options["speed"] <= 10_000:
            raise CommandError("--speed must be above 0 and at most 10000.")
        try:
            path = find_path(options["file"])
            source = get_or_create_source(options["data_connection"])
            replay = prepare(path, start=options["start"], speed=options["speed"])
        except MisconfiguredError as error:
            raise CommandError(str(error)) from error
        stop = stop_at_signals()
        self.stderr.write(f"replaying {path.name} into price source {source.name!r}")
        feed = Feed(source.pk, source.name, replay)
        try:
            published = self._follow(feed, replay, stop)
        except MisconfiguredError as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"{published:,} quotes replayed")

    def _follow(self, feed: Feed, replay: ManualReplay, stop: threading.Event) -> int:
        """Publish quotes until the recording ends or the user stops; print progress each second."""
        published, printed_at = 0, machine_time()
        while not (stop.is_set() or replay.is_over):
            published += feed.step(datetime.now(UTC))
            if machine_time() - printed_at >= 1:
                printed_at = machine_time()
                self.stderr.write(f"  {replay.at:%Y-%m-%d %H:%M:%S} UTC, {published:,} quotes")
                sys.stderr.flush()
            stop.wait(0.05)
        return published


def find_path(name: str) -> Path:
    """Return the path of FILE, or of our recording of that name. Raises MisconfiguredError."""
    path = Path(name)
    return path.resolve() if path.is_file() else find_recording(name, trusted=False)
