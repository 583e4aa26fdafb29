"""A child process that `subprocess` did not start, with what its users need of `Popen`."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import Protocol

WAIT_SECONDS = 0.02


class RunningProcess(Protocol):
    """What the supervisor uses of a process: `subprocess.Popen` or `ForkedProcess`."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """Return the exit code; None while it runs. Minus the signal that ended it."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""


class ForkedProcess:
    """A child of this process by its id; nothing else may wait for that id."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code; None while it runs. Minus the signal that ended it."""
        if self.returncode is None and self._lock.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._lock.release()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(WAIT_SECONDS)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended: until it is waited for, its id is no other's."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            self._ask()
            if self.returncode is None:
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ask(self) -> None:
        if self.returncode is None:  # no other thread was faster
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
