"""Publish the quotes of a source to storage, the paper broker and receivers; errors lose none."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
from django.db import Error as DatabaseError
from django.dispatch import Signal

from brokers.paper.exchange import forget_prices, on_quotes
from brokers.types import Quote
from common.db.stored_times import AHEAD_SECONDS
from connections.models import DataConnection
from prices.paper_publisher import PaperPublisher
from prices.quote_buffer import conflated, fresh_quotes
from prices.recorded_streams import Stream, stream_for
from prices.returning import ReturningQuotes
from prices.second_source import SecondSource
from prices.selectors import newest_time
from prices.services import forget_quotes, store_quotes
from prices.signals import quotes_arrived, quotes_stored

log = logging.getLogger(__name__)
DATABASE_ERRORS = (DatabaseError, psycopg.Error)  # the paper broker uses psycopg directly
PROMPT_AGE = timedelta(seconds=0.5)  # an older quote was delayed, for example by the database
CLOCK_TOLERANCE = timedelta(seconds=AHEAD_SECONDS)


class Feed:
    """An open source: its stream, and the quotes taken from it that are not published yet."""

    def __init__(self, data_connection_id: int, name: str, stream: Stream) -> None:
        self.data_connection_id, self.name = data_connection_id, name
        self._stream, self._to_paper = stream, True
        self._to_be_published: list[Quote] = []  # that the paper broker does not have yet
        self._pending: list[Quote] = []  # that are not stored yet

    def step(self, now: datetime) -> int:
        """Publish the quotes that are due; return how many.

        The paper broker gets every quote, in order; bars and each symbol's last are stored. After
        an error the next step publishes the same quotes again: the broker skips known ones.
        """
        self._to_be_published += self._stream.due(now)
        if arrived := self._to_be_published:
            on_quotes(arrived)
            self._pending, self._to_be_published = [*self._pending, *arrived], []
            self._send(quotes_arrived, arrived)
        quotes = self._pending
        if not quotes:
            return 0
        store_quotes(self.data_connection_id, quotes)
        self._pending = []
        self.notify(quotes)
        return len(quotes)

    def beat(self) -> None:
        """Send the signals without quotes, so that receivers process what they have missed."""
        self._send(quotes_arrived, [])
        self.notify([])

    def notify(self, quotes: list[Quote], waited: float = 0.0) -> None:
        """Send `quotes_stored`. waited: seconds."""
        self._send(quotes_stored, quotes, waited=waited, at_paper=self._to_paper)

    def _send(
        self, notice: Signal, quotes: list[Quote], waited: float = 0.0, **arguments: bool
    ) -> None:
        """Send a signal; errors of receivers are only logged."""
        for receiver, outcome in notice.send_robust(
            sender=Feed,
            data_connection_id=self.data_connection_id,
            quotes=quotes,
            waited=waited,
            **arguments,
        ):
            if isinstance(outcome, Exception):
                log.error("receiver %r of quotes failed", receiver, exc_info=outcome)


class LiveFeed(Feed):
    """An open source whose prices come from a broker.

    Late quotes still trigger levels, but are not stored as current prices. Quotes that cannot be
    published are conflated, so that they do not pile up.
    """

    def __init__(self, source: DataConnection, stream: Stream, *, to_paper: bool) -> None:
        super().__init__(source.pk, source.name, stream)
        self._to_paper = False  # for `notify`: PaperPublisher signals when paper has the quotes
        self._paper: PaperPublisher | None = None
        self.second = SecondSource(source.pk)
        self.returning = ReturningQuotes(source.pk)
        self._taken: list[Quote] = []  # from the stream; kept if the stored prices cannot be read
        self.publish_to_paper(to_paper)

    def publish_to_paper(self, enabled: bool) -> None:
        """Start or stop publishing to the paper broker too."""
        if enabled != (self._paper is not None):
            self._paper = PaperPublisher(self.data_connection_id) if enabled else None

    def step(self, now: datetime) -> int:
        """Publish the quotes that have come; return how many.

        An unavailable or busy paper broker does not delay the prices of real accounts.
        """
        self.second.consult(self._stream)
        self._taken = [*conflated(self._taken), *self._stream.due(now)]
        arrived, self._taken = conflated(self.returning.passed(self._taken)), []
        self._pending = quotes = conflated([*self._pending, *arrived])
        fresh = fresh_quotes(quotes, now)
        if self._paper is not None and fresh:  # before exits of paper accounts are sent there
            self._paper.publish(fresh)
        if arrived:
            for part, waited in _by_age(arrived, now):
                self._send(quotes_arrived, part, waited)
        if not quotes:
            return 0
        self._store(fresh, now)
        self._pending = []
        for part, waited in _by_age(quotes, now):
            self.notify(part, waited)
        return len(quotes)

    def _store(self, fresh: list[Quote], now: datetime) -> None:
        """Store the last quote of each symbol, also after a host's clock was set back."""
        stored = store_quotes(self.data_connection_id, fresh)
        if stored < len({quote.symbol for quote in fresh}) and forget_future_quotes(
            self.data_connection_id, now
        ):
            store_quotes(self.data_connection_id, fresh)


def _by_age(quotes: Sequence[Quote], now: datetime) -> list[tuple[list[Quote], float]]:
    """Return the late quotes and the others, each with how long they waited, in seconds.

    Late ones are compared with the levels that were open then, not with later ones.
    """
    late = [quote for quote in quotes if now - quote.time > PROMPT_AGE]
    if not late:
        return [(list(quotes), 0.0)]
    parts = [(late, max((now - quote.time).total_seconds() for quote in late))]
    if len(late) < len(quotes):
        parts.append(([quote for quote in quotes if now - quote.time <= PROMPT_AGE], 0.0))
    return parts


def forget_future_quotes(source_id: int, now: datetime) -> bool:
    """Delete a source's quotes if one is from the future. Return whether there was one.

    A host with a clock far ahead leaves such a quote. It would block every later quote and look
    fresh until its time has come.
    """
    newest = newest_time(source_id)
    if newest is None or newest <= now + CLOCK_TOLERANCE:
        return False
    forget_quotes(source_id, now)
    return True


def open_live(source: DataConnection, stream: Stream, now: datetime, *, to_paper: bool) -> LiveFeed:
    """Open a source whose prices come from a broker."""
    forget_future_quotes(source.pk, now)
    return LiveFeed(source, stream, to_paper=to_paper)


def open_feed(source: DataConnection, now: datetime) -> Feed | None:
    """Open a source where it was left; None if its prices come from a broker (`open_live`).

    Quotes later than the market clock belong to an earlier session (a restarted replay): they are
    deleted, here and at the paper broker. Raises MisconfiguredError.
    """
    since = newest_time(source.pk)
    if since is not None and since > now:
        forget_quotes(source.pk, now)
        forget_prices()
        since = None
    stream = stream_for(source, since)
    return Feed(source.pk, source.name, stream) if stream else None
