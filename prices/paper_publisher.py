"""A live source's prices on their way to the paper broker: on a thread of their own.

Its books may be locked or away. The thread that judges real accounts' levels must not wait for it.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import psycopg
import structlog

from brokers.paper.exchange import on_quotes
from brokers.types import Quote
from common.clocks import market_now
from prices.quote_buffer import conflated, fresh_quotes
from prices.signals import quotes_at_paper

log = structlog.get_logger(__name__)
WAIT_SECONDS = 0.25  # seconds: so an exit that a price causes meets that price there, as a rule


class PaperPublisher:
    """The prices of one source. One thread calls `take`."""

    def __init__(self, source_id: int) -> None:
        self._source_id = source_id
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"to-paper-{source_id}")
        self._lock, self._pending = threading.Lock(), list[Quote]()
        self._is_busy = False

    def publish(self, quotes: Sequence[Quote]) -> None:
        """Carry these, in order, after those before them. Returns when they are there, or after a
        moment; at once where the broker is busy with earlier ones. After an error they are carried
        with the next ones, while they are of now."""
        with self._lock:
            self._pending = conflated([*self._pending, *quotes])
            if self._is_busy:
                return
            try:
                carrying = self._pool.submit(self._carry)  # it begins when the lock is free
            except RuntimeError as error:  # no thread is to be had; the next ones may get one
                log.warning(
                    "the paper broker misses prices", source=self._source_id, error=str(error)
                )
                return
            self._is_busy = True
        wait([carrying], timeout=WAIT_SECONDS)

    def _carry(self) -> None:
        while quotes := self._next():
            try:
                on_quotes(quotes)
            except Exception as error:  # whatever it is, the next ones are carried
                message = str(error) if isinstance(error, psycopg.Error) else repr(error)
                log.warning("the paper broker misses prices", source=self._source_id, error=message)
                self._put_back(quotes)
                return
            quotes_at_paper.send_robust(sender=PaperPublisher)

    def _next(self) -> list[Quote]:
        with self._lock:
            quotes, self._pending = fresh_quotes(self._pending, market_now()), []
            self._is_busy = bool(quotes)
        return quotes

    def _put_back(self, quotes: list[Quote]) -> None:
        with self._lock:
            self._pending, self._is_busy = conflated([*quotes, *self._pending]), False
