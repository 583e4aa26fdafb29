"""Turns of threads that share something: first come, first served."""

import os
import threading
from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class _Waiting:
    """A thread that waits. is_impatient: its patience has ended."""

    has_begun: threading.Event = field(default_factory=threading.Event)
    is_impatient: bool = False


class Turns:
    """How many threads may go on at once. A forked process has all of them."""

    def __init__(self, *, usual: int, most: int, longest: float) -> None:
        """usual: that many at once. A thread whose patience has ended is one more, up to `most`;
        beyond that it waits for `longest` seconds, in which those that hang have ended."""
        self._usual, self._most, self._longest = usual, most, longest
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._pid, self._taken = os.getpid(), 0
        self._waiting: deque[_Waiting] = deque()

    @property
    def taken(self) -> int:
        """How many threads have a turn."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many threads wait for a turn."""
        return len(self._waiting)

    def begin(self, patience: float) -> None:
        """Wait for a turn, about `patience` seconds; call `end` afterwards."""
        thread = self._join_queue()
        if thread.has_begun.wait(patience):
            return
        with self._lock:
            thread.is_impatient = True
            self._serve()
        if not thread.has_begun.wait(max(0.0, self._longest - patience)):
            with self._lock:
                if not thread.has_begun.is_set():
                    self._let_go_on(thread)

    def try_begin(self, seconds: float) -> bool:
        """Wait for a turn, at most so long; return whether this thread has one."""
        thread = self._join_queue()
        if thread.has_begun.wait(seconds):
            return True
        with self._lock:
            if not thread.has_begun.is_set():
                self._waiting.remove(thread)
                return False
        return True

    def _join_queue(self) -> _Waiting:
        thread = _Waiting()
        with self._lock:
            if self._pid != os.getpid():
                self._start()
            self._waiting.append(thread)
            self._serve()
        return thread

    def end(self) -> None:
        """Let the thread that has waited longest go on."""
        with self._lock:
            self._taken = max(0, self._taken - 1)
            self._serve()

    def _serve(self) -> None:
        while self._waiting and self._taken < self._usual:
            self._let_go_on(self._waiting[0])
        for thread in [one for one in self._waiting if one.is_impatient]:
            if self._taken < self._most:
                self._let_go_on(thread)

    def _let_go_on(self, thread: _Waiting) -> None:
        self._waiting.remove(thread)
        self._taken += 1
        thread.has_begun.set()
