"""Carrying quotes from a source to everyone who needs them, without losing one on an error."""

import logging
from datetime import datetime, timedelta

from brokers.paper.exchange import forget_prices, on_quotes
from brokers.types import Quote
from connections.models import DataConnection
from prices.paper_publisher import PaperPublisher
from prices.quote_buffer import conflated, fresh_quotes
from prices.recorded_streams import Stream, stream_for
from prices.selectors import newest_time
from prices.services import forget_quotes, store_quotes
from prices.signals import quotes_stored

log = logging.getLogger(__name__)
PROMPT_AGE = timedelta(seconds=0.5)  # what came longer ago has waited: for a database, say
CLOCK_TOLERANCE = timedelta(seconds=5)  # hosts' clocks differ by less


class Feed:
    """One source at work: its stream, and what was taken from it but not yet carried through."""

    def __init__(self, data_connection_id: int, name: str, stream: Stream) -> None:
        self.data_connection_id, self.name = data_connection_id, name
        self._stream, self._to_paper = stream, True
        self._pending: list[Quote] = []

    def step(self, now: datetime) -> int:
        """Carry what is due; return how many quotes that were.

        The paper broker gets every quote, in order; only the last of each symbol is stored. After
        an error the same quotes are carried again: the broker passes over what it has had.
        """
        self._pending += self._stream.due(now)
        carried = self._pending
        if not carried:
            return 0
        on_quotes(carried)
        store_quotes(self.data_connection_id, carried)
        self._pending = []
        self.notify(carried)
        return len(carried)

    def notify(self, quotes: list[Quote], waited: float = 0.0) -> None:
        """Let the rooms above act; their trouble does not stop the prices. waited: seconds."""
        for receiver, outcome in quotes_stored.send_robust(
            sender=Feed,
            data_connection_id=self.data_connection_id,
            quotes=quotes,
            at_paper=self._to_paper,
            waited=waited,
        ):
            if isinstance(outcome, Exception):
                log.error("receiver %r of quotes failed", receiver, exc_info=outcome)


class LiveFeed(Feed):
    """One broker's prices at work: what is late is judged but is no price of now, and what cannot
    be carried does not pile up."""

    def __init__(self, source: DataConnection, stream: Stream, *, to_paper: bool) -> None:
        super().__init__(source.pk, source.name, stream)
        self._to_paper = False  # what `tell` says: ToPaper tells by itself when paper has them
        self._paper: PaperPublisher | None = None
        self.publish_to_paper(to_paper)

    def publish_to_paper(self, enabled: bool) -> None:
        """Carry its prices to the paper broker, too, from now on; or no more."""
        if enabled != (self._paper is not None):
            self._paper = PaperPublisher(self.data_connection_id) if enabled else None

    def step(self, now: datetime) -> int:
        """Carry what has come; return how many quotes that were.

        A paper broker that is away or busy keeps nobody from a real broker's prices.
        """
        self._pending = carried = conflated([*self._pending, *self._stream.due(now)])
        if not carried:
            return 0
        fresh = fresh_quotes(carried, now)
        self._store(fresh, now)
        if self._paper is not None:
            self._paper.publish(fresh)
        self._pending = []
        late = [quote for quote in carried if now - quote.time > PROMPT_AGE]
        if late:  # held against what was open then, not against what was opened since
            self.notify(late, max((now - quote.time).total_seconds() for quote in late))
        if len(late) < len(carried):
            self.notify([quote for quote in carried if now - quote.time <= PROMPT_AGE])
        return len(carried)

    def _store(self, fresh: list[Quote], now: datetime) -> None:
        """Keep the last of each. What keeps one out may be of a clock that was put back."""
        kept = store_quotes(self.data_connection_id, fresh)
        if kept < len({quote.symbol for quote in fresh}) and _forget_future_quotes(
            self.data_connection_id, now
        ):
            store_quotes(self.data_connection_id, fresh)


def _forget_future_quotes(source_id: int, now: datetime) -> bool:
    """Forget a source's prices if a host with a clock far ahead has left some: they would keep
    every later one out, and look fresh until then. Returns whether one had."""
    newest = newest_time(source_id)
    if newest is None or newest <= now + CLOCK_TOLERANCE:
        return False
    forget_quotes(source_id)
    return True


def open_live(source: DataConnection, stream: Stream, now: datetime, *, to_paper: bool) -> LiveFeed:
    """Open a source that a broker tells."""
    _forget_future_quotes(source.pk, now)
    return LiveFeed(source, stream, to_paper=to_paper)


def open_feed(source: DataConnection, now: datetime) -> Feed | None:
    """Open a source where it was left; None: a broker tells it (`open_live`).

    Prices from the future of the market clock belong to another session (a replay started anew):
    they are forgotten, here and at the paper broker. Raises MisconfiguredError.
    """
    since = newest_time(source.pk)
    if since is not None and since > now:
        forget_quotes(source.pk)
        forget_prices()
        since = None
    stream = stream_for(source, since)
    return Feed(source.pk, source.name, stream) if stream else None
