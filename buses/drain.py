"""Deliver events to one sink: read by its cursor, write, and advance once the bus has confirmed.

A crash between the write and the advance sends the batch again with the same ids. Nothing here
runs in a process that trades, and nothing locks a row that trading uses.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import structlog
from django.db import transaction
from django.db.models import Case, F, Q, When
from django.utils.dateparse import parse_datetime

from buses.envelope import Envelope
from buses.foreign import error_of
from buses.gaps import Gaps
from buses.models import BusSink, DeadLetter, SinkCursor
from buses.reading import first_id_since, newest_id, read_ids
from buses.sinks import Sink, SinkRefused, SinkUnavailable
from buses.sources import SOURCES, Broken, Source, read
from common.db.functions import ClockTimestamp
from common.db.sql import database_now
from common.process.call_figures import FAILED, FIGURES, OK, Kind

log = structlog.get_logger(__name__)

BATCH = 500  # rows of each source in one write
LEASE_SECONDS = 60  # longer than a sink may take for one write
RENEW_SECONDS = 5.0  # a sink with nothing to do writes as seldom
LONGEST_RETRY_SECONDS = 60.0
REPLAYS_AT_ONCE = 100
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did. delivered: events confirmed. is_more: there is more to read now.

    retry_seconds: how long to wait after a failure; 0: there was none.
    """

    delivered: int = 0
    is_more: bool = False
    retry_seconds: float = 0.0
    is_paused: bool = False
    is_elsewhere: bool = False


class _Batch(NamedTuple):
    """What was read: the events, where the cursors are after them, whether there is more."""

    events: list[Envelope | Broken]
    cursors: dict[str, Gaps]
    is_more: bool
    read_to: datetime


class LostLeaseError(Exception):
    """Another process has taken the sink over."""


