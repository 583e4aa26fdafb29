"""What operators see of buses and do with them: console, metrics, doctor, alarm."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from analytics.services import compute_day
from buses.alarm import any_to_report, watch
from buses.drain import Drain
from buses.models import BusSink, DeadLetter
from common.db.sql import rows
from common.permissions import Role
from events.models import Event
from ops.doctor.buses import buses
from ops.doctor.verdicts import FAIL, OK, WARN
from tests.buses.factories import MemorySink
from tests.buses.schemas import check
from tests.html import html_of
from tests.roles import staff

NAME = "redis+stream://h/s"
LIST = "/admin/buses/bussink/"


@pytest.fixture
def sink(db: None) -> BusSink:
    return BusSink.objects.create(name=NAME, lease_until=timezone.now() + timedelta(hours=1))


@pytest.fixture
def letter(sink: BusSink) -> DeadLetter:
    return DeadLetter.objects.create(
        sink=sink, envelope_id="tst-0-0-log-1", type="fillcast.fill.v1", reason="too large"
    )


def act(client: Client, action: str, row: Any, path: str = LIST) -> None:
    answer = client.post(path, {"action": action, "_selected_action": [row.pk]})
    assert answer.status_code == 302


def test_operator_pauses_resumes_and_replays(sink: BusSink, letter: DeadLetter) -> None:
    administrator, client = staff(Role.ADMINISTRATOR), Client()
    client.force_login(administrator)
    page = html_of(client.get(LIST))
    assert "Up to date" in page
    act(client, "pause", sink)
    sink.refresh_from_db()
    assert (sink.paused_at is not None, sink.paused_by) == (True, administrator.username)
    assert "Paused" in html_of(client.get(LIST))
    act(client, "resume", sink)
    sink.refresh_from_db()
    assert sink.paused_at is None
    act(client, "replay", sink)
    letter.refresh_from_db()
    assert letter.replay_requested_at is not None


def test_dead_letter_is_shown_with_its_reason_and_replayed(letter: DeadLetter) -> None:
    client = Client()
    client.force_login(staff(Role.ADMINISTRATOR))
    path = "/admin/buses/deadletter/"
    assert "too large" in html_of(client.get(path))
    act(client, "replay", letter, path)
    letter.refresh_from_db()
    assert letter.replay_requested_at is not None


def test_rewind_is_requested_in_the_form(sink: BusSink) -> None:
    client = Client()
    client.force_login(staff(Role.ADMINISTRATOR))
    answer = client.post(
        f"{LIST}{sink.pk}/change/", {"rewind_to_0": "2026-11-30", "rewind_to_1": "12:00:00"}
    )
    assert answer.status_code == 302
    sink.refresh_from_db()
    assert sink.rewind_to == datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_support_only_reads(sink: BusSink) -> None:
    client = Client()
    client.force_login(staff(Role.SUPPORT))
    assert client.get(LIST).status_code == 200
    client.post(LIST, {"action": "pause", "_selected_action": [sink.pk]})
    sink.refresh_from_db()
    assert sink.paused_at is None


def test_metrics_name_each_bus(letter: DeadLetter, settings: Any) -> None:
    settings.FILLCAST_METRICS_TOKEN = "t" * 32
    BusSink.objects.update(read_to=timezone.now() - timedelta(seconds=90), failures=3)
    text = Client().get("/metrics", headers={"Authorization": "Bearer " + "t" * 32}).text
    assert f'fillcast_bus_failures{{bus="{NAME}"}} 3.0' in text
    assert f'fillcast_bus_dead_letters{{bus="{NAME}"}} 1.0' in text
    (lag,) = [line for line in text.splitlines() if line.startswith("fillcast_bus_lag_seconds{")]
    assert float(lag.split()[-1]) >= 90


@pytest.mark.parametrize(
    ("changes", "result", "detail"),
    [
        ({}, OK, "is up to date"),
        ({"failures": 2, "last_error": "no route"}, FAIL, "does not take events: no route"),
        ({"lease_until": None}, FAIL, "No process delivers to"),
        ({"paused_at": timezone.now()}, WARN, "is paused since"),
        ({"read_to": timezone.now() - timedelta(hours=1)}, WARN, "s behind"),
        ({"name": "kafka://gone"}, WARN, "not in FILLCAST_BUSES any more"),
    ],
)
def test_doctor_judges_each_bus(
    sink: BusSink, settings: Any, changes: dict[str, Any], result: Any, detail: str
) -> None:
    settings.SINKS = (f"{NAME}?maxlen=5",)
    BusSink.objects.update(**changes)
    found = [one for one in buses() if detail in one.detail]
    assert [one.result for one in found] == [result]


def test_doctor_finds_bus_that_was_never_drained(db: None, settings: Any) -> None:
    settings.SINKS = ("redis+stream://u:secret@h/s?maxlen=5",)
    (found,) = buses()
    assert (found.result, found.detail) == (FAIL, f"{NAME} has never been drained.")


def is_any_to_report() -> bool:
    return bool(rows(*any_to_report())[0].is_due)


def test_late_bus_is_reported_once_and_when_it_is_back(sink: BusSink) -> None:
    assert (is_any_to_report(), watch()) == (False, 0)
    late = timezone.now() - timedelta(seconds=300)
    BusSink.objects.update(read_to=late, failures=2, last_error="no route")
    assert (is_any_to_report(), watch()) == (True, 1)
    assert (is_any_to_report(), watch()) == (False, 0)
    (event,) = Event.objects.filter(kind="bus.late")
    assert (event.user_id, event.payload["bus"], event.payload["error"]) == (None, NAME, "no route")
    BusSink.objects.update(read_to=timezone.now())
    assert (is_any_to_report(), watch()) == (True, 1)
    assert Event.objects.filter(kind="bus.back").count() == 1


def test_paused_bus_is_not_reported(sink: BusSink) -> None:
    BusSink.objects.update(
        read_to=timezone.now() - timedelta(seconds=300), paused_at=timezone.now()
    )
    assert (is_any_to_report(), watch()) == (False, 0)


@pytest.mark.usefixtures("inline_commits")
def test_computed_day_is_announced_to_operators() -> None:
    memory = MemorySink()
    Drain(memory, holder="one").step()
    compute_day(date(2026, 11, 27))
    Drain(memory, holder="one").step()
    (event,) = memory.taken
    check([event])
    assert (event.data["day"], event.data["accounts"], event.tenant_id) == ("2026-11-27", 0, None)
