"""What commands that run until SIGTERM or Ctrl-C begin with."""

import os
import signal
import threading

from common.operational.current import begin_following


def stop_at_signals() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set from now on. Call it in the main thread.

    The process follows the operational settings from now on, since it runs for long.

    A thread sets it, not the handler: if a signal interrupts the main thread while that holds the
    event's lock, a handler that sets the event waits for the lock for ever.
    """
    begin_following()
    stop = threading.Event()
    reading, writing = os.pipe()

    def wait() -> None:
        os.read(reading, 1)
        stop.set()

    threading.Thread(target=wait, name="stop-signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(writing, b"."))
    return stop
