"""The doctor's check of buses: configured, running, not behind, without dead letters."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from brokers.types import Check
from buses.models import BusSink, DeadLetter
from buses.sinks import name_of
from common.sql import database_now
from ops.doctor.verdicts import failure, warning, well

NAME = "buses"
BEHIND_SECONDS = 300
START = "Start the process `manage.py buses` (the stack starts it if FILLCAST_BUSES names one)."


def buses() -> list[Check]:
    """Check each bus that is configured, and each that is known."""
    configured = [name_of(url) for url in settings.SINKS]
    known = list(BusSink.objects.all())
    if not configured and not known:
        return [well(NAME, "No bus is configured.")]
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
    return missing + [judge_bus(sink, configured, now, sink.pk in letters) for sink in known]


def judge_bus(sink: BusSink, configured: Sequence[str], now: datetime, has_letters: bool) -> Check:
    """Judge one bus."""
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
