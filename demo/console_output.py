"""The demo's output while it runs: on standard error, in colours only on a terminal."""

from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.text import Text

from common.clocks import MarketClock, market_now
from demo import accounts
from demo.event_feed import EventReader
from demo.messages import Line, MessageFormatter
from demo.scenario import Answer

STATUS_DUPLICATE = 200


class ConsoleOutput:
    """Prints the demo's lines."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        """verbose: one line for each event, instead of one for similar events together."""
        self.console, self.verbose = console, verbose
        self.clock: MarketClock | None = None
        self._events = EventReader(separate=verbose)
        self._formatter = MessageFormatter(self._to_market)

    def begin_session(self, clock: MarketClock) -> None:
        """Print the events of a new session: its numbers begin again at 1."""
        self.clock = clock
        self._events = EventReader(separate=self.verbose)

    def welcome(self, url: str, logs: Path, speed: float) -> None:
        """Print the address and who can sign in."""
        lines = (
            f"[bold]Fillcast starts at {url}[/]  (logs: {logs})",
            f"  operator  {url}admin/  as [bold]{accounts.OPERATOR}[/]",
            f"  tenants   {url}  as [bold]{accounts.NAMES[0]}[/] or [bold]{accounts.NAMES[1]}[/]",
            f"  password  [bold]{accounts.PASSWORD}[/]",
            f"  market    2 May 2014, US payrolls at 12:30:00 UTC, {speed:g} times as fast",
            "Press Ctrl-C to stop.",
        )
        self.console.print("", *lines, "", sep="\n", soft_wrap=True)

    def write(self, text: str, colour: str = "") -> None:
        """Print a line with the current market time."""
        self._print(Line(market_now(), text, colour))

    def alert_posted(self, answer: Answer) -> None:
        """Print the outcome of an alert."""
        outcome = {
            201: "accepted",
            202: "stored, a worker will read it",
            STATUS_DUPLICATE: "already known",
        }.get(answer.status, answer.sentence)
        number = f" as {answer.body['number']}" if answer.body.get("number") else ""
        expected = " or ".join(map(str, answer.step.expect))
        surprise = "" if answer.is_expected else f"  (the scenario expects {expected})"
        text = f"alert: {answer.step.title} → {answer.status} {outcome}{number}{surprise}"
        self.write(text, "cyan" if answer.is_expected else "bold red")

    def events(self, *, flush: bool = False) -> None:
        """Print the events since the last call. flush: also those that wait for similar ones."""
        for group in self._events.poll(flush=flush):
            if line := self._formatter.line(group):
                self._print(line)

    def _print(self, line: Line) -> None:
        text = Text.assemble((f"{line.at:%H:%M:%S}  ", "dim"), (line.text, line.colour))
        self.console.print(text, soft_wrap=True)

    def _to_market(self, at: datetime) -> datetime:
        """Turn machine time into market time."""
        if self.clock is None:
            return at
        passed = (at - self.clock.anchor).total_seconds()
        return self.clock.start + timedelta(seconds=passed * self.clock.speed)
