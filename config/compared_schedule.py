"""Keep the schedule of comparisons with brokers at the interval of the operational settings.

Beat does so at each of its looks. What counts is the interval in force, from a version or from
FILLCAST_SETTINGS_SOURCE. The schedule's row notes for which interval it was made: what an operator
sets on the page of schedules holds until the setting changes.
"""

import json
import logging
from typing import Any

from django.db import DatabaseError, InterfaceError, transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from common.operational.current import settings_now
from common.operational.document import Document

log = logging.getLogger(__name__)
TASK = "execution.reconcile"
MADE_FOR = "fillcast_minutes"
"""The header of the task's messages that is the note; no one reads it there."""
INSTALLED = Document().position_reconciliation.reconcile_interval_minutes


class ComparedSchedule:
    """Follows the interval in one process. It asks the database only after a change."""

    def __init__(self) -> None:
        self._minutes: int | None = None

    def follow(self) -> bool:
        """Change the schedule if the interval in force is another one; return whether it was."""
        try:
            minutes = settings_now().position_reconciliation.reconcile_interval_minutes
            if minutes == self._minutes:
                return False
            is_changed = _apply(minutes)
        except (DatabaseError, InterfaceError) as error:
            log.warning("the schedule of comparisons stays as it is: %s", f"{error}".strip())
            return False
        self._minutes = minutes
        return is_changed


def _apply(minutes: int) -> bool:
    with transaction.atomic():
        found = PeriodicTask.objects.select_for_update().filter(task=TASK)
        other = [task for task in found if _headers(task).get(MADE_FOR, INSTALLED) != minutes]
        for task in other:
            equal = {"every": minutes * 60, "period": "seconds"}  # there may be several
            interval = IntervalSchedule.objects.filter(**equal).first()
            interval = interval or IntervalSchedule.objects.create(**equal)
            headers = json.dumps({**_headers(task), MADE_FOR: minutes})
            PeriodicTask.objects.filter(pk=task.pk).update(
                interval=interval, expire_seconds=minutes * 60, headers=headers
            )
        if other:
            PeriodicTasks.update_changed()
    return bool(other)


def _headers(task: PeriodicTask) -> dict[str, Any]:
    try:
        found = json.loads(task.headers or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
