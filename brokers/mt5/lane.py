"""One thread for all calls of a terminal: never two at once, and a wait that ends.

The package blocks, holds the interpreter's lock (its wheel never lets go of it) and keeps its last
error in one place for all threads. A call that never returns cannot be taken back: who waits for it
is told whether the order may have left, and who comes after it is told at once that nothing was
begun.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum, auto
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from brokers.base import NotSent
from common.codes import Code

T = TypeVar("T")


class Stage(Enum):
    WAITING = auto()
    BEGUN = auto()
    SENT = auto()  # from here on it may be live
    GIVEN_UP = auto()


class NoAnswer(Exception):
    """The time for a call is over. stage: how far it had come; if it was not SENT it never is."""

    def __init__(self, stage: Stage, detail: str) -> None:
        super().__init__(detail)
        self.stage, self.detail = stage, detail


class Job:
    """One call (or several in a row), which whoever waits for it may give up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.stage = Stage.WAITING

    def begin(self) -> bool:
        with self._lock:
            if self.stage is Stage.WAITING:
                self.stage = Stage.BEGUN
            return self.stage is Stage.BEGUN

    def about_to_send(self) -> None:
        """Say that from now on it may be live. Raises NotSent if nobody waits for it any more."""
        with self._lock:
            if self.stage is Stage.GIVEN_UP:
                raise NotSent(Code.SEND_DEADLINE, "given up before it left")
            self.stage = Stage.SENT

    def give_up(self) -> Stage:
        """Return how far it had come; what was not sent by now never will be."""
        with self._lock:
            found = self.stage
            if found is not Stage.SENT:
                self.stage = Stage.GIVEN_UP
            return found


def _hear(answer: asyncio.Future[Any]) -> None:
    """Look at an error that came after whoever waited had gone, so that nobody misses it."""
    if not answer.cancelled():
        answer.exception()


class Lane:
    """The terminal's thread. `run` may be called from any event loop."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Job, Callable[[Job], Any], Future[Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._began: float | None = None

    async def run(self, work: Callable[[Job], T], *, seconds: float) -> T:
        """Do work on the thread and return what it returns. Raises NoAnswer after `seconds`, at
        once if the call before it has hung that long already."""
        began = self._began
        if began is not None and monotonic() - began > seconds:
            raise NoAnswer(Stage.WAITING, "the terminal has not ended an earlier call")
        job: Job = Job()
        told: Future[T] = Future()
        self._start()
        self._jobs.put((job, work, told))
        answer = asyncio.wrap_future(told)
        answer.add_done_callback(_hear)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), seconds)
        except TimeoutError as error:
            stage = job.give_up()
            where = "waited for an earlier call" if stage is Stage.WAITING else "no answer"
            raise NoAnswer(stage, f"{where} within {seconds:g} s") from error
        except asyncio.CancelledError:
            job.give_up()
            raise

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:  # a daemon: a call that hangs must not keep the process alive
                self._thread = threading.Thread(target=self._work, name="mt5", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            job, work, told = self._jobs.get()
            if not job.begin():
                continue
            self._began = monotonic()
            try:
                told.set_result(work(job))
            except BaseException as error:
                told.set_exception(error)
            finally:
                self._began = None
