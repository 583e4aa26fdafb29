"""How the reception of each lane goes, as its row states it."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db.models import F

from buses.incoming.models import BusLane
from buses.sinks import name_of
from common.db_functions import ClockTimestamp
from common.sql import database_now

LANES_OF = {"nats": ("signals", "fills"), "clickhouse": ("signals",)}
"""By the scheme of a URL: the lanes of a bus."""
MAX_ERROR = 500


def configured_lanes() -> list[str]:
    """Return the names of the lanes of FILLCAST_BUSES, without secrets."""
    return [
        f"{name_of(url)}#{lane}"
        for url in settings.INCOMING_BUSES
        for lane in LANES_OF.get(url.partition(":")[0], ())
    ]


def know_configured() -> None:
    """Have a row for each lane that is configured; one that is not any more has ended."""
    names = configured_lanes()
    BusLane.objects.bulk_create([BusLane(name=name) for name in names], ignore_conflicts=True)
    live = BusLane.objects.filter(ended_at=None)
    live.exclude(name__in=names).update(ended_at=database_now(), alerted_at=None)
    ended = BusLane.objects.filter(name__in=names).exclude(ended_at=None)
    ended.update(ended_at=None, created_at=database_now())


def note_success(name: str) -> None:
    """A lane was polled."""
    lane, _ = BusLane.objects.get_or_create(name=name)
    BusLane.objects.filter(pk=lane.pk).update(polled_at=ClockTimestamp(), failures=0)


def note_error(name: str, error: str) -> None:
    """A lane could not be polled."""
    lane, _ = BusLane.objects.get_or_create(name=name)
    BusLane.objects.filter(pk=lane.pk).update(
        failures=F("failures") + 1, last_error=error[:MAX_ERROR], last_error_at=ClockTimestamp()
    )


def read_cursor(name: str) -> dict[str, str]:
    """Return how far a lane was read; {} if it never was."""
    lane = BusLane.objects.filter(name=name).only("cursor").first()
    return {} if lane is None else dict(lane.cursor)


def store_cursor(name: str, cursor: dict[str, str]) -> None:
    """Keep how far a lane was read, for the process after this one."""
    BusLane.objects.update_or_create(name=name, defaults={"cursor": cursor})


@dataclass(frozen=True, slots=True)
class LaneCursor:
    """How far a lane was read, in our database."""

    name: str

    def read(self) -> dict[str, str]:
        """Return what was stored last; {} if nothing was."""
        return read_cursor(self.name)

    def store(self, kept: dict[str, str]) -> None:
        """Keep it for the process after this one."""
        store_cursor(self.name, kept)
