"""NAKED (seconds): how long positions that should have a stop have none, by the broker's books.

A lot at the broker is protected if the broker has its stop, or if our row of it is guarded by the
engine and its prices are evaluated. This does not use the product's own figure, which a case
compares with it: `FaultEnvironment.expect_protected`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.faults.servers import Database

MAX_SECONDS = 5.0
SAMPLE_SECONDS = 0.2
WITHOUT_STOP = """
SELECT client_order_id FROM paper_position WHERE quantity > 0 AND stop_loss IS NULL
"""
GUARDED = """
SELECT DISTINCT e.client_order_id FROM positions_executionposition p
JOIN execution_order e ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id
JOIN execution_levelmonitorheartbeat w ON w.source_id = p.price_source_id
WHERE p.quantity > 0 AND p.sl IS NOT NULL AND p.sl_guardian = 'ENGINE'
  AND e.client_order_id IS NOT NULL
  AND w.last_evaluated_at > clock_timestamp() - interval '3 s'
"""
# The product's figure, with the period that has not ended.
RECORDED = """
SELECT coalesce(max(unprotected_seconds
  + coalesce(extract(epoch FROM clock_timestamp() - unprotected_since), 0)), 0)::float8
FROM positions_executionposition
"""


class UnprotectedTime:
    """Samples both databases on a thread of its own; `longest` is the longest time of a lot."""

    def __init__(self, ours: Database, books: Database) -> None:
        self._ours, self._books = Database(ours.server), Database(books.server)
        self._since: dict[str, float] = {}
        self._ends = threading.Event()
        self.longest = 0.0
        self.samples = 0

    @contextmanager
    def watching(self) -> Iterator["UnprotectedTime"]:
        """Sample until the block ends."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ends.set()
            thread.join()
            self._ours.close()
            self._books.close()

    def _run(self) -> None:
        while not self._ends.wait(SAMPLE_SECONDS):
            try:
                self._sample(time.monotonic())
            except psycopg.OperationalError:  # a server that a case has stopped
                continue

    def _sample(self, now: float) -> None:
        bare = {row.client_order_id for row in self._books.rows(WITHOUT_STOP)}
        if bare:
            bare -= {row.client_order_id for row in self._ours.rows(GUARDED)}
        self._since = {lot: self._since.get(lot, now) for lot in bare}
        self.longest = max([self.longest, *(now - since for since in self._since.values())])
        self.samples += 1
