"""An alarm that ends the wait of a background job early, now or at a later moment."""

import threading
from collections.abc import Callable

from common.clocks import machine_time


class JobAlarm:
    """When a job is to run again at the latest, however long its interval is. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due_at = float("inf")  # machine_time()
        self._listeners: dict[str, Callable[[], object]] = {}

    def listen(self, name: str, listener: Callable[[], object]) -> None:
        """Call `listener` each time the alarm is set: its job may wait for something else then.

        name: a later listener of this name replaces it.
        """
        self._listeners[name] = listener

    def set(self, seconds: float = 0.0) -> None:
        """Let the job run in so many seconds at the latest."""
        with self._changed:
            self._due_at = min(self._due_at, machine_time() + seconds)
            self._changed.notify_all()
        for listener in list(self._listeners.values()):
            listener()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the alarm is due."""
        end = machine_time() + seconds
        with self._changed:
            while (left := min(end, self._due_at) - machine_time()) > 0:
                self._changed.wait(left)

    def take(self) -> bool:
        """Return whether the alarm is due, and end it if it is."""
        with self._changed:
            if is_due := self._due_at <= machine_time():
                self._due_at = float("inf")
            return is_due

    def seconds(self) -> float:
        """Return the seconds until the alarm is due; 0 or less if it is."""
        with self._changed:
            return self._due_at - machine_time()
