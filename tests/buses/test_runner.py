"""The process that drains all sinks: none waits for another one."""

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from buses.envelope import Envelope
from buses.models import BusSink, DeadLetter
from buses.runner import Runner, configured
from buses.sinks import Sink, SinkMisconfigured, SinkUnavailable
from events.models import EventKind
from events.services import emit
from tests.buses.factories import MemorySink
from tests.until import until


def itself(sink: Sink) -> Sink:
    return sink


def fail_to_open() -> Sink:
    raise SinkMisconfigured("nats-py is not installed")


@pytest.mark.django_db(transaction=True)
def test_hanging_dead_and_broken_buses_delay_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = tmp_path / "alive"
    monkeypatch.setenv("FILLCAST_ALIVE_FILE", str(alive))
    healthy, hanging, dead = MemorySink("healthy"), MemorySink("hanging"), MemorySink("dead")
    hangs, over = threading.Event(), threading.Event()

    def hang(_: Sequence[Envelope]) -> None:
        hangs.set()
        over.wait(120)

    def die(_: Sequence[Envelope]) -> None:
        raise SinkUnavailable("no route")

    hanging.before, dead.before = hang, die
    sinks = [(sink.name, partial(itself, sink)) for sink in (hanging, dead, healthy)]
    runner = Runner([("broken", fail_to_open), *sinks])
    stop = threading.Event()
    thread = threading.Thread(target=runner.run, args=(stop,))
    thread.start()
    try:
        until(lambda: BusSink.objects.filter(cursors__source="announcements").count() == 3)
        with transaction.atomic():
            emit(EventKind.KILL_SWITCH)
        assert hangs.wait(120)
        until(lambda: len(healthy.taken) == 1)
        with transaction.atomic():
            emit(EventKind.KILL_SWITCH)
        until(lambda: len(healthy.taken) == 2)
        until(lambda: BusSink.objects.get(name="dead").failures > 0)
        until(lambda: BusSink.objects.get(name="broken").last_error == "nats-py is not installed")
        assert hanging.taken == []
        alive.unlink()
        until(alive.exists)  # for the health check of its container
    finally:
        over.set()
        stop.set()
        thread.join(120)
    assert healthy.is_closed
    assert BusSink.objects.get(name="healthy").holder == ""
    assert not DeadLetter.objects.exists()


def test_sink_named_twice_is_refused(settings: Any) -> None:
    settings.SINKS = ("redis+stream://a:b@h/s", "redis+stream://h/s?maxlen=5")
    with pytest.raises(SinkMisconfigured, match="names redis\\+stream://h/s twice"):
        configured()


def test_command_without_buses_says_what_to_set(settings: Any) -> None:
    settings.SINKS = ()
    with pytest.raises(CommandError, match="set FILLCAST_BUSES"):
        call_command("buses")
