"""Keep the schedule of comparisons with brokers at the interval of the operational settings."""

from typing import Any

from django.dispatch import receiver
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from common.operational.document import Document
from common.operational.store import settings_stored

TASK = "execution.reconcile"


@receiver(settings_stored)
def follow_interval(before: Document, after: Document, **_: Any) -> None:
    """Change the schedule in the transaction of the version that has another interval."""
    minutes = after.position_reconciliation.reconcile_interval_minutes
    if minutes == before.position_reconciliation.reconcile_interval_minutes:
        return  # else an interval that was set on the page of schedules would be lost
    seconds = minutes * 60
    interval, _is_new = IntervalSchedule.objects.get_or_create(every=seconds, period="seconds")
    PeriodicTask.objects.filter(task=TASK).update(interval=interval, expire_seconds=seconds)
    PeriodicTasks.update_changed()
