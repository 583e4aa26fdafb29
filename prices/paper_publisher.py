"""Send the prices of a live source to the paper broker, on a separate thread.

The paper broker's tables may be locked or unavailable. The thread that monitors the levels of real
accounts must not wait for it.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

import psycopg
import structlog

from brokers.paper.exchange import on_quotes
from brokers.types import Quote
from common.clocks import market_now
from prices.quote_buffer import conflated, fresh_quotes
from prices.signals import quotes_at_paper

log = structlog.get_logger(__name__)
WAIT_SECONDS = 0.25  # normally enough for an exit to meet, at paper, the price that triggered it


class PaperPublisher:
    """Sends the quotes of one source to the paper broker. One thread calls `publish`."""

    def __init__(self, source_id: int) -> None:
        self._source_id = source_id
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"to-paper-{source_id}")
        self._lock, self._pending = threading.Lock(), list[Quote]()
        self._is_busy = False

    def publish(self, quotes: Sequence[Quote]) -> None:
        """Send quotes to the paper broker, in order, after earlier ones.

        Returns when the broker has them, at the latest after `WAIT_SECONDS`, and at once if it is
        busy with earlier ones. After an error they are sent with the next ones while still fresh.
        """
        with self._lock:
            self._pending = conflated([*self._pending, *quotes])
            if self._is_busy:
                return
            try:
                sending = self._pool.submit(self._send_pending)  # it waits for our lock
            except RuntimeError as error:  # no thread can be started now; retried with the next
                log.warning(
                    "the paper broker misses prices", source=self._source_id, error=str(error)
                )
                return
            self._is_busy = True
        sending.add_done_callback(self._log_failure)
        wait([sending], timeout=WAIT_SECONDS)

    def _log_failure(self, sending: Future[None]) -> None:
        if not sending.cancelled() and (error := sending.exception()) is not None:
            message = str(error) if isinstance(error, psycopg.Error) else repr(error)
            log.warning("the paper broker misses prices", source=self._source_id, error=message)

    def _send_pending(self) -> None:
        while quotes := self._next():
            with ExitStack() as on_failure:  # else the publisher would stay busy
                on_failure.callback(self._put_back, quotes)
                on_quotes(quotes)
                on_failure.pop_all()
            quotes_at_paper.send_robust(sender=PaperPublisher)

    def _next(self) -> list[Quote]:
        with self._lock:
            quotes, self._pending = fresh_quotes(self._pending, market_now()), []
            self._is_busy = bool(quotes)
        return quotes

    def _put_back(self, quotes: list[Quote]) -> None:
        with self._lock:
            self._pending, self._is_busy = conflated([*quotes, *self._pending]), False
