"""What operators do with buses; the process that delivers notices within seconds."""

from django.db.models import QuerySet

from buses.models import BusSink, DeadLetter
from common.db.functions import ClockTimestamp


def pause(sinks: QuerySet[BusSink], *, by: str) -> None:
    """Stop delivering to these sinks, until `resume`."""
    sinks.filter(paused_at=None).update(paused_at=ClockTimestamp(), paused_by=by)


def resume(sinks: QuerySet[BusSink]) -> None:
    """Deliver to these sinks again, from where they stopped."""
    sinks.update(paused_at=None, paused_by="")


def replay(letters: QuerySet[DeadLetter]) -> int:
    """Request that these dead letters are sent again; return how many."""
    waiting = letters.filter(replayed_at=None)
    return waiting.update(replay_requested_at=ClockTimestamp())
