"""What delivery states about differences: which position or order, what both sides hold."""

from collections.abc import Sequence

from events.facts import Happening
from events.models import EventKind
from execution.drift import words
from execution.models import DriftItem


def facts_about(events: Sequence[Happening]) -> dict[int, dict[str, str]]:
    """Return the facts of `drift.found` events by event id, in one query for all of them."""
    asked = {
        event.id: event.payload.get("drift")
        for event in events
        if event.kind == EventKind.DRIFT_FOUND
    }
    if not asked:
        return {}
    items = DriftItem.objects.in_bulk([key for key in asked.values() if isinstance(key, int)])
    found = {event_id: items[key] for event_id, key in asked.items() if key in items}
    return {
        event_id: {
            "subject": words.subject(item), "detail": words.differing(item), "code": item.kind
        }
        for event_id, item in found.items()
    }  # fmt: skip
