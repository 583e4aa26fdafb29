"""Sources that need no broker: recordings and constant prices."""

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from brokers.types import Quote
from common.clocks import machine_time
from common.errors import FillcastError, MisconfiguredError
from common.money import read_decimal
from connections.models import DataConnection
from prices.recordings import DEFAULT_FILE, Tape, find_recording, read_quotes

REPEAT_SECONDS = 1.0  # seconds of machine time
DEFAULT_QUOTES = {  # what a static source quotes when its settings name nothing
    "EUR/USD": ("1.10000", "1.10002"),
    "NZD/USD": ("0.61000", "0.61003"),
    "XAU/USD": ("1900.00", "1900.30"),
}


class Stream(Protocol):
    """A source of quotes."""

    def due(self, now: datetime) -> list[Quote]:
        """Return the quotes since the last call, in order. now: market time."""
        ...


class ReplayStream:
    """A recording, played by the market clock.

    since: market time of the last stored quote. A restarted process plays everything after it, so
    that the paper broker misses no level; without it, the stream begins at the current time.
    repeats_last: after the end the last prices are repeated each second, so that trading can go on.
    """

    def __init__(self, tape: Tape, since: datetime | None, *, repeats_last: bool = False) -> None:
        self._tape, self._since, self._repeats_last = tape, since, repeats_last
        self._started = False
        self._last: dict[str, Quote] = {}
        self._emitted_at = float("-inf")

    def due(self, now: datetime) -> list[Quote]:
        """Return the quotes since the last call, in order. now: market time."""
        quotes = self._of_tape(now)
        self._last |= {quote.symbol: quote for quote in quotes}
        if quotes or not (self._repeats_last and self._tape.is_over):
            return quotes
        if machine_time() - self._emitted_at < REPEAT_SECONDS:
            return []
        self._emitted_at = machine_time()
        return [replace(quote, time=now) for quote in self._last.values()]

    def _of_tape(self, now: datetime) -> list[Quote]:
        if self._started:
            return self._tape.until(now)
        self._started = True
        if self._since is not None and self._since <= now:
            before = self._tape.until(self._since)
            self._last = {quote.symbol: quote for quote in before}
            return self._tape.until(now)
        return self._tape.skip_to(now)


class StaticStream:
    """Constant prices, repeated each second so that they never become stale."""

    def __init__(self, prices: dict[str, tuple[str, str]], every: float = REPEAT_SECONDS) -> None:
        self._prices = [
            (symbol, read_decimal(bid, field=symbol, positive=True),
             read_decimal(ask, field=symbol, positive=True))
            for symbol, (bid, ask) in prices.items()
        ]  # fmt: skip
        self._every, self._emitted_at = every, float("-inf")

    def due(self, now: datetime) -> list[Quote]:
        """Return all prices if it is time to repeat them. now: market time."""
        if machine_time() - self._emitted_at < self._every:
            return []
        self._emitted_at = machine_time()
        return [Quote(symbol, bid, ask, now) for symbol, bid, ask in self._prices]


def stream_for(source: DataConnection, since: datetime | None) -> Stream | None:
    """Open the stream of a source; None if its prices come from a broker (`prices.broker_feeds`).

    Settings: `file` (replay; one of prices/data, or an operator's absolute path), `after_the_end`
    (replay; "stand": repeat the last prices), `quotes` (static; {"EUR/USD": ["1.1000", "1.1002"]}).
    Raises MisconfiguredError.
    """
    if source.kind == DataConnection.Kind.REPLAY:
        name = str(source.settings.get("file", DEFAULT_FILE))
        path = find_recording(name, trusted=source.user_id is None)
        repeats_last = source.settings.get("after_the_end") == "stand"
        return ReplayStream(Tape(read_quotes(path)), since, repeats_last=repeats_last)
    if source.kind == DataConnection.Kind.STATIC:
        try:
            quotes = source.settings.get("quotes", DEFAULT_QUOTES)
            return StaticStream({symbol: (bid, ask) for symbol, (bid, ask) in quotes.items()})
        except (AttributeError, TypeError, ValueError, FillcastError) as error:
            raise MisconfiguredError(
                f'{source.name}: quotes must be {{"EUR/USD": ["1.1000", "1.1002"]}}: {error}'
            ) from error
    return None
