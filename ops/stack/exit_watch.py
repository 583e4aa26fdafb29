"""Sleep until one of some processes ends, or a signal handler asks for attention."""

import contextlib
import os
import selectors
import socket
import sys
from collections.abc import Collection
from functools import cache
from typing import Self


@cache
def can_watch() -> bool:
    """Return whether the end of a process can be waited for: by Linux since 5.3, if this Python
    was compiled for that.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an older kernel, or a sandbox that forbids it
        return False
    return True


class ExitWatch:
    """Use it in a `with` statement. `wake` may be called at any time, in a signal handler, too."""

    def __init__(self) -> None:
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._woken.close()
        self._wake.close()

    def wake(self) -> None:
        """End the wait, or the next one if none is under way."""
        with contextlib.suppress(OSError):  # it is closed, or full, so the wait ends anyway
            self._wake.send(b"\0")

    def wait(self, pids: Collection[int], seconds: float) -> None:
        """Return when one of these processes has ended, after `wake`, or after `seconds`.

        Where the system cannot report ends (`can_watch`), only `wake` ends it early.
        """
        with contextlib.ExitStack() as opened, selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for pid in pids if can_watch() else ():
                try:
                    descriptor = os.pidfd_open(pid)
                except ProcessLookupError:  # it has ended, and another thread knows it already
                    return
                except OSError:  # no descriptor is left: its end is seen after `seconds`
                    continue
                opened.callback(os.close, descriptor)
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(seconds)
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(64):
                pass
