"""Publish the quotes that a program pushes to a source, judged like those of brokers."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from brokers.types import Quote
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from connections.market_hours import is_market_open
from connections.models import DataConnection
from connections.selectors import serves_paper
from connections.services import SourceReport
from prices.feeds import CLOCK_TOLERANCE, LiveFeed, forget_future_quotes
from prices.held_back import HeldQuotes, Suspects, waiting
from prices.pushed_quotes import UNREAD_FOR, decided_by_others, forget_published
from prices.pushed_reader import PushedReader
from prices.quote_intake import CONFIRMATION_SECONDS
from prices.selectors import latest, recent_ranges

ALIVE_SECONDS = 10.0


class PushedStream:
    """The quotes that are pushed to a source. For one thread.

    Until a quote is published or denied, its row stays: another process goes on with it.
    """

    def __init__(
        self, source_id: int, pairs: Iterable[str], reader: PushedReader | None = None
    ) -> None:
        """reader: one for all sources; None: one of its own."""
        self.source_id, self.pairs = source_id, frozenset[str]()
        self.pushed_at: dict[str, float] = {}  # by pair: when its last quote came, machine time
        self._reader, self._held = reader or PushedReader(), HeldQuotes()
        self._read = set[int]()  # the rows that were taken and are not deleted yet
        self._confirmed: list[Quote] = []  # by a second source
        self._newest: dict[str, datetime] = {}  # the time of each pair's last quote that counted
        self._began = machine_time()
        self.follow(pairs)
        self._reader.add(source_id)

    def follow(self, pairs: Iterable[str]) -> None:
        """Follow these pairs from now on. What is held back of those that stay goes on."""
        wanted = frozenset(pairs)
        if new := wanted - self.pairs:
            stored = latest(self.source_id, new)
            self._held.expect(stored.values(), recent_ranges(self.source_id, new, market_now()))
        self._held.keep(wanted)
        self.pushed_at = {pair: at for pair, at in self.pushed_at.items() if pair in wanted}
        self.pairs = wanted

    def due(self, now: datetime) -> list[Quote]:
        """Return the quotes that count since the last call, in order. now: market time.

        A quote has the time at which it was true. Those that no process read for long are left out:
        they are no prices of now, and the levels of then may have been moved.
        """
        if (held := self._held.rows()) and (decided := decided_by_others(self.source_id, held)):
            self._held.drop(decided)
            self._read -= decided
        unread, machine = self._reader.take(self.source_id), machine_time()
        found, self._confirmed = self._confirmed, []
        for row in unread:
            self._read.add(row.id)
            if row.symbol not in self.pairs or row.age > UNREAD_FOR.total_seconds():
                continue
            self.pushed_at[row.symbol] = machine
            quote = Quote(row.symbol, row.bid, row.ask, now - timedelta(seconds=max(0.0, row.age)))
            found += self._held.passed(quote, machine, row.time, row.id)
        return self._in_order(found + self._held.released(machine, now), now)

    def _in_order(self, quotes: list[Quote], now: datetime) -> list[Quote]:
        """Return quotes whose times never go back: their age is known as well as a look is fast.

        A time that is far ahead is of before the clock was set back.
        """
        for number, quote in enumerate(quotes):
            newest = self._newest.get(quote.symbol, quote.time)
            at = max(quote.time, newest) if newest <= now + CLOCK_TOLERANCE else quote.time
            quotes[number], self._newest[quote.symbol] = replace(quote, time=at), at
        return quotes

    def forget(self) -> None:
        """Delete what was read and is published, or counts for nothing."""
        if done := self._read - self._held.rows():
            forget_published(self.source_id, done)
            self._read -= done

    def close(self) -> None:
        """Take no more. What is held back is read again by the next stream of the source."""
        self._reader.remove(self.source_id)

    def suspects(self) -> Suspects:
        """Return the quotes that are held back, by pair."""
        return self._held.suspects()

    def decide(self, opinions: Mapping[str, bool | None], suspects: Mapping[str, Quote]) -> None:
        """Apply what a second source says of suspect quotes; `due` returns those that count."""
        self._confirmed += self._held.decide(opinions, suspects, market_now(), machine_time())

    def report(self, now: datetime) -> SourceReport:
        """Return the status of the source. now: market time."""
        machine, held = machine_time(), self._held.take()
        pairs = sorted(self.pairs)
        missing = [
            pair
            for pair in pairs
            if machine - self.pushed_at.get(pair, float("-inf")) > CONFIRMATION_SECONDS
        ]
        last = max(self.pushed_at.values(), default=None)
        code, message = self._fault(last, missing, now)
        is_alive = last is not None and machine - last < ALIVE_SECONDS
        suspects = waiting(self.suspects())
        return SourceReport(
            self.source_id, is_alive, code, message, pairs, missing, held.count, held.last, suspects
        )

    def _fault(
        self, last: float | None, missing: list[str], now: datetime
    ) -> tuple[Code | None, str]:
        seconds = machine_time() - (self._began if last is None else last)
        if len(missing) < len(self.pairs) or seconds <= CONFIRMATION_SECONDS:
            return None, ""
        if not any(is_market_open(pair, now) for pair in self.pairs):
            return Code.MARKET_CLOSED, "No quotes are pushed: the market of its pairs is closed."
        bound = f"{CONFIRMATION_SECONDS:.0f} s"
        return Code.QUOTE_MISSING, f"No quotes have been pushed for more than {bound}."


class PushedFeed(LiveFeed):
    """An open source that quotes are pushed to."""

    def __init__(self, source: DataConnection, stream: PushedStream) -> None:
        super().__init__(source, stream, to_paper=serves_paper(source))
        self.stream = stream

    def step(self, now: datetime) -> int:
        """Publish the quotes that have come, then delete their rows; return how many."""
        published = super().step(now)
        self.stream.forget()
        return published


def open_pushed(source: DataConnection, now: datetime, reader: PushedReader) -> PushedFeed:
    """Open a source that quotes are pushed to. now: market time."""
    forget_future_quotes(source.pk, now)
    return PushedFeed(source, PushedStream(source.pk, source.pushed_symbols, reader))
