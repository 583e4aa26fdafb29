"""A whole trading process inside the test process: its polls, sessions and threads."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.backends.signals import connection_created

from execution import startup
from execution.models import Order
from execution.runtime import trading_runtime
from tests import until as conditions


@contextmanager
def running(role: str, seconds: float) -> Iterator[trading_runtime.TradingRuntime]:
    """Trade as a worker of these queues (joined by +) and clean up afterwards; each
    of its threads gets so many seconds to end."""
    before, thresholds, threads = (
        trading_runtime._runtime,
        gc.get_threshold(),
        threading.enumerate(),
    )
    present = startup.start_trading(role)
    try:
        yield present
    finally:
        present.stop()
        for thread in set(threading.enumerate()) - set(threads):
            # The loop's pool, the paper broker's and the line to a MetaTrader 5 idle until the end;
            # what notifies the workers of alerts, for a minute.
            if not thread.name.startswith(("asyncio_", "mt5", "paper_", "notifier")):
                thread.join(seconds)  # each has a connection to the database
        trading_runtime._runtime = before
        connection_created.disconnect(dispatch_uid="execution.restore_detector")
        # Objects frozen at the start stay frozen: else each collection would scan all imports.
        gc.set_threshold(*thresholds)
        gc.collect()  # what ended threads left open


def until(
    is_so: Callable[[], object],
    *,
    seconds: float = conditions.SECONDS,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Wait for a condition that the engine's threads bring about; a failure shows the orders."""
    conditions.until(is_so, seconds=seconds, seen=_orders, meanwhile=meanwhile)


def _orders() -> list[object]:
    fields = "leg", "status", "reason", "detail", "quantity"
    return list(Order.objects.values_list(*fields))
