"""The package `MetaTrader5`, called in a process of its own (`worker_process.py`).

Its calls hold the interpreter's lock: in the worker's own process an order that takes the server
ten seconds would stop the event loop, the lease's renewal and every other account's guard. A call
that does not end in time ends with its process; the next call starts another. The terminal is not
touched by that: what it was asked to do it may still do.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, BinaryIO

from brokers.base import NotSent, ReadFailed
from brokers.mt5 import ipc
from brokers.mt5.worker_process import FUNCTIONS
from common.reason_codes import Code

START_SECONDS = 30.0  # until the package is imported (numpy comes with it)
POLL_SECONDS = 0.25  # a process that is gone is seen within it, even if its pipe stays open
STOP_SECONDS = 2.0  # for leaving in peace
ABSENT_SECONDS = 60.0  # between two looks for a package that is not installed
WITHHELD_VARIABLES = (
    "FILLCAST_",
    "DATABASE_URL",
    "REDIS_URL",
)  # nothing there is the package's business
ABSENT = (
    "MetaTrader 5 accounts are served by a worker on Windows (or Wine) that has the package"
    " MetaTrader5 and a terminal; see docs/metatrader5.md"
)


class PackageClient:
    """The package's functions. One call at a time, on the terminal's thread.

    until: says the time.monotonic() at which the present call ends with its process.
    """

    def __init__(self) -> None:
        self.until: Callable[[], float] = lambda: float("inf")
        self._child: WorkerProcess | None = None
        self._error: tuple[int, str] = (1, "Success")
        self._absent = "", float("-inf")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in FUNCTIONS:
            raise AttributeError(name)
        return partial(self.call, name)

    def last_error(self) -> tuple[int, str]:
        """What the package said of the call before this."""
        return self._error

    def order_send(self, request: dict[str, Any], before: float | None = None) -> Any:
        """Send a request. before: machine_time() after which it must not leave any more.

        Raises NotSent if it would, ReadFailed if what became of it is not known."""
        return self.call("order_send", request, before=before)

    def call(self, name: str, *args: Any, before: float | None = None, **words: Any) -> Any:
        """Call a function and return its answer. Raises ReadFailed, NotSent SEND_DEADLINE."""
        child = self._ready()
        request = {"call": name, "args": args, "words": words, "before": before}
        answer = self._receive(child, request, self.until)
        if answer.get("late"):
            raise NotSent(Code.SEND_DEADLINE, "too late when it was the terminal's turn")
        if "raised" in answer:
            raise ReadFailed(Code.UNEXPECTED, f"{name}: {answer['raised']}")
        code, text = answer["error"]
        self._error = int(code), str(text)
        return ipc.unpack(answer["told"])

    def close(self) -> None:
        """Let the process end; the next call starts another."""
        if self._child is not None:
            self._child.end(STOP_SECONDS)
            self._child = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process: without one no terminal was asked for anything."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """The number of its process, if there is one."""
        return self._child.process.pid if self._child else None

    def _ready(self) -> "WorkerProcess":
        if self._child is not None and self._child.process.poll() is None:
            return self._child
        if monotonic() > self._absent[1]:
            self._child = child = WorkerProcess()
            begun = monotonic()
            hello = self._receive(child, None, lambda: min(self.until(), begun + START_SECONDS))
            if not hello["absent"]:
                return child
            self.close()
            self._absent = hello["absent"], monotonic() + ABSENT_SECONDS
        raise ReadFailed(Code.LIBRARY_MISSING, f"{ABSENT} ({self._absent[0]})")

    def _receive(
        self, child: "WorkerProcess", request: dict[str, Any] | None, until: Callable[[], float]
    ) -> dict[str, Any]:
        """Raises ReadFailed when no answer comes; the process is ended then."""
        try:
            if request is not None:
                child.send(request)
            return child.receive(until)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            child.end(0.0)
            self._child = None
            words = f"{request['call'] if request else 'start'}: {error}"
            raise ReadFailed(Code.BROKER_UNREACHABLE, words) from error


class WorkerProcess:
    """One process and its pipes. Its answers are read by a thread: pipes have no time-outs on
    Windows."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "brokers.mt5.worker_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
        self._answers: SimpleQueue[dict[str, Any] | Exception] = SimpleQueue()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in: BinaryIO = self.process.stdin  # type: ignore[assignment]
        out: BinaryIO = self.process.stdout  # type: ignore[assignment]
        threading.Thread(target=self._listen, args=(out,), name="mt5-answers", daemon=True).start()

    def _listen(self, out: BinaryIO) -> None:
        try:
            with out:
                while (answer := ipc.read(out)) is not None:
                    self._answers.put(answer)
            self._answers.put(EOFError("the package's process ended"))
        except Exception as error:  # what it says is no frame
            self._answers.put(ValueError(f"{type(error).__name__}: {error}"))

    def send(self, request: dict[str, Any]) -> None:
        ipc.write(self._in, request)

    def receive(self, until: Callable[[], float]) -> dict[str, Any]:
        """Raises TimeoutError after `until` (monotonic; looked at again), EOFError, ValueError."""
        while True:
            left = until() - monotonic()
            try:
                answer = self._answers.get(timeout=max(0.0, min(left, POLL_SECONDS)))
            except Empty:
                if self.process.poll() is not None and self._answers.empty():
                    raise EOFError("the package's process ended") from None
                if left <= 0:
                    raise TimeoutError("no answer in time; its process was ended") from None
                continue
            if isinstance(answer, Exception):
                raise answer
            return answer

    def end(self, seconds: float) -> None:
        """Close its input, by which it ends; kill it if it has not after so many seconds."""
        with suppress(OSError):
            self._in.close()
        for wait in (seconds, STOP_SECONDS):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(wait)
                return
            self.process.kill()


def _environment() -> dict[str, str]:
    """Ours without the installation's secrets; modules are looked for where we do."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(WITHHELD_VARIABLES)
    }
    return kept | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
