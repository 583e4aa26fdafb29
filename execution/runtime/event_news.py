"""Which broker types have events that wait, as far as this process knows."""

import threading

from common.process.job_alarm import JobAlarm


class EventNews:
    """Broker types with news. Thread-safe."""

    def __init__(self) -> None:
        self.alarm = JobAlarm()  # of the job that applies events
        self._types: set[str] = set()
        self._lock = threading.Lock()

    def add(self, broker_type: str) -> None:
        """Let the events of a broker type be applied at once."""
        with self._lock:
            self._types.add(broker_type)
        self.alarm.set()

    def take(self) -> set[str]:
        """Return the broker types with news since the last call."""
        with self._lock:
            types, self._types = self._types, set()
        return types


news = EventNews()
