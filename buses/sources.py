"""The tables that events are read from, and how their rows become envelopes.

Nothing is written for buses while trading: a line of the execution log, a fill, a position and an
event of the outbox exist anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.db import models

from buses import order_events, outbox_events, position_events
from buses.catalogue import EventData, type_of
from buses.envelope import Envelope
from buses.foreign import OUR_FAULTS
from buses.made import Made
from buses.models import Announcement
from common.money import plain
from connections.models import Epoch
from events.models import Event
from execution.models import ExecutionLog, Fill
from positions.models import ExecutionPosition

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that no event could be made of: our own fault, for the dead letters."""

    envelope_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """One table.

    time: its column that says when a row was written, about. make: reads rows by their ids and
    makes events of them.
    """

    name: str
    model: type[models.Model]
    time: str
    make: Callable[[Sequence[int]], Iterator[Made]]


SOURCES: tuple[Source, ...] = (
    Source("log", ExecutionLog, "at", order_events.of_lines),
    Source("fills", Fill, "recorded_at", order_events.of_fills),
    Source("positions", ExecutionPosition, "opened_at", position_events.of_new_positions),
    Source("outbox", Event, "created_at", outbox_events.of_events),
    Source("announcements", Announcement, "at", outbox_events.of_announcements),
)
"""In the order in which one batch has them: what an order did comes before what followed."""


def read(source: Source, ids: Sequence[int]) -> list[Envelope | Broken]:
    """Return the events of these rows. A row that is gone by now has none."""
    if not ids:
        return []
    epochs = _Epochs()
    try:
        return [_envelope(source, one, epochs) for one in source.make(ids)]
    except OUR_FAULTS as error:
        if len(ids) == 1:
            log.exception("no event could be made", source=source.name, row=ids[0])
            return [Broken(f"{source.name}-{ids[0]}", f"{type(error).__name__}: {error}"[:500])]
        middle = len(ids) // 2  # by halves: the others of the batch go on
        return [*read(source, ids[:middle]), *read(source, ids[middle:])]


class _Epochs:
    """Which epoch of the database a row belongs to: after a restore ids may come a second time."""

    def __init__(self) -> None:
        found = Epoch.objects.order_by("-number").values_list("number", "since", "lineage")
        self._epochs = list(found)

    def name_at(self, at: datetime) -> str:
        """Return a short name of the epoch of a row of this time."""
        for number, since, lineage in self._epochs:
            if since <= at or number == self._epochs[-1][0]:
                return f"{str(lineage)[:8]}-{number}"
        return "0-0"


def _envelope(source: Source, made: Made, epochs: _Epochs) -> Envelope:
    tag = settings.FILLCAST_INSTALLATION_TAG
    suffix = f"-{made.part}" if made.part else ""
    return Envelope(
        id=f"{tag}-{epochs.name_at(made.time)}-{source.name}-{made.row_id}{suffix}",
        source=f"/fillcast/{tag}",
        type=type_of(made.event),
        time=made.time,
        subject=made.subject,
        account_id=made.account_id,
        tenant_id=made.tenant_id,
        data=as_json(made.event),
    )


def as_json(event: EventData) -> dict[str, Any]:
    """Return an event's fields as JSON: amounts as decimal text, times as RFC 3339 in UTC."""
    data = {}
    kind: Any = type(event)
    for name in _names(kind):
        value = getattr(event, name)
        as_text = _TEXTS.get(type(value))
        data[name] = as_text(value) if as_text else value
    return data


@cache
def _names(event: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(event))


_TEXTS: dict[type, Callable[[Any], str]] = {
    Decimal: plain,
    datetime: lambda at: str(at.isoformat(timespec="microseconds")),
    date: date.isoformat,
}
