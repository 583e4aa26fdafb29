"""The client of the package `MetaTrader5`, which runs in a separate process (`worker_process.py`).

Its calls hold the interpreter's lock: in our own process, an order that takes the server ten
seconds would stop the event loop, the lease's renewal and the guards of all other accounts. If a
call does not end in time we end its process; the next call starts another. That does not affect the
terminal: it may still do what was requested.
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
from brokers.mt5.worker_process import ACTIVITY, FUNCTIONS
from common.reason_codes import Code

START_SECONDS = 30.0  # until the package is imported (numpy comes with it)
POLL_SECONDS = 0.25  # a dead process is noticed within it, even if its pipe stays open
STOP_SECONDS = 2.0  # for a clean exit
MISSING_RETRY_SECONDS = 60.0  # before we try again to import a package that is not installed
SECRET_VARIABLES = ("FILLCAST_", "DATABASE_URL", "REDIS_URL")  # not passed to the package
MISSING_HELP = (
    "MetaTrader 5 accounts are served by a worker on Windows (or Wine) that has the package"
    " MetaTrader5 and a terminal; see docs/metatrader5.md"
)


class PackageClient:
    """The package's functions. One call at a time, on the terminal's thread.

    call_deadline: returns the time.monotonic() at which the current call and its process are ended.
    """

    def __init__(self) -> None:
        self.call_deadline: Callable[[], float] = lambda: float("inf")
        self._worker: WorkerProcess | None = None
        self._error: tuple[int, str] = (1, "Success")
        self._missing = "", float("-inf")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in FUNCTIONS:
            raise AttributeError(name)
        return partial(self.call, name)

    def last_error(self) -> tuple[int, str]:
        """Return the package's error of the previous call."""
        return self._error

    def activity(self, begin: int, end: int) -> Any:
        """Return the account that is logged in and its numbers (`worker_process.activity`)."""
        return self.call(ACTIVITY, begin, end)

    def order_send(self, request: dict[str, Any], before: float | None = None) -> Any:
        """Send a request. before: its send deadline, on machine_time().

        Raises NotSent if the deadline has passed, ReadFailed if the outcome is unknown."""
        return self.call("order_send", request, before=before)

    def call(self, name: str, *args: Any, before: float | None = None, **kwargs: Any) -> Any:
        """Call a function and return its answer. Raises ReadFailed, NotSent SEND_DEADLINE."""
        worker = self._ready()
        request = {"call": name, "args": args, "kwargs": kwargs, "before": before}
        answer = self._receive(worker, request, self.call_deadline)
        if answer.get("late"):
            raise NotSent(Code.SEND_DEADLINE, "the deadline passed before the terminal was free")
        if "raised" in answer:
            raise ReadFailed(Code.UNEXPECTED, f"{name}: {answer['raised']}")
        code, text = answer["error"]
        self._error = int(code), str(text)
        return ipc.unpack(answer["result"])

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._worker is not None:
            self._worker.end(STOP_SECONDS)
            self._worker = None

    @property
    def is_running(self) -> bool:
        """Whether its process runs; without one, the next call would start it."""
        return self._worker is not None and self._worker.process.poll() is None

    @property
    def pid(self) -> int | None:
        """The id of its process; None if there is none."""
        return self._worker.process.pid if self._worker else None

    def _ready(self) -> "WorkerProcess":
        if self._worker is not None and self.is_running:
            return self._worker
        if monotonic() > self._missing[1]:
            self._worker = worker = WorkerProcess()
            started = monotonic()
            hello = self._receive(
                worker, None, lambda: min(self.call_deadline(), started + START_SECONDS)
            )
            if not hello["missing"]:
                return worker
            self.close()
            self._missing = hello["missing"], monotonic() + MISSING_RETRY_SECONDS
        raise ReadFailed(Code.LIBRARY_MISSING, f"{MISSING_HELP} ({self._missing[0]})")

    def _receive(
        self, worker: "WorkerProcess", request: dict[str, Any] | None, until: Callable[[], float]
    ) -> dict[str, Any]:
        """Return the answer. Raises ReadFailed if none comes, and ends the process."""
        try:
            if request is not None:
                worker.send(request)
            return worker.receive(until)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            worker.end(0.0)
            self._worker = None
            detail = f"{request['call'] if request else 'start'}: {error}"
            raise ReadFailed(Code.BROKER_UNREACHABLE, detail) from error


class WorkerProcess:
    """One process and its pipes. A thread reads its answers: pipes have no time-outs on Windows."""

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
        except (ValueError, OSError) as error:  # not a frame, or the pipe broke
            self._answers.put(ValueError(f"{type(error).__name__}: {error}"))

    def send(self, request: dict[str, Any]) -> None:
        """Write a request. Raises OSError."""
        ipc.write(self._in, request)

    def receive(self, until: Callable[[], float]) -> dict[str, Any]:
        """Return the next answer. until: returns the time.monotonic() of the time-out; it may
        change meanwhile. Raises TimeoutError, EOFError, ValueError."""
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
        """Close its input, which ends it; kill it if it runs longer than so many seconds."""
        with suppress(OSError):
            self._in.close()
        for wait in (seconds, STOP_SECONDS):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(wait)
                return
            self.process.kill()


def _environment() -> dict[str, str]:
    """Return our environment without the installation's secrets, with our module path."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(SECRET_VARIABLES)
    }
    return kept | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
