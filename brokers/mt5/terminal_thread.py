"""One thread for all calls of a terminal: one at a time, urgent ones first, each with a time-out.

The package serves one call at a time and keeps only one last error. After a time-out the caller
knows whether the order may have been sent; a call that was not sent by then never is.
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
MIN_SECONDS = 5.0  # for a call that starts late, so that a healthy process is not ended
GRACE_SECONDS = 0.5  # for the answer to an order whose caller has given up


class CallStage(Enum):
    """How far a call has come."""

    WAITING = auto()
    BEGUN = auto()
    SENT = auto()  # from here on it may be live
    GIVEN_UP = auto()


class CallPriority(IntEnum):
    """Which waiting call goes first."""

    EXIT = 0  # exits, cancels, levels
    ENTRY = 1
    READ = 2
    LOOK = 3  # whether anything has changed


class NoAnswerError(Exception):
    """A call timed out. stage: how far it had come; if it was not SENT, it is never sent."""

    def __init__(self, stage: CallStage, detail: str) -> None:
        super().__init__(detail)
        self.stage, self.detail = stage, detail


class TerminalCall:
    """One call (or a sequence of calls) that its caller may give up.

    deadline: time.monotonic() at which the terminal's thread ends it.
    """

    def __init__(self, seconds: float = float("inf")) -> None:
        self._lock = threading.Lock()
        self.stage = CallStage.WAITING
        self.deadline, self._min_seconds = monotonic() + seconds, min(seconds, MIN_SECONDS)

    def begin(self) -> bool:
        """Start the call. Return False if its caller has given up."""
        with self._lock:
            if self.stage is CallStage.WAITING:
                self.stage = CallStage.BEGUN
                self.deadline = max(self.deadline, monotonic() + self._min_seconds)
            return self.stage is CallStage.BEGUN

    def about_to_send(self) -> None:
        """Mark the order as possibly sent. Raises NotSent if the caller has given up."""
        with self._lock:
            if self.stage is CallStage.GIVEN_UP:
                raise NotSent(Code.SEND_DEADLINE, "given up before it left")
            self.stage = CallStage.SENT

    def give_up(self) -> CallStage:
        """Give up the call and return its stage. A call that is not SENT is never sent.

        A call that is SENT gets only GRACE_SECONDS more, so that the next call need not wait."""
        with self._lock:
            stage = self.stage
            if stage is CallStage.SENT:
                self.deadline = min(self.deadline, monotonic() + GRACE_SECONDS)
            else:
                self.stage = CallStage.GIVEN_UP
            return stage


def _retrieve_error(answer: asyncio.Future[Any]) -> None:
    """Retrieve an error that came after the caller had gone, so that asyncio logs no warning."""
    if not answer.cancelled():
        answer.exception()


@dataclass(order=True, slots=True)
class _QueuedCall:
    """A call in the queue, ordered by priority, then by arrival."""

    priority: CallPriority
    number: int
    call: TerminalCall = field(compare=False)
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
        """Run work on the thread and return its result. Raises NoAnswerError after `seconds`.

        send_by: send deadline, on machine_time(); a call that is not sent by then is given up.
        """
        call, deadline = TerminalCall(seconds), monotonic() + seconds
        result: Future[T] = Future()
        self._start()
        self._queue.put(_QueuedCall(priority, next(self._numbers), call, work, result))
        answer = asyncio.wrap_future(result)
        answer.add_done_callback(_retrieve_error)
        try:
            if send_by is not None:
                await asyncio.wait([answer], timeout=max(0.0, send_by - machine_time()))
                if not answer.done() and (stage := call.give_up()) is not CallStage.SENT:
                    raise _no_answer(stage, "before its deadline")
            return await asyncio.wait_for(asyncio.shield(answer), deadline - monotonic())
        except TimeoutError as error:
            raise _no_answer(call.give_up(), f"within {seconds:g} s") from error
        except asyncio.CancelledError:
            call.give_up()
            raise

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:  # a daemon: a call that hangs must not keep the process alive
                self._thread = threading.Thread(target=self._work, name="mt5", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            queued = self._queue.get()
            if not (queued.call.begin() and queued.result.set_running_or_notify_cancel()):
                continue
            try:
                queued.result.set_result(queued.work(queued.call))
            except BaseException as error:  # any: it is raised where the caller waits
                queued.result.set_exception(error)


def _no_answer(stage: CallStage, when: str) -> NoAnswerError:
    where = "waited for an earlier call" if stage is CallStage.WAITING else "no answer"
    return NoAnswerError(stage, f"{where} {when}")