class Drain:
    """Delivers to one sink, in steps."""

    def __init__(
        self, sink: Sink, *, holder: str, sources: Sequence[Source] = SOURCES, batch: int = BATCH
    ) -> None:
        """holder: a name of this process that no other one has."""
        self.sink, self._holder, self._sources = sink, holder, sources
        self._batch = self._limit = batch
        self._renewed = self._stored = -math.inf  # monotonic

    def step(self) -> Step:
        """Deliver one batch. Never raises for a bus that fails; raises DatabaseError."""
        state = self._claim()
        if isinstance(state, Step):
            return state
        if state.rewind_to is not None:
            _rewind(state, state.rewind_to, self._sources)
        try:
            replayed = self._replay(state)
            batch = self._read(state)
            delivered = self._write(state, batch.events)
            self._advance(state, batch, delivered + replayed)
        except SinkUnavailable as error:
            return self._failed(state, str(error) or "The bus does not answer.")
        except LostLeaseError:
            return Step(is_elsewhere=True)
        self._limit = min(self._batch, self._limit * 2)
        return Step(delivered=delivered + replayed, is_more=batch.is_more)

    def release(self) -> None:
        """Let another process take the sink over at once."""
        mine = BusSink.objects.filter(name=self.sink.name, holder=self._holder)
        mine.update(holder="", lease_until=None)

    def _claim(self) -> BusSink | Step:
        """Take or renew the lease; a sink that is seen first begins with what happens from now."""
        state, _ = BusSink.objects.get_or_create(name=self.sink.name)
        now = time.monotonic()
        if now - self._renewed < RENEW_SECONDS and self._is_held(state):
            return state
        free = Q(holder=self._holder) | Q(lease_until=None) | Q(lease_until__lt=ClockTimestamp())
        taken = BusSink.objects.filter(free, pk=state.pk, paused_at=None).update(
            holder=self._holder,
            lease_until=ClockTimestamp() + timedelta(seconds=LEASE_SECONDS),
            fence=F("fence") + Case(When(holder=self._holder, then=0), default=1),
        )
        state.refresh_from_db()
        if state.paused_at is not None:
            return Step(is_paused=True)
        if not taken:
            return Step(is_elsewhere=True)
        self._renewed = now
        known = set(state.cursors.values_list("source", flat=True))
        SinkCursor.objects.bulk_create(
            [
                SinkCursor(sink=state, source=source.name, last_id=newest_id(source.model))
                for source in self._sources
                if source.name not in known
            ],
            ignore_conflicts=True,
        )
        return state

    def _is_held(self, state: BusSink) -> bool:
        """Return whether the lease, which was renewed recently, is still this process's."""
        return state.holder == self._holder and state.paused_at is None

    def _read(self, state: BusSink) -> _Batch:
        started = database_now()
        events: list[Envelope | Broken] = []
        cursors: dict[str, Gaps] = {}
        is_more = False
        stored = {row.source: row for row in state.cursors.all()}
        for source in self._sources:
            row = stored[source.name]
            before = Gaps.read(row.last_id, row.gaps)
            found = read_ids(source.model, before, self._limit)
            if found.gaps != before:
                cursors[source.name] = found.gaps
            events += read(source, found.ids)
            is_more = is_more or found.is_more
        times = [event.time for event in events if isinstance(event, Envelope)]
        return _Batch(events, cursors, is_more, max(times) if is_more and times else started)

    def _write(self, state: BusSink, events: Sequence[Envelope | Broken]) -> int:
        """Write all that the bus takes; return how many. The others become dead letters."""
        for event in events:
            if isinstance(event, Broken):
                where = {"row": event.envelope_id}
                _bury(state, event.envelope_id, "", event.reason, where)
        left = [event for event in events if isinstance(event, Envelope)]
        while left:
            try:
                self._deliver(left)
            except SinkRefused as refusal:
                refused = [event for event in left if event.id == refusal.envelope_id]
                if not refused:
                    text = f"The bus refused an event that it was not sent: {refusal}"
                    raise SinkUnavailable(text) from refusal
                for event in refused:
                    _bury(state, event.id, event.type, refusal.reason, _stored(event))
                left = [event for event in left if event.id != refusal.envelope_id]
            else:
                break
        return len(left)

    def _deliver(self, events: Sequence[Envelope]) -> None:
        """Write, and count how long that took and how it ended. Raises as `_call`."""
        began, outcome = time.monotonic(), FAILED
        try:
            _call(self.sink.write, events)
            outcome = OK
        except SinkRefused:
            outcome = "refused"
            raise
        finally:
            FIGURES.count(Kind.BUS, self.sink.name, "", outcome, time.monotonic() - began)

    def _advance(self, state: BusSink, batch: _Batch, delivered: int) -> None:
        now, is_quiet = time.monotonic(), not (delivered or batch.cursors or state.failures)
        if is_quiet and not state.is_behind and now - self._stored < RENEW_SECONDS:
            return  # nothing happened: its time is stored now and then
        self._stored = now
        with transaction.atomic():
            mine = BusSink.objects.filter(pk=state.pk, holder=self._holder, fence=state.fence)
            is_mine = mine.update(
                delivered=F("delivered") + delivered,
                read_to=batch.read_to,
                is_behind=batch.is_more,
                failures=0,
                retry_at=None,
                **({"last_success_at": ClockTimestamp()} if delivered else {}),
            )
            if not is_mine:
                raise LostLeaseError
            for source, gaps in batch.cursors.items():
                state.cursors.filter(source=source).update(last_id=gaps.last_id, gaps=gaps.stored())

    def _failed(self, state: BusSink, error: str) -> Step:
        """Store the failure; the next batch is smaller, so that one event stops few others."""
        self._limit = max(1, self._limit // 2)
        failures = state.failures + 1
        wait = min(LONGEST_RETRY_SECONDS, 2.0 ** min(failures, 10) / 2)
        wait *= random.uniform(0.75, 1.0)
        BusSink.objects.filter(pk=state.pk, holder=self._holder, fence=state.fence).update(
            failures=failures,
            last_error=error[:MAX_REASON],
            last_error_at=ClockTimestamp(),
            retry_at=ClockTimestamp() + timedelta(seconds=wait),
            is_behind=True,
        )
        log.warning("bus does not take events", sink=self.sink.name, error=error[:MAX_REASON])
        return Step(retry_seconds=wait)

    def _replay(self, state: BusSink) -> int:
        """Write the dead letters that an operator wants to be sent again."""
        waiting = state.dead_letters.filter(replayed_at=None, replay_requested_at__isnull=False)
        count = 0
        for letter in waiting.order_by("pk")[:REPLAYS_AT_ONCE]:
            events = _read_again(letter)
            try:
                for event in events:
                    if isinstance(event, Broken):
                        raise SinkRefused(event.envelope_id, event.reason)
                    self._deliver([event])
            except SinkRefused as refusal:
                letter.reason, letter.replay_requested_at = refusal.reason[:MAX_REASON], None
                letter.save(update_fields=["reason", "replay_requested_at"])
            else:
                letter.replayed_at = database_now()
                letter.save(update_fields=["replayed_at"])
                count += len(events)
        return count


def _call(write: Callable[[Sequence[Envelope]], None], events: Sequence[Envelope]) -> None:
    """Write; any error that a sink does not explain means that nothing is known."""
    error = error_of(partial(write, events))
    if error is None:
        return
    if isinstance(error, SinkUnavailable | SinkRefused):
        raise error
    log.error("a sink failed in a way that it does not know", exc_info=error)
    raise SinkUnavailable(f"{type(error).__name__}: {error}") from error


def _bury(state: BusSink, envelope_id: str, kind: str, reason: str, stored: Any) -> None:
    DeadLetter.objects.update_or_create(
        sink=state,
        envelope_id=envelope_id,
        defaults={"type": kind, "reason": reason[:MAX_REASON], "envelope": stored},
    )


def _stored(event: Envelope) -> dict[str, Any]:
    return asdict(event) | {"time": event.time.isoformat()}


def _read_again(letter: DeadLetter) -> list[Envelope | Broken]:
    """Return what a dead letter is to deliver: itself, or what can be made of its row by now."""
    stored = letter.envelope
    if "row" not in stored:
        return [Envelope(**(stored | {"time": parse_datetime(stored["time"])}))]
    name, _, row_id = stored["row"].rpartition("-")
    source = next(one for one in SOURCES if one.name == name)
    return read(source, [int(row_id)])


def _rewind(state: BusSink, to: datetime, sources: Sequence[Source]) -> None:
    """Move the cursors back to a time, so that everything since is delivered again."""
    with transaction.atomic():
        for row in state.cursors.select_for_update():
            source = next((one for one in sources if one.name == row.source), None)
            if source is None:
                continue
            last_id = first_id_since(source.model, source.time, to) - 1
            if last_id < row.last_id:
                below = Gaps.read(row.last_id, row.gaps).below(last_id)
                row.last_id, row.gaps = last_id, below.stored()
                row.save(update_fields=["last_id", "gaps"])
        BusSink.objects.filter(pk=state.pk, rewind_to=to).update(rewind_to=None)
