"""A whole trading process within a test's own: its looks for work, its sessions, its threads."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.backends.signals import connection_created

from execution import startup
from execution.models import Order
from execution.runtime import trading_runtime


@contextmanager
def running(role: str, seconds: float) -> Iterator[trading_runtime.TradingRuntime]:
    """Trade as a worker of these queues (joined by +); afterwards nothing of it is left, which each
    of its threads is given so many seconds for."""
    before, thresholds, threads = (
        trading_runtime._runtime,
        gc.get_threshold(),
        threading.enumerate(),
    )
    present = startup.start_trading(role)
    yield present
    present.stop()
    for thread in set(threading.enumerate()) - set(threads):
        # The loop's pool, the paper broker's and the line to a MetaTrader 5 idle until the end.
        if not thread.name.startswith(("asyncio_", "mt5", "paper_")):
            thread.join(seconds)  # each has a connection to the database
    trading_runtime._runtime = before
    connection_created.disconnect(dispatch_uid="execution.restore_detector")
    # What was frozen at the start stays so: else each collection would go through all imports.
    gc.set_threshold(*thresholds)
    gc.collect()  # what ended threads have left open


def wait_until(is_so: Callable[[], object], seconds: float) -> None:
    """Wait for what the engine's own threads bring about, for so long at most."""
    begin = time.monotonic()
    while not is_so():
        waited = time.monotonic() - begin
        if waited > seconds:
            found = list(Order.objects.values_list("leg", "status", "reason", "detail", "quantity"))
            raise AssertionError(f"did not come to pass: {found}")
        # Each look is a query: the longer it takes, the less often.
        time.sleep(min(0.01 + waited / 20, 0.1))
