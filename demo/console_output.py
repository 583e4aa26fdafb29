"""What the demo says while it runs: on standard error, in colours only on a terminal."""

from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.text import Text

from common.clocks import MarketClock, market_now
from demo import accounts
from demo.event_feed import EventReader
from demo.messages import Line, MessageFormatter
from demo.scenario import Answer

KNOWN_AGAIN = 200


class ConsoleOutput:
    """Puts lines on the console. verbose: one for each single event."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self.console, self.verbose = console, verbose
        self.clock: MarketClock | None = None
        self._events = EventReader(apart=verbose)
        self._formatter = MessageFormatter(self._to_market)

    def welcome(self, url: str, logs: Path, speed: float) -> None:
        """Say where it is and who can log in."""
        lines = (
            f"[bold]Fillcast starts at {url}[/]  (logs: {logs})",
            f"  operator  {url}admin/  as [bold]{accounts.OPERATOR}[/]",
            f"  tenants   {url}  as [bold]{accounts.NAMES[0]}[/] or [bold]{accounts.NAMES[1]}[/]",
            f"  password  [bold]{accounts.PASSWORD}[/]",
            f"  market    2 May 2014, US payrolls at 12:30:00 UTC, {speed:g} times as fast",
            "Ctrl-C ends it.",
        )
        self.console.print("", *lines, "", sep="\n", soft_wrap=True)

    def write(self, text: str, colour: str = "") -> None:
        """Print a line of the present market time."""
        self._print(Line(market_now(), text, colour))

    def posted(self, answer: Answer) -> None:
        """Say what became of an alert."""
        said = {201: "taken", KNOWN_AGAIN: "known already"}.get(answer.status, answer.sentence)
        number = f" as {answer.body['number']}" if "number" in answer.body else ""
        surprise = "" if answer.is_expected else "  (the script expects something else)"
        text = f"alert: {answer.step.title} → {answer.status} {said}{number}{surprise}"
        self.write(text, "cyan" if answer.is_expected else "bold red")

    def events(self, *, all_of_them: bool = False) -> None:
        """Tell what has happened since the last call."""
        for group in self._events.poll(all_of_them=all_of_them):
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
