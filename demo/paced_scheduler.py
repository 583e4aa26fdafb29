"""Beat at the demo's pace (`celery beat --scheduler demo.paced_scheduler:PacedScheduler`).

The schedules are those of the database. Only this process runs some of them more often, so the
next `make up` uses the stored intervals.
"""

from typing import Any

from celery.schedules import schedule

from config.beat import BeatEntry, BeatScheduler
from demo.stack_options import TASK_SECONDS


class PacedEntry(BeatEntry):
    """A schedule of the database, with the interval in TASK_SECONDS if there is one."""

    def __init__(self, model: Any, app: Any = None) -> None:
        """model: the row of django-celery-beat."""
        super().__init__(model, app=app)
        if (seconds := TASK_SECONDS.get(model.task)) is not None:
            self.schedule = schedule(seconds, app=self.app)


class PacedScheduler(BeatScheduler):
    """The database's schedules, at the demo's pace."""

    Entry = PacedEntry

    def enabled_models(self) -> list[Any]:
        """Return the enabled tasks; of the paced ones also those whose hour of the day is far: for
        these the base class looks again later."""
        paced = self.Model.objects.enabled().filter(task__in=TASK_SECONDS)
        return list({row.pk: row for row in (*super().enabled_models(), *paced)}.values())
