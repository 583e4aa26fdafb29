"""One thread for all calls of a terminal: never two at once, the urgent first, no endless wait.

The package serves one call after another and keeps its last error in one place. Who waits too long
is told whether the order may have left; what had not left by then never will.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from itertools import count
from queue import PriorityQueue
from time import monotonic
from typing import Any, TypeVar

from brokers.base import NotSent
from common.clocks import machine_time
from common.reason_codes import Code

T = TypeVar("T")
MIN_SECONDS = 5.0  # that a call has which came to its turn late: a healthy process is not ended
GRACE_SECONDS = 0.5  # for the answer to an order that nobody waits for any more


class CallStage(Enum):
    WAITING = auto()
    BEGUN = auto()
    SENT = auto()  # from here on it may be live
    GIVEN_UP = auto()


class CallPriority(IntEnum):
    """Who goes first when several wait."""

    EXIT = 0  # exits, cancels, levels
    ENTRY = 1
    READ = 2


class NoAnswerError(Exception):
    """The time for a call is over. stage: how far it had come; if it was not SENT it never is."""

    def __init__(self, stage: CallStage, detail: str) -> None:
        super().__init__(detail)
        self.stage, self.detail = stage, detail


class TerminalCall:
    """One call (or several in a row), which whoever waits for it may give up.

    until: time.monotonic() at which the terminal's thread lets go of it.
    """

    def __init__(self, seconds: float = float("inf")) -> None:
        self._lock = threading.Lock()
        self.stage = CallStage.WAITING
        self.until, self._least = monotonic() + seconds, min(seconds, MIN_SECONDS)

    def begin(self) -> bool:
        with self._lock:
            if self.stage is CallStage.WAITING:
                self.stage = CallStage.BEGUN
                self.until = max(self.until, monotonic() + self._least)
            return self.stage is CallStage.BEGUN

    def about_to_send(self) -> None:
        """Say that from now on it may be live. Raises NotSent if nobody waits for it any more."""
        with self._lock:
            if self.stage is CallStage.GIVEN_UP:
                raise NotSent(Code.SEND_DEADLINE, "given up before it left")
            self.stage = CallStage.SENT

    def give_up(self) -> CallStage:
        """Return how far it had come; what was not sent by now never will be. For what was sent
        nobody waits any more: who comes next should not."""
        with self._lock:
            found = self.stage
            if found is CallStage.SENT:
                self.until = min(self.until, monotonic() + GRACE_SECONDS)
            else:
                self.stage = CallStage.GIVEN_UP
            return found


def _retrieve_error(answer: asyncio.Future[Any]) -> None:
    """Look at an error that came after whoever waited had gone, so that nobody misses it."""
    if not answer.cancelled():
        answer.exception()


@dataclass(order=True, slots=True)
class _QueuedCall:
    """A job in the queue: by turn, then as they came."""

    priority: CallPriority
    number: int
    job: TerminalCall = field(compare=False)
    work: Callable[[TerminalCall], Any] = field(compare=False)
    result: Future[Any] = field(compare=False)


class TerminalThread:
    """The terminal's thread. `run` may be called from any event loop."""

    def __init__(self) -> None:
        self._queue: PriorityQueue[_QueuedCall] = PriorityQueue()
        self._numbers = count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    async def run(
        self,
        work: Callable[[TerminalCall], T],
        *,
        seconds: float,
        priority: CallPriority,
        send_by: float | None = None,
    ) -> T:
        """Do work on the thread and return what it returns. Raises NoAnswer after `seconds`.

        send_by: machine_time(); what is not sent by then is given up.
        """
        job, until = TerminalCall(seconds), monotonic() + seconds
        result: Future[T] = Future()
        self._start()
        self._queue.put(_QueuedCall(priority, next(self._numbers), job, work, result))
        answer = asyncio.wrap_future(result)
        answer.add_done_callback(_retrieve_error)
        try:
            if send_by is not None:
                await asyncio.wait([answer], timeout=max(0.0, send_by - machine_time()))
                if not answer.done() and (stage := job.give_up()) is not CallStage.SENT:
                    raise _no_answer(stage, "before its deadline")
            return await asyncio.wait_for(asyncio.shield(answer), until - monotonic())
        except TimeoutError as error:
            raise _no_answer(job.give_up(), f"within {seconds:g} s") from error
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
            endpoint = self._queue.get()
            if not (endpoint.job.begin() and endpoint.result.set_running_or_notify_cancel()):
                continue
            try:
                endpoint.result.set_result(endpoint.work(endpoint.job))
            except BaseException as error:
                endpoint.result.set_exception(error)


def _no_answer(stage: CallStage, when: str) -> NoAnswerError:
    where = "waited for an earlier call" if stage is CallStage.WAITING else "no answer"
    return NoAnswerError(stage, f"{where} {when}")
