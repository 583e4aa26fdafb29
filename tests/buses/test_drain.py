"""A sink gets each event once confirmed, whatever its bus does, and stops no other one."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from buses import drain as drain_module
from buses import sources
from buses.drain import Drain, Step
from buses.envelope import Envelope
from buses.models import BusSink, DeadLetter, SinkCursor
from buses.reading import first_id_since
from buses.sinks import SinkRefused, SinkUnavailable
from buses.sources import SOURCES
from events.models import Event, EventKind
from events.services import emit
from tests.buses.factories import MemorySink

OUTBOX = tuple(source for source in SOURCES if source.name == "outbox")
pytestmark = pytest.mark.usefixtures("inline_commits")


def happen(count: int = 1) -> None:
    """Write notices, numbered from the newest one on."""
    from django.db import transaction

    for _ in range(count):
        with transaction.atomic():
            emit(EventKind.KILL_SWITCH, payload={"number": Event.objects.count() + 1})


def drain_of(sink: MemorySink, **more: Any) -> Drain:
    return Drain(sink, holder=more.pop("holder", "one"), sources=OUTBOX, **more)


@pytest.fixture
def sink(db: None) -> MemorySink:
    Event.objects.all().delete()
    sink = MemorySink()
    drain_of(sink).step()
    return sink


def numbers(sink: MemorySink) -> list[int]:
    return [one.data["payload"]["number"] for one in sink.taken]


def state(name: str = "memory") -> BusSink:
    return BusSink.objects.get(name=name)


def test_events_are_delivered_in_batches(sink: MemorySink) -> None:
    happen(5)
    drain = drain_of(sink, batch=2)
    assert [drain.step() for _ in range(4)] == [
        Step(delivered=2, is_more=True),
        Step(delivered=2, is_more=True),
        Step(delivered=1),
        Step(),
    ]
    assert numbers(sink) == [1, 2, 3, 4, 5]
    assert (state().delivered, state().is_behind) == (5, False)


def test_killed_between_write_and_advance_sends_same_ids_again(
    sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(2)
    with monkeypatch.context() as patch:
        patch.setattr(Drain, "_advance", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            drain_of(sink).step()
    drain_of(sink).step()
    first, second = sink.batches
    assert [one.id for one in first] == [one.id for one in second]
    assert first == second


def test_dead_bus_is_retried_later_and_less_at_once(sink: MemorySink) -> None:
    happen(8)
    sizes: list[int] = []

    def fail(events: Sequence[Envelope]) -> None:
        sizes.append(len(events))
        raise SinkUnavailable("no route")

    sink.before = fail
    drain = drain_of(sink, batch=8)
    waits = [drain.step().retry_seconds for _ in range(12)]
    assert sizes[:5] == [8, 4, 2, 1, 1]
    assert waits[0] <= 1.0 < 45.0 <= waits[-1] <= 60.0
    assert (state().failures, state().last_error, state().is_behind) == (12, "no route", True)
    sink.before = None
    while drain.step().is_more:
        pass
    assert numbers(sink) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (state().failures, state().last_error) == (0, "no route")


def test_unknown_error_of_a_sink_counts_as_unavailable(sink: MemorySink) -> None:
    happen()
    sink.before = lambda _: dict[str, None]()["no such"]
    assert drain_of(sink).step().retry_seconds > 0
    assert "KeyError" in state().last_error
    assert SinkCursor.objects.get(sink__name="memory").last_id < Event.objects.get().pk


def test_refused_event_becomes_a_dead_letter(sink: MemorySink) -> None:
    happen(3)

    def refuse(events: Sequence[Envelope]) -> None:
        for event in events:
            if event.data["payload"]["number"] == 2:
                raise SinkRefused(event.id, "too large")

    sink.before = refuse
    assert drain_of(sink).step().delivered == 2
    assert numbers(sink) == [1, 3]
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.type) == ("too large", "fillcast.notice.v1")
    assert drain_of(sink).step() == Step()  # nothing is sent again by itself


def test_replayed_dead_letter_is_the_same_event(sink: MemorySink) -> None:
    happen()
    sink.before = lambda events: (_ for _ in ()).throw(SinkRefused(events[0].id, "no"))
    drain_of(sink).step()
    DeadLetter.objects.update(replay_requested_at=timezone.now())
    drain_of(sink).step()  # refused a second time
    assert DeadLetter.objects.get().replay_requested_at is None
    sink.before = None
    DeadLetter.objects.update(replay_requested_at=timezone.now())
    assert drain_of(sink).step().delivered == 1
    letter = DeadLetter.objects.get()
    assert letter.replayed_at is not None
    (event,) = sink.taken
    assert (event.id, event.data["payload"]) == (letter.envelope_id, {"number": 1})


def test_refusal_of_an_unknown_event_is_no_refusal(sink: MemorySink) -> None:
    happen()
    sink.before = lambda _: (_ for _ in ()).throw(SinkRefused("another", "no"))
    assert drain_of(sink).step().retry_seconds > 0
    assert not DeadLetter.objects.exists()


def test_row_that_makes_no_event_stops_no_other_one(
    sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(4)
    bad = Event.objects.order_by("pk")[1].pk
    envelope = sources._envelope

    def fail(source: Any, made: Any, epochs: Any) -> Envelope:
        if made.row_id == bad:
            raise ValueError("a bug")
        return envelope(source, made, epochs)

    monkeypatch.setattr(sources, "_envelope", fail)
    assert drain_of(sink).step().delivered == 3
    assert numbers(sink) == [1, 3, 4]
    letter = DeadLetter.objects.get()
    assert letter.reason == "ValueError: a bug"
    monkeypatch.undo()
    DeadLetter.objects.update(replay_requested_at=timezone.now())
    drain_of(sink).step()  # it is made again, now by mended code
    assert numbers(sink) == [1, 3, 4, 2]


def test_database_error_while_reading_is_no_fault_of_a_row(
    sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(3)

    def fail(*_: Any) -> Envelope:
        raise OperationalError("terminating connection")

    with monkeypatch.context() as patch:
        patch.setattr(sources, "_envelope", fail)
        with pytest.raises(OperationalError):
            drain_of(sink).step()
    assert not DeadLetter.objects.exists()
    drain_of(sink).step()
    assert numbers(sink) == [1, 2, 3]


def test_paused_sink_reads_nothing_and_catches_up(sink: MemorySink) -> None:
    BusSink.objects.update(paused_at=timezone.now())
    happen(2)
    assert drain_of(sink).step() == Step(is_paused=True)
    BusSink.objects.update(paused_at=None)
    drain_of(sink).step()
    assert numbers(sink) == [1, 2]


def test_sink_is_drained_by_one_process_at_a_time(sink: MemorySink) -> None:
    happen()
    assert drain_of(sink, holder="two").step() == Step(is_elsewhere=True)
    drain_of(sink).release()
    assert drain_of(sink, holder="two").step().delivered == 1
    assert drain_of(sink).step() == Step(is_elsewhere=True)


def test_expired_holder_does_not_advance(sink: MemorySink) -> None:
    happen()
    other = MemorySink()

    def stall(_: Sequence[Envelope]) -> None:
        """The lease ends while the bus takes its time, and another process delivers."""
        BusSink.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        drain_of(other, holder="two").step()
        happen()

    sink.before = stall
    assert drain_of(sink).step() == Step(is_elsewhere=True)
    drain_of(other, holder="two").step()
    assert numbers(other) == [1, 2]


def test_rewound_sink_delivers_again_since_then(sink: MemorySink) -> None:
    happen(4)
    drain_of(sink).step()
    third = Event.objects.order_by("pk")[2]
    BusSink.objects.update(rewind_to=third.created_at)
    drain_of(sink).step()
    assert numbers(sink) == [1, 2, 3, 4, 3, 4]
    assert state().rewind_to is None
    ids = [one.id for one in sink.taken]
    assert ids[2:4] == ids[4:]


def test_rewound_sink_still_reads_what_was_missing_before(sink: MemorySink) -> None:
    """The first event was being written when the others were delivered."""
    happen(3)
    drain_of(sink).step()
    first, _, third = Event.objects.order_by("pk")
    SinkCursor.objects.update(gaps=[{"ranges": [[first.pk, first.pk]], "writers": []}])
    BusSink.objects.update(rewind_to=third.created_at)
    drain_of(sink).step()
    assert numbers(sink) == [1, 2, 3, 1, 3]


def test_rewind_that_is_asked_for_during_another_is_carried_out_next(
    sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(3)
    drain_of(sink).step()
    _, second, third = Event.objects.order_by("pk")
    BusSink.objects.update(rewind_to=third.created_at)

    def ask_for_more(*of: Any) -> int:
        BusSink.objects.update(rewind_to=second.created_at)
        return first_id_since(*of)

    with monkeypatch.context() as patched:
        patched.setattr(drain_module, "first_id_since", ask_for_more)
        drain_of(sink).step()
    drain_of(sink).step()
    assert numbers(sink) == [1, 2, 3, 3, 2, 3]


def test_lag_is_the_age_of_what_was_not_delivered(sink: MemorySink) -> None:
    happen(3)
    drain_of(sink, batch=1).step()
    first = Event.objects.order_by("pk")[0]
    assert (state().read_to, state().is_behind) == (first.created_at, True)


def test_longest_retry_is_a_minute() -> None:
    assert drain_module.LONGEST_RETRY_SECONDS == 60
