"""Turns of threads that share something: first come, first served."""

import os
import threading
from collections import deque


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
        self._waiting: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """How many threads wait for a turn."""
        return len(self._waiting)

    def begin(self, patience: float) -> None:
        """Wait for a turn, about `patience` seconds; call `end` afterwards."""
        with self._lock:
            if self._pid != os.getpid():
                self._start()
            if self._taken < self._usual:
                self._taken += 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(patience) or self._has_begun(turn, self._most):
            return
        if not turn.wait(max(0.0, self._longest - patience)):
            self._has_begun(turn)

    def end(self) -> None:
        """Let the thread that has waited longest go on."""
        with self._lock:
            self._taken = max(0, self._taken - 1)
            if self._waiting and self._taken < self._usual:
                self._taken += 1
                self._waiting.popleft().set()

    def _has_begun(self, turn: threading.Event, most: int | None = None) -> bool:
        """Begin a turn that was not passed on, unless `most` have one."""
        with self._lock:
            if turn.is_set():
                return True
            if most is not None and self._taken >= most:
                return False
            self._waiting.remove(turn)
            self._taken += 1
            return True
