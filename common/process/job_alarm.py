"""What makes a job due before its interval has passed, now or at a later moment."""

import threading
from collections.abc import Callable

from common.clocks import machine_time


class JobAlarm:
    """When a job is to run again at the latest, however long its interval is. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due_at = float("inf")  # machine_time()
        self._listeners: dict[str, Callable[[], object]] = {}

    def listen(self, name: str, listener: Callable[[], object]) -> None:
        """Call `listener` each time the alarm is set. name: a later listener of it replaces it."""
        self._listeners[name] = listener

    def set(self, seconds: float = 0.0) -> None:
        """Let the job run in so many seconds at the latest."""
        with self._lock:
            self._due_at = min(self._due_at, machine_time() + seconds)
        for listener in list(self._listeners.values()):
            listener()

    def take(self) -> bool:
        """Return whether the alarm is due, and end it if it is."""
        with self._lock:
            if is_due := self._due_at <= machine_time():
                self._due_at = float("inf")
            return is_due

    def seconds(self) -> float:
        """Return the seconds until the alarm is due; 0 or less if it is."""
        return self._due_at - machine_time()
