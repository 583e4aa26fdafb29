"""The path of a signal as spans of one trace: alert, publish, claim, send, report.

Each process adds its spans on its own: the trace's id, and that of its first span, are derived from
the signal's id (`config/traces.py`), so that nothing is handed from process to process. Nothing is
imported, stored or measured while no receiver is set: callers ask `is_on` first. No function here
raises: an error of tracing is counted and costs the span alone, never what is traced.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby

log = logging.getLogger(__name__)
MOST_ORDERS = 50_000  # that this process sent and whose reports may still come


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One span. began_ns, ended_ns: of the wall clock. attributes: ids and names, no amounts."""

    name: str
    signal_id: int
    began_ns: int
    ended_ns: int
    attributes: dict[str, str | int] = field(default_factory=dict)
    failed: bool = False


Receive = Callable[[SpanRecord], object]
_receive: Receive | None = None
_signals: dict[str, int] = {}  # of the orders that this process sent, by client order id
_lock = threading.Lock()  # of `_signals`: claims and reports are on several threads
_failures = _taken = 0


def is_on() -> bool:
    """Return whether spans are received."""
    return _receive is not None


def failures() -> int:
    """Return how many spans this process has lost by errors of tracing itself."""
    return _failures


def take_failures() -> int:
    """Return how many it has lost by them since the last call."""
    global _taken
    with _lock:
        new, _taken = _failures - _taken, _failures
    return new


def receive(by: Receive | None) -> None:
    """Pass spans to this function from now on; it must return at once. None: to none."""
    global _receive
    _receive = by
    if by is None:
        with _lock:
            _signals.clear()


def add(
    name: str, signal_id: int, seconds: float, *, failed: bool = False, **attributes: str | int
) -> None:
    """Add a span that ends now and took so long."""
    if (by := _receive) is None:
        return
    now = time.time_ns()
    try:
        by(SpanRecord(name, signal_id, now - int(seconds * 1e9), now, attributes, failed))
    except Exception as error:  # any: the caller has orders to send
        _count(error)


def add_claim(orders: Iterable[tuple[str, int | None]], seconds: float) -> None:
    """Add the claim of orders (client order id, signal), a span for each signal."""
    of_signals = sorted((signal, order) for order, signal in orders if signal is not None)
    for signal_id, group in groupby(of_signals, key=lambda one: one[0]):
        ids = [order for _, order in group]
        add("claim", signal_id, seconds, orders=len(ids))
        with _lock:
            for client_order_id in ids:
                if len(_signals) >= MOST_ORDERS:
                    _signals.pop(next(iter(_signals)), None)
                _signals[client_order_id] = signal_id


def add_reports(client_order_ids: Iterable[str], seconds: float) -> None:
    """Add that reports on these orders are stored, a span for each signal of this process."""
    with _lock:
        found = sorted(signal for order in client_order_ids if (signal := _signals.get(order)))
    for signal_id, group in groupby(found):
        add("report", signal_id, seconds, reports=len(list(group)))


def _count(error: Exception) -> None:
    """Count a lost span; state the first of a process, then each time that they have doubled."""
    global _failures
    with _lock:
        _failures = count = _failures + 1
    if count & (count - 1) == 0:
        log.warning("spans lost by an error of tracing: %s; the last: %r", count, error)
