"""How the reception of each lane goes, as its row states it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import (
    Case,
    Count,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Greatest

from buses.incoming.models import FILLS, SIGNALS, BusLane, BusMessage
from buses.sinks import name_of
from common.db.functions import ClockTimestamp
from common.db.sql import database_now

LANES_OF = {"nats": ("signals", "fills"), "clickhouse": ("signals",)}
"""By the scheme of a URL: the lanes of a bus."""
MAX_ERROR = 500
LATE_SECONDS = 120  # operators are alerted then
NEWEST_LETTERS = 10


class Progress(NamedTuple):
    """How far a lane was read. bus: what its messages have as theirs. position: for people. Empty
    while it is not known."""

    bus: str = ""
    position: str = ""


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


def note_success(
    name: str, progress: Progress | None = None, last_message_at: datetime | None = None
) -> None:
    """A lane was polled. last_message_at: of the messages since the last note, the newest one's."""
    lane, _ = BusLane.objects.get_or_create(name=name)
    known: dict[str, Any] = {}
    if progress is not None:
        known |= {field: text[:200] for field, text in progress._asdict().items() if text}
    if last_message_at is not None:
        known["last_message_at"] = Greatest(F("last_message_at"), Value(last_message_at))
    BusLane.objects.filter(pk=lane.pk).update(polled_at=ClockTimestamp(), failures=0, **known)


def note_error(name: str, error: str) -> None:
    """A lane could not be polled."""
    lane, _ = BusLane.objects.get_or_create(name=name)
    BusLane.objects.filter(pk=lane.pk).update(
        failures=F("failures") + 1, last_error=error[:MAX_ERROR], last_error_at=ClockTimestamp()
    )


def is_paused(name: str) -> bool:
    """Return whether an operator has paused a lane."""
    return BusLane.objects.filter(name=name, paused_at__isnull=False).exists()


def pause(lanes: QuerySet[BusLane], *, by: str) -> int:
    """Take nothing more from these lanes until `resume`; return how many were not paused."""
    return lanes.filter(paused_at=None).update(paused_at=ClockTimestamp(), paused_by=by)


def resume(lanes: QuerySet[BusLane]) -> int:
    """Take what came meanwhile, and go on; return how many were paused.

    A lane is not received late until it had time to be; one that was before its pause still is.
    """
    return lanes.exclude(paused_at=None).update(
        paused_at=None,
        paused_by="",
        created_at=Case(When(alerted_at=None, then=ClockTimestamp()), default=F("created_at")),
    )


class LaneState(Enum):
    """How the reception of a lane goes, and what an operator does then."""

    def __init__(self, label: str, next_step: str) -> None:
        self.label, self.next_step = label, next_step

    ENDED = (
        "Not configured",
        "FILLCAST_BUSES does not name it any more. If it does again, reading goes on from here.",
    )
    PAUSED = (
        "Paused",
        "Nothing of it is taken. What comes waits at the bus as long as that keeps it; a market"
        " entry may then be too old. Resume reception to take it.",
    )
    LATE = (
        "Not received",
        "Start the process manage.py bus_receiver (the stack starts it if FILLCAST_BUSES names a"
        " bus with from+). If it runs, see the last error here and its log.",
    )
    FAILING = (
        "Fails",
        "It is tried again automatically. Start the bus, or correct its URL in FILLCAST_BUSES.",
    )
    STARTING = ("Starting", "It is polled for the first time within two minutes.")
    RECEIVED = ("Received", "Nothing. Its routes are under Routes from buses.")


def state_of(lane: BusLane, now: datetime) -> LaneState:
    """Return how the reception of a lane goes."""
    if lane.ended_at is not None:
        return LaneState.ENDED
    if lane.paused_at is not None:
        return LaneState.PAUSED
    if now - lane.received_at > timedelta(seconds=LATE_SECONDS):
        return LaneState.LATE
    if lane.failures:
        return LaneState.FAILING
    return LaneState.STARTING if lane.polled_at is None else LaneState.RECEIVED


class _Server(Func):
    """All of the server in the name of a lane, or in a message's bus: nats://host/*."""

    output_field = TextField()
    template = (
        "regexp_replace(substring(%(expressions)s from '^[a-z+]+://[^/#]+'),"
        r" '^(nats://.*):4222$', '\1') || '/*'"
    )


# Before its first poll it is not known what messages of a lane have as their bus.
_SOURCE = Case(When(bus="", then=_Server("name")), default=F("bus"), output_field=TextField())
_BEGIN = Case(When(name__endswith="#fills", then=Value(FILLS)), default=Value(SIGNALS))


def _letters(source: Any, begin: Any) -> QuerySet[Any]:
    """Return the messages of a lane that wait for a decision. source: their bus or its server."""
    dead = BusMessage.objects.dead().annotate(server=_Server("bus"), source=source)
    return dead.filter(Q(bus=F("source")) | Q(server=F("source")), subject__startswith=begin)


def with_letters(lanes: QuerySet[BusLane]) -> QuerySet[Any]:
    """Return lanes with `letters`: how many of their messages wait for a decision."""
    own = _letters(OuterRef("source"), OuterRef("begin")).order_by()
    counted = own.values("source").annotate(count=Count("pk")).values("count")
    letters = Coalesce(Subquery(counted), 0)
    return lanes.annotate(source=_SOURCE, begin=_BEGIN).annotate(letters=letters)


def newest_letters(lane: BusLane) -> list[BusMessage]:
    """Return the newest messages of a lane that were not carried out and wait for a decision."""
    source = BusLane.objects.filter(pk=lane.pk).values(source=_SOURCE)
    own = _letters(Subquery(source), lane.subjects)
    return list(own.defer("body").order_by("-pk")[:NEWEST_LETTERS])


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
