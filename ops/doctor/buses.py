"""The doctor's check of buses: configured, running, not behind, received, no dead letters."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from brokers.types import Check
from buses.incoming.lanes import LATE_SECONDS, configured_lanes
from buses.models import BusLane, BusMessage, BusSink, DeadLetter
from buses.sinks import name_of
from common.db.sql import database_now
from ops.doctor.verdicts import failure, warning, well

NAME = "buses"
BEHIND_SECONDS = 300
START = "Start the process `manage.py buses` (the stack starts it if FILLCAST_BUSES names one)."

RECEIVE = (
    "Start the process `manage.py bus_receiver` (the stack starts it if FILLCAST_BUSES names a bus"
    " with from+); its log states what the bus answers."
)


def buses() -> list[Check]:
    """Check each bus that is configured, and each that is known."""
    configured = [name_of(url) for url in settings.SINKS]
    known = list(BusSink.objects.all())
    incoming = [*_lanes(database_now()), *_messages()]
    if not configured and not known:
        return incoming or [well(NAME, "No bus is configured.")]
    names = {sink.name for sink in known}
    missing = [
        failure(NAME, f"{name} has never been drained.", START)
        for name in configured
        if name not in names
    ]
    now = database_now()
    letters = set(
        DeadLetter.objects.waiting().order_by().values_list("sink_id", flat=True).distinct()
    )
    judged = [judge_bus(sink, configured, now, sink.pk in letters) for sink in known]
    return missing + judged + incoming


def _lanes(now: datetime) -> list[Check]:
    """Judge what comes in by each bus of FILLCAST_BUSES with from+, which web processes lack."""
    configured = configured_lanes()
    known = {lane.name: lane for lane in BusLane.objects.all()}
    live = [name for name, lane in known.items() if lane.ended_at is None]
    names = dict.fromkeys([*configured, *live])
    return [judge_lane(name, known.get(name), now) for name in names]


def judge_lane(name: str, lane: BusLane | None, now: datetime) -> Check:
    if lane is not None and lane.paused_at is not None:
        detail = f"{name} is paused since {lane.paused_at:%Y-%m-%d %H:%M}: nothing of it is taken."
        return warning(NAME, detail, "Resume it under Lanes from buses in the console.")
    if lane is None or lane.polled_at is None:
        error = f" {lane.last_error}" if lane and lane.last_error else ""
        return failure(NAME, f"{name} has never been received.{error}", RECEIVE)
    if now - lane.polled_at > timedelta(seconds=LATE_SECONDS):
        detail = f"{name} was last received {lane.polled_at:%Y-%m-%d %H:%M}. {lane.last_error}"
        return failure(NAME, detail, RECEIVE)
    if lane.failures:
        detail = f"{name} cannot be reached: {lane.last_error}"
        return warning(NAME, detail, "It is tried again automatically; is the bus running?")
    return well(NAME, f"{name} is received.")


def _messages() -> list[Check]:
    """Judge whether messages that came in wait for a decision."""
    count = BusMessage.objects.dead().count()
    if not count:
        return []
    what = "1 message was" if count == 1 else f"{count:,} messages were"
    detail = f"{what} not carried out. A close among them has closed nothing."
    return [warning(NAME, detail, "See Messages from buses in the console: replay or discard.")]


def judge_bus(sink: BusSink, configured: Sequence[str], now: datetime, has_letters: bool) -> Check:
    behind = round((now - sink.read_to).total_seconds())
    if sink.name not in configured and not sink.name.startswith("python:"):
        detail = f"{sink.name} is not in FILLCAST_BUSES any more."
        return warning(NAME, detail, "Add it again, or delete it under Buses in the console.")
    if sink.paused_at is not None:
        detail = f"{sink.name} is paused since {sink.paused_at:%Y-%m-%d %H:%M}."
        return warning(NAME, detail, "Resume it under Buses in the console.")
    if sink.lease_until is None or sink.lease_until < now:
        return failure(NAME, f"No process delivers to {sink.name}. {sink.last_error}", START)
    if sink.failures:
        detail = f"{sink.name} does not take events: {sink.last_error}"
        return failure(
            NAME, detail, "Start that bus, or correct its URL; delivery then catches up."
        )
    if behind > BEHIND_SECONDS:
        detail = f"{sink.name} is {behind:,} s behind."
        return warning(NAME, detail, "It catches up; if the number grows, the bus is too slow.")
    if has_letters:
        detail = f"{sink.name} has refused events."
        return warning(NAME, detail, "See Dead letters in the console; send them again there.")
    return well(NAME, f"{sink.name} is up to date.")


CHECKS = [(NAME, buses)]
