"""What operators learn of buses from which nothing comes in: doctor, metrics, alarms, health."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from buses import alarm, receiver
from buses.alarm import any_to_report, watch
from buses.incoming import reception
from buses.incoming.intake import Answer, Message, take
from buses.incoming.lanes import LANES_OF, configured_lanes
from buses.incoming.models import BusLane, BusMessage, MessageState
from buses.incoming.reception import Lane
from buses.receiver import Receiver
from buses.sinks import SinkUnavailable
from common.db.sql import Query, database_now, rows
from common.process.readiness import ALIVE
from events.context import EventContext
from events.messages import built_in_message
from events.models import Event
from ops import health
from ops.doctor.buses import buses
from ops.doctor.verdicts import FAIL, OK, WARN
from tests.until import until

URL, NAME = "nats://u:secret@h/S", "nats://h/S"
LANES = [f"{NAME}#signals", f"{NAME}#fills"]


@pytest.fixture
def configured(settings: Any) -> None:
    settings.INCOMING_BUSES = (URL,)


@pytest.fixture
def received(db: None, configured: None) -> list[BusLane]:
    now = timezone.now()
    return [BusLane.objects.create(name=name, polled_at=now) for name in LANES]


def kinds() -> list[str]:
    """Return the kinds of the events that one round of the watch writes."""
    before = set(Event.objects.values_list("pk", flat=True))
    is_due = bool(rows(*any_to_report())[0].is_due)
    written = watch()
    assert is_due == bool(written) or not written
    return sorted(Event.objects.exclude(pk__in=before).values_list("kind", flat=True))


def metric(name: str, settings: Any) -> dict[str, float]:
    settings.FILLCAST_METRICS_TOKEN = "t" * 32
    text = Client().get("/metrics", headers={"Authorization": "Bearer " + "t" * 32}).text
    found = [line for line in text.splitlines() if line.startswith(f"fillcast_{name}{{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in found}


def test_lanes_have_the_names_of_the_receiver(settings: Any) -> None:
    settings.INCOMING_BUSES = (URL, "clickhouse://u:secret@c:8123/d")
    assert configured_lanes() == [name for name, _ in receiver.configured()]
    assert set(LANES_OF) == set(receiver.LANES_BY_URL)


@pytest.mark.django_db
def test_doctor_finds_lanes_that_were_never_received(configured: None) -> None:
    assert [(one.result, one.detail) for one in buses()] == [
        (FAIL, f"{name} has never been received.") for name in LANES
    ]


@pytest.mark.parametrize(
    ("changes", "result", "detail"),
    [
        ({}, OK, "is received"),
        ({"polled_at": timezone.now() - timedelta(hours=1)}, FAIL, "was last received"),
        ({"failures": 3, "last_error": "no route"}, WARN, "cannot be reached: no route"),
    ],
)
def test_doctor_judges_each_lane(
    received: list[BusLane], changes: dict[str, Any], result: Any, detail: str
) -> None:
    BusLane.objects.filter(name=LANES[0]).update(**changes)
    found = {one.detail: one.result for one in buses()}
    assert [one for text, one in found.items() if LANES[0] in text and detail in text] == [result]


def test_doctor_without_the_setting_judges_what_is_stored(
    received: list[BusLane], settings: Any
) -> None:
    settings.INCOMING_BUSES = ()
    BusLane.objects.update(polled_at=timezone.now() - timedelta(hours=1))
    assert [one.result for one in buses()] == [FAIL, FAIL]


def test_doctor_finds_dead_letters_that_came_in(received: list[BusLane]) -> None:
    take(Message(NAME, "m-1", "signals.approved.x", b"{}", database_now()))
    assert WARN in [one.result for one in buses() if "1 message was not carried out" in one.detail]


def test_metrics_name_lanes_and_dead_letters(received: list[BusLane], settings: Any) -> None:
    BusLane.objects.filter(name=LANES[0]).update(
        created_at=timezone.now() - timedelta(days=1),
        polled_at=timezone.now() - timedelta(seconds=90),
    )
    BusLane.objects.create(name="old", ended_at=timezone.now())
    take(Message(NAME, "m-1", "signals.approved.x", b"{}", database_now()))
    ages = metric("bus_not_received_seconds", settings)
    assert set(ages) == set(LANES)
    assert ages[LANES[0]] >= 90
    assert ages[LANES[1]] < 60
    assert metric("bus_incoming_dead_letters", settings) == {NAME: 1.0}


@pytest.mark.django_db
def test_receiver_that_was_never_started_is_reported(configured: None) -> None:
    assert kinds() == []
    assert set(BusLane.objects.values_list("name", flat=True)) == set(LANES)
    BusLane.objects.update(created_at=timezone.now() - timedelta(seconds=300))
    assert kinds() == ["bus.not_received"] * 2
    assert kinds() == []
    event = Event.objects.filter(kind="bus.not_received").order_by("pk")[0]
    assert (event.user_id, event.payload["bus"] in LANES) == (None, True)


def test_lane_that_is_received_again_is_reported(received: list[BusLane]) -> None:
    assert kinds() == []
    long_ago = timezone.now() - timedelta(seconds=300)
    BusLane.objects.update(created_at=long_ago)
    BusLane.objects.filter(name=LANES[0]).update(polled_at=long_ago, last_error="refused")
    assert kinds() == ["bus.not_received"]
    assert Event.objects.get(kind="bus.not_received").payload["error"] == "refused"
    BusLane.objects.update(polled_at=timezone.now())
    assert kinds() == ["bus.received"]
    assert kinds() == []


def test_lane_that_is_not_configured_any_more_is_not_reported(
    received: list[BusLane], settings: Any
) -> None:
    BusLane.objects.update(
        created_at=timezone.now() - timedelta(days=1), polled_at=timezone.now() - timedelta(days=1)
    )
    settings.INCOMING_BUSES = ()
    assert kinds() == []
    assert metric("bus_not_received_seconds", settings) == {}
    assert [one.result for one in buses()] == [OK]


def test_dead_letters_are_reported_once_by_subject(received: list[BusLane]) -> None:
    for number in range(3):
        take(Message(NAME, f"m-{number}", "signals.approved.x", b"{}", database_now()))
    take(Message(NAME, "m-1", "mt5.fills.y", b"{}", database_now()))
    assert kinds() == ["bus.message_refused"] * 2
    found = {one.payload["subject"]: one.payload for one in Event.objects.all()}
    assert found["signals.approved.x"]["count"] == 3
    assert found["signals.approved.x"]["code"] == "SUBJECT_UNKNOWN"
    assert kinds() == []
    assert BusMessage.objects.dead().count() == 4


def test_dead_letters_that_follow_within_an_hour_are_one_report(
    received: list[BusLane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm, "MOST_LETTERS", 2)

    def refused(*ids: int, subject: str = "signals.approved.x") -> None:
        for number in ids:
            take(Message(NAME, f"m-{number}", subject, b"{}", database_now()))

    refused(0)
    assert kinds() == ["bus.message_refused"]
    refused(1, 2)
    assert kinds() == []
    refused(3, subject="signals.approved.y")  # is not behind those that wait
    assert kinds() == ["bus.message_refused"]
    BusMessage.objects.filter(message_id="m-0").update(
        state=MessageState.DISCARDED, alerted_at=timezone.now() - timedelta(minutes=59)
    )
    assert kinds() == []
    BusMessage.objects.filter(message_id="m-0").update(
        alerted_at=timezone.now() - timedelta(minutes=61)
    )
    assert kinds() == ["bus.message_refused"]
    assert Event.objects.order_by("-pk")[0].payload["count"] == 2
    assert kinds() == []


def refused(subject: str, *contents: bytes) -> None:
    """Take messages that are not carried out, as there is no route."""
    for content in contents:
        take(Message(NAME, str(uuid4()), subject, content, database_now()))


@pytest.mark.parametrize(
    "content",
    [
        b'{"signal_type": "CLOSE"}',
        b'{"signal_type" : "close", "refers_to": "s',
        b'{"action":"CLOSE"}',
    ],
)
def test_close_that_follows_other_dead_letters_is_reported_at_once(
    received: list[BusLane], content: bytes
) -> None:
    refused("signals.approved.x", b'{"signal_type": "BUY"}')
    assert kinds() == ["bus.message_refused"]
    refused("signals.approved.x", b'{"signal_type": "SELL"}', content)
    assert kinds() == ["bus.message_refused"]
    event = Event.objects.latest("pk")
    assert (event.payload["closes"], event.payload["count"]) == (True, 1)
    sent = EventContext(1, event.kind, 1, None, None, None, event.payload, event.created_at)
    assert built_in_message(sent).title.startswith("A CLOSE was not carried out: signals.appr")


def test_second_close_is_reported_within_a_minute(received: list[BusLane]) -> None:
    close = b'{"signal_type": "CLOSE"}'
    refused("signals.approved.x", close)
    assert kinds() == ["bus.message_refused"]
    refused("signals.approved.x", close, close)
    assert kinds() == []  # a sender that is broken sends many
    BusMessage.objects.exclude(alerted_at=None).update(
        alerted_at=timezone.now() - timedelta(seconds=61)
    )
    assert kinds() == ["bus.message_refused"]
    assert Event.objects.latest("pk").payload["count"] == 2
    assert kinds() == []


class StubLane(Lane):
    """A lane that a test opens and closes."""

    name = LANES[0]

    def __init__(self) -> None:
        self.error: Exception | None = None

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        time.sleep(0.01)
        if self.error is not None:
            raise self.error
        return 0

    def close(self) -> None:
        """It holds nothing."""


@pytest.mark.django_db(transaction=True)
def test_health_is_red_for_a_lane_that_fails_beside_one_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, broken, stop = tmp_path / "alive", StubLane(), threading.Event()
    monkeypatch.setenv(ALIVE, str(file))
    monkeypatch.setattr(receiver, "UNHEALTHY_SECONDS", 0.2)
    monkeypatch.setattr(reception, "NOTE_SECONDS", 0.0)
    monkeypatch.setattr(reception, "LONGEST_RETRY_SECONDS", 0.01)
    running = Receiver([(LANES[0], lambda: broken), (LANES[1], StubLane)])
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        until(lambda: BusLane.objects.filter(polled_at__isnull=False).count() == 2)
        until(lambda: health.main(["alive"]) == 0)
        broken.error = SinkUnavailable("no route")
        until(lambda: health.main(["alive"]) == 1)
        assert health.main(["alive", "live"]) == 0  # a restart would not bring the bus back
        until(lambda: BusLane.objects.get(name=LANES[0]).last_error == "no route")
        assert BusLane.objects.get(name=LANES[1]).last_error == ""
        broken.error = None
        until(lambda: health.main(["alive"]) == 0)
        until(lambda: BusLane.objects.get(name=LANES[0]).failures == 0)
    finally:
        stop.set()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_replays_go_on_after_an_unexpected_error_which_health_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, stop, error = tmp_path / "alive", threading.Event(), [RuntimeError("ours")]

    def replay() -> None:
        if error:
            raise error[0]

    monkeypatch.setenv(ALIVE, str(file))
    monkeypatch.setattr(receiver, "UNHEALTHY_SECONDS", 0.2)
    monkeypatch.setattr(reception, "NOTE_SECONDS", 0.0)
    monkeypatch.setattr(receiver, "REPLAY_SECONDS", 0.01)
    monkeypatch.setattr(receiver, "replay_requested", replay)
    thread = threading.Thread(target=Receiver([(LANES[0], StubLane)]).run, args=(stop,))
    thread.start()
    try:
        until(lambda: file.exists() and file.read_text() == "no replays")
        assert health.main(["alive"]) == 1
        error.clear()
        until(lambda: health.main(["alive"]) == 0)
    finally:
        stop.set()
        thread.join()


@pytest.mark.django_db
def test_database_is_identified_on_a_host_that_hides_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = connection.settings_dict["NAME"]
    assert receiver.identity().partition("/")[::2] == (ANY, name)
    hidden = receiver.IDENTITY.replace("pg_control_system()", "not_allowed()")
    monkeypatch.setattr(receiver, "IDENTITY", Query(receiver.Identity, hidden))
    assert receiver.identity() == f"/{name}"
