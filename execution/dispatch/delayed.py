"""Execute orders a moment later, without waiting for the next poll of due rows.

Only the time is held here: the rows are due in the database at that moment, so if this process dies
another one finds them.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush

import structlog
from django.db import DatabaseError, InterfaceError, connections

from common.clocks import machine_time

log = structlog.get_logger(__name__)
MARGIN_SECONDS = 0.02  # the database's clock and this one do not run alike


class DelayedOrders:
    """Calls `execute` with orders once they are due, all that are due together.

    It has one thread, which ends when no order is left.
    """

    def __init__(self, execute: Callable[[Sequence[int]], object]) -> None:
        self._execute = execute
        self._changed = threading.Condition()
        self._due: list[tuple[float, int]] = []
        self._thread: threading.Thread | None = None

    def add(self, seconds: Mapping[int, float]) -> None:
        """Add orders. seconds: until each is due, by order id."""
        if not seconds:
            return
        now = machine_time() + MARGIN_SECONDS
        with self._changed:
            for order_id, wait in seconds.items():
                heappush(self._due, (now + wait, order_id))
            if self._thread is None:
                self._start()
            self._changed.notify()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="delayed-orders", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while orders := self._next():
                try:
                    self._execute(orders)
                except (DatabaseError, InterfaceError):  # they stay due: the next poll finds them
                    log.warning("orders not executed in time", orders=len(orders), exc_info=True)
                finally:
                    connections.close_all()
        finally:  # after any other error the orders that are left get a new thread
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None
                    if self._due:
                        self._start()

    def _next(self) -> list[int]:
        """Wait for orders that are due and return them; none: this thread must end."""
        with self._changed:
            while self._due:
                now = machine_time()
                if self._due[0][0] > now:
                    self._changed.wait(self._due[0][0] - now)
                    continue
                due = []
                while self._due and self._due[0][0] <= now:
                    due.append(heappop(self._due)[1])
                return sorted(due)
            self._thread = None  # under the lock: what is added from now on gets a new one
            return []
