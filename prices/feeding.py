"""Carrying quotes from a source to everyone who needs them, without losing one on an error."""

import logging
from datetime import datetime

from brokers.messages import Quote
from brokers.paper.venue import forget_prices, on_quotes
from connections.models import DataConnection
from prices.selectors import newest_time
from prices.services import forget_quotes, store_quotes
from prices.signals import quotes_stored
from prices.streams import Stream, stream_for

log = logging.getLogger(__name__)


class Feed:
    """One source at work: its stream, and what was taken from it but not yet carried through."""

    def __init__(self, data_connection_id: int, name: str, stream: Stream) -> None:
        self.data_connection_id, self.name = data_connection_id, name
        self._stream = stream
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
        self.tell(carried)
        return len(carried)

    def tell(self, quotes: list[Quote]) -> None:
        """Let the rooms above act; their trouble does not stop the prices."""
        for receiver, outcome in quotes_stored.send_robust(
            sender=Feed, data_connection_id=self.data_connection_id, quotes=quotes
        ):
            if isinstance(outcome, Exception):
                log.error("receiver %r of quotes failed", receiver, exc_info=outcome)


def open_feed(source: DataConnection, now: datetime) -> Feed | None:
    """Open a source where it was left; None: not one that this process drives.

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
