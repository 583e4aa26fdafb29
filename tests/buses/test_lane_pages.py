"""What operators see of the lanes from buses, and do with them."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from buses import receiver
from buses.alarm import any_to_report, watch
from buses.incoming import reception
from buses.incoming.intake import Answer, Message, take
from buses.incoming.lanes import Progress, note_success, resume, with_letters
from buses.incoming.models import BusLane, BusMessage, MessageState
from buses.incoming.reception import Lane
from buses.receiver import Receiver
from common.db.sql import database_now, rows
from common.models import TrailLine
from common.permissions import Role
from events.models import Event
from ops.doctor.buses import buses
from ops.doctor.verdicts import WARN
from tests.html import html_of
from tests.roles import staff
from tests.until import until

BUS = "nats://h/S"
SIGNALS, FILLS = f"{BUS}#signals", f"{BUS}#fills"
LIST = "/admin/buses/buslane/"
MESSAGES = "/admin/buses/busmessage/"


@pytest.fixture
def lanes(db: None, settings: Any) -> dict[str, BusLane]:
    settings.INCOMING_BUSES = (BUS,)
    now = timezone.now()
    for name in (SIGNALS, FILLS):
        BusLane.objects.create(name=name, bus=BUS, polled_at=now, position="S, message 7")
    return {lane.name: lane for lane in BusLane.objects.all()}


def signed_in(*roles: Role) -> Client:
    client = Client()
    client.force_login(staff(*roles))
    return client


def refused(subject: str, message_id: str) -> BusMessage:
    take(Message(BUS, message_id, subject, b"{}", database_now()))
    return BusMessage.objects.get(message_id=message_id)


def page(client: Client, path: str) -> str:
    return html_of(client.get(path))


def act(client: Client, path: str, action: str, *chosen: Any) -> None:
    data = {"action": action, "_selected_action": [row.pk for row in chosen]}
    assert client.post(path, data).status_code == 302


def test_lane_list_states_reception_position_and_letters(lanes: dict[str, BusLane]) -> None:
    for number in range(3):
        refused("signals.approved.x", f"m-{number}")
    refused("mt5.fills.y", "fill-one")
    note_success(SIGNALS, Progress(BUS, "S, message 12"), timezone.now())
    BusLane.objects.filter(name=FILLS).update(failures=2, last_error="no route to it")
    BusLane.objects.create(name="nats://old/S#fills", ended_at=timezone.now())
    shown = page(signed_in(Role.SUPPORT), LIST)
    for text in ("Received", "S, message 12", "Fails (2)", "no route to it", "Not configured"):
        assert text in shown
    assert "subject__startswith=signals.approved." in shown
    assert "subject__startswith=mt5.fills." in shown


def test_lane_page_has_letters_with_reason_and_next_step(lanes: dict[str, BusLane]) -> None:
    refused("signals.approved.x", "m-1")
    refused("mt5.fills.y", "fill-one")
    shown = page(signed_in(Role.SUPPORT), f"{LIST}{lanes[SIGNALS].pk}/change/")
    assert "signals.approved.x m-1" in " ".join(shown.split())
    assert "No operator has let this subject of a bus in." in shown
    assert "An operator adds a route for it" in shown
    assert "fill-one" not in shown
    shown = page(signed_in(Role.SUPPORT), f"{LIST}{lanes[FILLS].pk}/change/")
    assert "mt5.fills.y fill-one" in " ".join(shown.split())


@pytest.mark.parametrize("bus", [BUS, "nats://h:4222/OTHER"])
def test_lane_that_was_never_polled_has_the_letters_of_its_server(
    db: None, settings: Any, bus: str
) -> None:
    """It is known what its messages have as their bus when it was polled: not of old lanes."""
    settings.INCOMING_BUSES = ()
    row = BusLane.objects.create(name=SIGNALS, ended_at=timezone.now())
    BusLane.objects.create(name=FILLS)
    BusLane.objects.create(name="nats://h:4333/S#signals")
    for number, (where, subject) in enumerate([
        (bus, "signals.approved.x"), (bus, "mt5.fills.y"),
        ("nats://h:4333/S", "signals.approved.x"), ("nats://h:4333/S", "signals.approved.z"),
    ]):  # fmt: skip
        take(Message(where, f"m-{number}", subject, b"{}", database_now()))
    counted = dict(with_letters(BusLane.objects.all()).values_list("name", "letters"))
    assert counted == {SIGNALS: 1, FILLS: 1, "nats://h:4333/S#signals": 2}
    client = signed_in(Role.SUPPORT)
    shown = page(client, f"{LIST}{row.pk}/change/")
    assert "signals.approved.x m-0" in " ".join(shown.split())
    assert "m-2" not in shown
    (address,) = re.findall(r'<a href="(/admin/buses/busmessage/\?[^"]+)', shown)
    assert "m-0" in page(client, html.unescape(address))


def test_lane_that_is_not_received_states_what_to_do(lanes: dict[str, BusLane]) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    BusLane.objects.update(created_at=long_ago, polled_at=long_ago)
    shown = page(signed_in(Role.SUPPORT), f"{LIST}{lanes[SIGNALS].pk}/change/")
    assert "Not received" in shown
    assert "Start the process manage.py bus_receiver" in shown


def test_absent_lane_is_not_found(lanes: dict[str, BusLane]) -> None:
    client = signed_in(Role.SUPPORT)
    for key in ("10000000", "x", "9" * 30):
        assert client.get(f"{LIST}{key}/change/").status_code in (302, 404)


def test_page_of_buses_names_what_comes_in(lanes: dict[str, BusLane]) -> None:
    client = signed_in(Role.SUPPORT)
    shown = page(client, "/admin/buses/bussink/")
    assert all(name in shown for name in (SIGNALS, FILLS))
    BusLane.objects.all().delete()
    assert "Nothing comes in by a bus." in page(client, "/admin/buses/bussink/")


@pytest.mark.parametrize("path", [LIST, "/admin/buses/bussink/", "lane"])
def test_pages_need_as_many_statements_for_many_lanes(lanes: dict[str, BusLane], path: str) -> None:
    client = signed_in(Role.ADMINISTRATOR)
    path = f"{LIST}{lanes[SIGNALS].pk}/change/" if path == "lane" else path

    def statements() -> int:
        with CaptureQueriesContext(connection) as found:
            page(client, path)
        return len(found)

    refused("signals.approved.x", "m")
    statements()
    before = statements()
    BusLane.objects.bulk_create([BusLane(name=f"nats://{n}/S#signals", bus=BUS) for n in range(20)])
    for number in range(9):
        refused("signals.approved.x", f"m-{number}")
    assert statements() == before


def test_letters_of_a_lane_are_replayed_and_discarded(lanes: dict[str, BusLane]) -> None:
    one, other = refused("signals.approved.x", "m-1"), refused("signals.approved.x", "m-2")
    refused("mt5.fills.y", "fill-one")
    client = signed_in(Role.OPERATOR)
    found = f"{MESSAGES}?state__exact=DEAD&bus={BUS}&subject__startswith=signals.approved."
    shown = page(client, found)
    assert "m-1" in shown
    assert "fill-one" not in shown
    act(client, found, "replay", one)
    act(client, found, "discard", other)
    one.refresh_from_db()
    other.refresh_from_db()
    assert one.replay_requested_at is not None
    assert other.state == MessageState.DISCARDED
    trail = TrailLine.objects.filter(relation="buses_busmessage").order_by("pk")
    assert [line.row_id for line in trail] == [f"{one.pk}", f"{other.pk}"]
    assert [(line.after or {}).get("state") for line in trail] == [None, "DISCARDED"]
    assert {line.user_id for line in trail} == {one.decided_by_id}


def test_letters_are_replayed_in_the_order_in_which_they_came(lanes: dict[str, BusLane]) -> None:
    """A CLOSE comes after its OPEN; the page has the newest letter first."""
    letters = [refused("signals.approved.x", f"m-{number}") for number in range(3)]
    act(signed_in(Role.OPERATOR), MESSAGES, "replay", *letters)
    requested = BusMessage.objects.order_by("replay_requested_at")
    assert list(requested) == letters


def test_message_that_is_carried_out_leaves_no_trail_line(lanes: dict[str, BusLane]) -> None:
    message = refused("signals.approved.x", "m-1")
    BusMessage.objects.filter(pk=message.pk).update(state=MessageState.DONE)
    note_success(SIGNALS, Progress(BUS, "S, message 8"), timezone.now())
    assert not TrailLine.objects.filter(relation="buses_busmessage").exists()
    assert not TrailLine.objects.filter(relation="buses_buslane", operation="update").exists()


def test_administrator_pauses_and_resumes_a_lane(lanes: dict[str, BusLane]) -> None:
    administrator, client = staff(Role.ADMINISTRATOR), Client()
    client.force_login(administrator)
    lane = lanes[SIGNALS]
    act(client, LIST, "pause", lane)
    lane.refresh_from_db()
    assert (lane.paused_at is not None, lane.paused_by) == (True, administrator.username)
    assert "Paused" in page(client, LIST)
    act(client, LIST, "resume", lane)
    lane.refresh_from_db()
    assert lane.paused_at is None
    trail = TrailLine.objects.filter(relation="buses_buslane", operation="update")
    assert [line.user_id for line in trail] == [administrator.pk] * 2


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.RISK_OFFICER, Role.SUPPORT])
def test_others_do_not_pause_a_lane(lanes: dict[str, BusLane], role: Role) -> None:
    client = signed_in(role)
    client.post(LIST, {"action": "pause", "_selected_action": [lanes[SIGNALS].pk]})
    assert not BusLane.objects.exclude(paused_at=None).exists()


def events() -> list[str]:
    """Return the kinds of the events that one round of the watch writes."""
    before = set(Event.objects.values_list("pk", flat=True))
    if rows(*any_to_report())[0].is_due:
        watch()
    return list(Event.objects.exclude(pk__in=before).values_list("kind", flat=True))


def test_paused_lane_is_not_reported_and_has_time_once_resumed(lanes: dict[str, BusLane]) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    BusLane.objects.update(created_at=long_ago)
    BusLane.objects.filter(name=SIGNALS).update(polled_at=long_ago, paused_at=timezone.now())
    assert events() == []
    assert [one.detail for one in buses() if one.result == WARN and "is paused" in one.detail]
    assert resume(BusLane.objects.all()) == 1
    assert events() == []
    BusLane.objects.filter(name=SIGNALS).update(created_at=long_ago)
    assert events() == ["bus.not_received"]


def test_lane_that_was_late_before_its_pause_is_so_after_it(lanes: dict[str, BusLane]) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    BusLane.objects.update(created_at=long_ago)
    BusLane.objects.filter(name=SIGNALS).update(polled_at=long_ago)
    assert events() == ["bus.not_received"]
    BusLane.objects.filter(name=SIGNALS).update(paused_at=timezone.now())
    assert events() == []
    resume(BusLane.objects.all())
    assert events() == []
    note_success(SIGNALS)
    assert events() == ["bus.received"]


def test_metrics_name_a_paused_lane(lanes: dict[str, BusLane], settings: Any) -> None:
    BusLane.objects.filter(name=SIGNALS).update(paused_at=timezone.now())
    settings.FILLCAST_METRICS_TOKEN = "t" * 32
    text = Client().get("/metrics", headers={"Authorization": "Bearer " + "t" * 32}).text
    assert f'fillcast_bus_paused{{bus="{SIGNALS}"}} 1.0' in text
    assert f'fillcast_bus_paused{{bus="{FILLS}"}} 0.0' in text
    assert f'fillcast_bus_not_received_seconds{{bus="{SIGNALS}"}}' not in text


class StubLane(Lane):
    """A lane on which a test leaves messages."""

    name = SIGNALS

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.polls = 0

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        self.polls += 1
        time.sleep(0.01)
        self.waiting = [one for one in self.waiting if take(one) is Answer.RETRY]
        return 0

    @property
    def progress(self) -> Progress:
        return Progress(BUS, f"S, {self.polls}")

    def close(self) -> None:
        """It holds nothing."""


@contextmanager
def receiving(lane: StubLane) -> Iterator[Receiver]:
    stop = threading.Event()
    running = Receiver([(SIGNALS, lambda: lane)])
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    try:
        yield running
    finally:
        stop.set()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_paused_lane_takes_nothing_until_it_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_SECONDS", "NOTE_SECONDS"):
        monkeypatch.setattr(reception, name, 0.0)
    monkeypatch.setattr(reception, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(receiver, "UNHEALTHY_SECONDS", 0.0)
    BusLane.objects.create(name=SIGNALS, paused_at=timezone.now())
    lane = StubLane()
    with receiving(lane) as running:
        began = running._receptions[SIGNALS].received
        until(lambda: running._receptions[SIGNALS].received > began)  # a pause is no silence
        lane.waiting.append(Message(BUS, "m-1", "signals.approved.x", b"{}", database_now()))
        assert (lane.polls, BusMessage.objects.count()) == (0, 0)
        BusLane.objects.update(paused_at=None)
        until(lambda: BusMessage.objects.count() == 1)
        until(lambda: BusLane.objects.get().last_message_at is not None)
        until(lambda: BusLane.objects.get().position.startswith("S, "))
        assert BusLane.objects.get().polled_at is not None


@pytest.mark.django_db
def test_pause_within_a_batch_leaves_its_rest_at_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "PAUSE_SECONDS", 0.0)
    BusLane.objects.create(name=SIGNALS)
    lane = StubLane()
    one = reception.Reception(SIGNALS, lambda: lane, stop=threading.Event(), announce=lambda: None)
    lane.waiting = [Message(BUS, f"m-{n}", "signals.approved.x", b"{}", database_now())
                    for n in range(2)]  # fmt: skip
    answers = []

    def poll(take: Callable[[Message], Answer], *, seconds: float) -> int:
        for message in lane.waiting:
            answers.append(take(message))
            BusLane.objects.update(paused_at=timezone.now())
        return 0

    monkeypatch.setattr(lane, "poll", poll)
    one._poll()
    assert answers == [Answer.ACK, Answer.RETRY]
    assert BusMessage.objects.count() == 1
