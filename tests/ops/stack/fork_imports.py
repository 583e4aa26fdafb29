"""What the fork servers of the tests import: `python -m ops.stack.fork_program …:FUNCTION`."""

import os
import threading
import time
from collections.abc import Callable

IMPORTED_IN = os.getpid()
begun_in: int | None = None


def import_all() -> Callable[[], None]:
    """Import nothing else; return what notes in which process it was called."""
    return _begin


def _begin() -> None:
    global begun_in
    begun_in = os.getpid()


def fail() -> Callable[[], None]:
    """Fail, as a broken package does."""
    raise RuntimeError("broken")


def hang() -> Callable[[], None]:
    """Take for ever."""
    time.sleep(600)
    return _begin


def start_thread() -> Callable[[], None]:
    """Leave a thread, which no fork would have."""
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return _begin


def open_socket() -> Callable[[], None]:
    """Leave a pipe, which all forks would share."""
    os.pipe()
    return _begin
