"""Beat's scheduler: schedules are rows that operators edit, read and written sparingly.

The package's own sends each due task, whether or not it has anything to do, asks several times a
second whether a row has changed, writes each run at once in four statements, and asks of each task
for 10 ms whether it is due. An installation with nothing to do would spend most of beat's time on
that, and some of its workers'.
"""

import logging
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import schedstate
from django.db import DatabaseError, InterfaceError
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from common.clocks import machine_time
from common.db.stored_times import AHEAD_SECONDS
from common.process.waiting_work import has_question, tasks_without_work
from config.compared_schedule import ComparedSchedule
from execution.runtime.open_work import is_behind

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0  # until a change in the console counts
ASK_SECONDS = 0.5  # for so long an answer counts that a task has nothing to do
STORE_SECONDS = 5.0  # until the console shows a run; if beat dies meanwhile, it may run again


# Tasks that may be late, and how many times in a row: while due orders wait for the machine, reads
# and comparisons leave it to them. What an entry waits for is read and compared by other jobs.
GIVES_WAY = {"execution.reconcile": 1, "connections.refresh_accounts": 3}
AHEAD = timedelta(seconds=AHEAD_SECONDS)
STEP_SECONDS = 1.0  # of the wall clock against machine time: it was set


def wall_offset() -> float:
    """Return how far the wall clock is from machine time, which cannot be set."""
    return time.time() - machine_time()


class BeatEntry(ModelEntry):  # type: ignore[misc]  # celery-beat has no types
    """A schedule, whose runs are stored by one statement.

    If its last run lies in the future, the clock was set back since: an interval is due now, and
    another schedule goes on from now on.
    """

    last_run_at: datetime

    def is_due(self) -> Any:  # celery's schedstate
        """Return whether it is due, and in how many seconds to ask again."""
        now = self._default_now()
        if self.last_run_at > now + AHEAD:
            if self.model.interval_id is not None and self.model.enabled:
                return schedstate(is_due=True, next=self.schedule.seconds)
            self.last_run_at = self.model.last_run_at = now
        return super().is_due()

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
    _offset: float | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Begin with no task that has given way."""
        self._gave_way: Counter[str] = Counter()
        self._compared = ComparedSchedule()
        super().__init__(*arguments, **options)

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send what is due; return the seconds until the next look.

        If the wall clock was set, all times of the next runs are made again.
        """
        before, self._offset = self._offset, wall_offset()
        if before is not None and abs(self._offset - before) > STEP_SECONDS:
            log.warning("the clock was set by %.0f s", self._offset - before)
            self._heap = None
            self._looks_at = self._asks_at = 0.0
            self._last_full_sync = datetime.min  # noqa: DTZ901  # naive, as the library's
        return float(super().tick(*arguments, **options))

    def apply_entry(self, entry: BeatEntry, producer: Any = None) -> None:
        """Send the message of a task that is due, unless it would find nothing to do.

        It has run then, too: the console and the alarm about a late beat count it.
        """
        if has_question(entry.task) and self._has_nothing_to_do(entry.task):
            return
        if self._gave_way[entry.task] < GIVES_WAY.get(entry.task, 0) and is_behind():
            self._gave_way[entry.task] += 1
            return
        self._gave_way.pop(entry.task, None)
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
        was_changed = self._compared.follow()
        return bool(super().schedule_changed()) or was_changed
