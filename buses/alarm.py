"""Alert operators once when a bus falls behind or is not received, when that has ended, and of
messages that came in and were not carried out.

A worker judges it, so that a process that has ended, or never started, is noticed, too.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from buses.incoming.lanes import LATE_SECONDS, configured_lanes, know_configured
from buses.models import BusLane, BusMessage, BusSink
from common.db.sql import database_now
from events.models import EventKind
from events.services import NewEvent, emit_many

ANY_TO_REPORT = f"""
SELECT EXISTS (SELECT FROM buses_bussink WHERE CASE WHEN alerted_at IS NULL
  THEN paused_at IS NULL AND read_to < clock_timestamp() - interval '{LATE_SECONDS} s'
  ELSE read_to >= clock_timestamp() - interval '{LATE_SECONDS} s' END)
OR EXISTS (SELECT FROM buses_buslane WHERE CASE WHEN ended_at IS NOT NULL
  THEN name = ANY(%(lanes)s::text[])
  ELSE name <> ALL(%(lanes)s::text[]) OR paused_at IS NULL AND (alerted_at IS NULL) = (
    greatest(polled_at, created_at) < clock_timestamp() - interval '{LATE_SECONDS} s') END)
OR EXISTS (SELECT FROM unnest(%(lanes)s::text[]) AS one (name)
  WHERE NOT EXISTS (SELECT FROM buses_buslane l WHERE l.name = one.name))
OR EXISTS (SELECT FROM buses_busmessage WHERE state = 'DEAD' AND alerted_at IS NULL) AS is_due
"""
MOST_LETTERS = 10_000  # of one event
LETTERS_APART, CLOSES_APART = timedelta(hours=1), timedelta(minutes=1)


def any_to_report() -> tuple[str, dict[str, list[str]]]:
    """Return the question whether `watch` has anything to do, with its parameters."""
    return ANY_TO_REPORT, {"lanes": configured_lanes()}


@transaction.atomic
def watch() -> int:
    """Write the events of buses that are late, or are not any more, and of messages that were not
    carried out; return how many."""
    now = database_now()
    know_configured()
    return len(emit_many([*_of_sinks(now), *_of_lanes(now), *_of_dead_letters(now)]))


def _of_sinks(now: datetime) -> list[NewEvent]:
    limit = now - timedelta(seconds=LATE_SECONDS)
    late = Q(alerted_at=None, paused_at=None, read_to__lt=limit)
    back = Q(alerted_at__isnull=False, read_to__gte=limit)
    changed = list(BusSink.objects.select_for_update(no_key=True).filter(late | back))
    for sink in changed:
        sink.alerted_at = None if sink.alerted_at else now
        sink.save(update_fields=["alerted_at"])
    return [_event(sink, (now - sink.read_to).total_seconds()) for sink in changed]


def _of_lanes(now: datetime) -> list[NewEvent]:
    """Return the events of lanes that are not received, or are again."""
    limit, found = now - timedelta(seconds=LATE_SECONDS), []
    judged = BusLane.objects.filter(ended_at=None, paused_at=None)
    for lane in judged.select_for_update(no_key=True):
        is_late = lane.received_at < limit
        if is_late == (lane.alerted_at is not None):
            continue
        lane.alerted_at = now if is_late else None
        lane.save(update_fields=["alerted_at"])
        payload: dict[str, Any] = {"bus": lane.name}
        if is_late:
            payload["seconds"] = round((now - lane.received_at).total_seconds())
            payload["error"] = lane.last_error
        kind = EventKind.BUS_NOT_RECEIVED if is_late else EventKind.BUS_RECEIVED
        found.append(NewEvent(kind, payload=payload))
    return found


def _of_dead_letters(now: datetime) -> list[NewEvent]:
    """Return an event for all new dead letters of a subject with the same reason, at most one an
    hour: a sender that is broken sends many. Closes, each of which leaves a position open, have
    events of their own, at most one a minute. Those that follow wait for the next event."""
    new, names = (
        BusMessage.objects.dead().filter(alerted_at=None),
        ("bus", "subject", "code", "is_close"),
    )
    groups = set(new.order_by().values_list(*names).distinct())
    if groups:
        recent = Q(alerted_at__gt=now - LETTERS_APART, is_close=False)
        recent |= Q(alerted_at__gt=now - CLOSES_APART, is_close=True)
        alerted = BusMessage.objects.filter(recent)
        groups -= set(alerted.order_by().values_list(*names).distinct())
    found = []
    for bus, subject, code, is_close in sorted(groups):
        letters = new.filter(bus=bus, subject=subject, code=code, is_close=is_close).order_by("pk")
        locked = letters.only("detail").select_for_update(no_key=True, skip_locked=True)
        group = list(locked[:MOST_LETTERS])
        if not group:
            continue
        BusMessage.objects.filter(pk__in=[one.pk for one in group]).update(alerted_at=now)
        payload = {
            "bus": bus, "subject": subject, "code": code, "detail": group[0].detail[:500],
            "count": len(group), "closes": is_close,
        }  # fmt: skip
        found.append(NewEvent(EventKind.BUS_MESSAGE_REFUSED, payload=payload))
    return found


def _event(sink: BusSink, seconds: float) -> NewEvent:
    is_late = sink.alerted_at is not None
    payload: dict[str, Any] = {"bus": sink.name, "seconds": round(seconds)}
    if is_late:
        payload["error"] = sink.last_error if sink.failures else ""
    return NewEvent(EventKind.BUS_LATE if is_late else EventKind.BUS_BACK, payload=payload)
