"""Beat's scheduler: schedules are rows that operators edit, read and written sparingly.

The package's own sends each due task, whether or not it has anything to do, asks several times a
second whether a row has changed, writes each run at once in four statements, and asks of each task
for 10 ms whether it is due. An installation with nothing to do would spend most of beat's time on
that, and some of its workers'.
"""

from typing import Any

from django.db import DatabaseError, InterfaceError
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from common.clocks import machine_time
from common.waiting_work import has_question, tasks_without_work

LOOK_SECONDS = 2.0  # until a change in the console counts
ASK_SECONDS = 0.5  # for so long an answer counts that a task has nothing to do
STORE_SECONDS = 5.0  # until the console shows a run; if beat dies meanwhile, it may run again


class BeatEntry(ModelEntry):  # type: ignore[misc]  # celery-beat has no types
    """A schedule, whose runs are stored by one statement."""

    def save(self) -> None:
        """Store when it last ran, for the console and `doctor`."""
        stored = type(self.model)._default_manager.filter(pk=self.model.pk)
        stored.update(
            last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count
        )


class BeatScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Reads the schedules again within LOOK_SECONDS of a change."""

    Entry = BeatEntry
    sync_every = STORE_SECONDS
    _looks_at = _asks_at = 0.0  # machine time
    _without_work: frozenset[str] = frozenset()

    def apply_entry(self, entry: BeatEntry, producer: Any = None) -> None:
        """Send the message of a task that is due, unless it would find nothing to do.

        It has run then, too: the console and the alarm about a late beat count it.
        """
        if not (has_question(entry.task) and self._has_nothing_to_do(entry.task)):
            super().apply_entry(entry, producer=producer)

    def _has_nothing_to_do(self, task: str) -> bool:
        if machine_time() >= self._asks_at:
            self._asks_at = machine_time() + ASK_SECONDS
            try:
                self._without_work = frozenset(tasks_without_work())
            except (DatabaseError, InterfaceError):  # the task itself finds out
                self._without_work = frozenset()
        return task in self._without_work

    def adjust(self, n: float, drift: float = 0.0) -> float:
        """Return when to look at a task: when it is due, and not 10 ms before."""
        return n

    def schedule_changed(self) -> bool:
        """Return whether an operator or a migration has changed a schedule since the last look."""
        if machine_time() < self._looks_at:
            return False
        self._looks_at = machine_time() + LOOK_SECONDS
        return bool(super().schedule_changed())
