"""Alert operators once when a bus falls behind, and when it has caught up.

A worker judges it, so that a process `buses` that has ended is noticed, too.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from buses.models import BusSink
from common.sql import database_now
from events.models import EventKind
from events.services import NewEvent, emit_many

LATE_SECONDS = 120
ANY_TO_REPORT = f"""
SELECT EXISTS (SELECT FROM buses_bussink WHERE CASE WHEN alerted_at IS NULL
  THEN paused_at IS NULL AND read_to < clock_timestamp() - interval '{LATE_SECONDS} s'
  ELSE read_to >= clock_timestamp() - interval '{LATE_SECONDS} s' END) AS is_due
"""


@transaction.atomic
def watch() -> int:
    """Write the events of buses that are late, or are not any more; return how many."""
    now = database_now()
    limit = now - timedelta(seconds=LATE_SECONDS)
    late = Q(alerted_at=None, paused_at=None, read_to__lt=limit)
    back = Q(alerted_at__isnull=False, read_to__gte=limit)
    changed = list(BusSink.objects.select_for_update(no_key=True).filter(late | back))
    for sink in changed:
        sink.alerted_at = None if sink.alerted_at else now
        sink.save(update_fields=["alerted_at"])
    return len(emit_many([_event(sink, (now - sink.read_to).total_seconds()) for sink in changed]))


def _event(sink: BusSink, seconds: float) -> NewEvent:
    is_late = sink.alerted_at is not None
    payload: dict[str, Any] = {"bus": sink.name, "seconds": round(seconds)}
    if is_late:
        payload["error"] = sink.last_error if sink.failures else ""
    return NewEvent(EventKind.BUS_LATE if is_late else EventKind.BUS_BACK, payload=payload)
