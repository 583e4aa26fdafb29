"""Facts about drift for notifications: which position or order, and what both sides hold."""

from collections.abc import Sequence

from events.context import EventContext
from events.models import EventKind
from execution.models import DriftItem
from execution.reconciliation import presentation


def context_of_events(events: Sequence[EventContext]) -> dict[int, dict[str, str]]:
    """Return the facts of `drift.found` events by event id, in one query for all of them."""
    keys = {
        event.id: event.payload.get("drift")
        for event in events
        if event.kind == EventKind.DRIFT_FOUND
    }
    if not keys:
        return {}
    items = DriftItem.objects.in_bulk([key for key in keys.values() if isinstance(key, int)])
    by_event = {event_id: items[key] for event_id, key in keys.items() if key in items}
    return {
        event_id: {
            "subject": presentation.subject(item),
            "detail": presentation.differing(item),
            "code": item.kind
        }
        for event_id, item in by_event.items()
    }  # fmt: skip
