"""Beat at the demo's pace (`celery beat --scheduler demo.paced_scheduler:PacedScheduler`).

What is scheduled is what the database says; only how often it runs differs, and only in this
process: the next `make up` has its own pace again.
"""

from typing import Any

from celery.schedules import schedule
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from demo.stack_options import TASK_SECONDS


class PacedEntry(ModelEntry):  # type: ignore[misc]  # celery-beat has no types
    """A schedule of the database that runs as often as PACE says."""

    def __init__(self, model: Any, app: Any = None) -> None:
        super().__init__(model, app=app)
        if (seconds := TASK_SECONDS.get(model.task)) is not None:
            self.schedule = schedule(seconds, app=self.app)


class PacedScheduler(DatabaseScheduler):  # type: ignore[misc]
    """The database's schedules, at the demo's pace."""

    Entry = PacedEntry
