"""Levels are scanned each minute even without the scheduler, and operators are alerted."""

import pytest
from django.test import Client

from common.db.sql import run
from common.permissions import Role
from connections.models import ExecutionConnection
from events.models import Event, Notification
from events.services import deliver_if_overdue
from execution import tasks
from execution.models import Order
from execution.monitoring import scan_heartbeat
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.html import html_of
from tests.roles import staff
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def bought(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    return factories.filled(factories.signal(feed, [("1.12", "1")]))


def age_heartbeat(*, scanned: int | None, scheduled: int | None) -> None:
    run("DELETE FROM execution_levelscanheartbeat")
    run(
        "INSERT INTO execution_levelscanheartbeat (id, scanned_at, scheduled_at) VALUES (1,"
        " clock_timestamp() - make_interval(secs => %s),"
        " clock_timestamp() - make_interval(secs => %s))",
        (scanned, scheduled),
    )


def kinds() -> list[str]:
    events = Event.objects.filter(kind__startswith="scheduler").order_by("id")
    return list(events.values_list("kind", flat=True))


def test_worker_scans_levels_when_scheduler_stopped(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    factories.quote(alice, "1.05")
    age_heartbeat(scanned=60, scheduled=60)
    assert scan_heartbeat.scan_if_overdue() == []
    assert not Order.objects.exits().exists()
    age_heartbeat(scanned=76, scheduled=76)
    ids = scan_heartbeat.scan_if_overdue()
    assert ids == list(Order.objects.exits().values_list("id", flat=True)) != []
    status = scan_heartbeat.scan_status()
    assert not status.scan_is_late
    assert status.schedule_age is not None
    assert status.schedule_age > 75, "a worker's scan is not the scheduler's"


def test_worker_scans_levels_when_last_scan_is_ahead(
    bought: ExecutionPosition, alice: ExecutionConnection
) -> None:
    factories.quote(alice, "1.05")
    age_heartbeat(scanned=-3600, scheduled=-3600)
    ids = scan_heartbeat.scan_if_overdue()
    assert ids == list(Order.objects.exits().values_list("id", flat=True)) != []
    assert not scan_heartbeat.scan_status().is_late


def test_late_scheduler_is_noticed_after_clock_step() -> None:
    age_heartbeat(scanned=-3600, scheduled=-3600)
    scan_heartbeat.alert_late_scheduler()
    [event] = Event.objects.filter(kind="clock.set_back")
    assert 3500 < event.payload["seconds"] <= 3600
    status = scan_heartbeat.scan_status()
    assert status.schedule_age is not None
    assert 0 <= status.schedule_age < 60, "its silence counts from now on"
    run("UPDATE execution_levelscanheartbeat SET scheduled_at = scheduled_at - interval '81 s'")
    scan_heartbeat.alert_late_scheduler()
    assert kinds() == ["scheduler.late"]


@pytest.mark.parametrize(("seconds", "alarms"), [(79, []), (81, ["scheduler.late"])])
@pytest.mark.usefixtures("stopped_clock")
def test_operators_are_alerted_once_when_scheduler_is_late(seconds: int, alarms: list[str]) -> None:
    age_heartbeat(scanned=1, scheduled=seconds)
    scan_heartbeat.alert_late_scheduler()
    scan_heartbeat.alert_late_scheduler()
    assert kinds() == alarms


def test_operators_are_notified_when_scheduler_runs_again(db: None) -> None:
    age_heartbeat(scanned=1, scheduled=300)
    scan_heartbeat.alert_late_scheduler()
    tasks.scan_levels()
    tasks.scan_levels()
    assert kinds() == ["scheduler.late", "scheduler.back"]
    assert not scan_heartbeat.scan_status().is_late
    age_heartbeat(scanned=1, scheduled=300)
    scan_heartbeat.alert_late_scheduler()
    assert kinds()[-1] == "scheduler.late", "it may stop again"


def test_process_that_just_started_raises_no_alarm() -> None:
    age_heartbeat(scanned=3600, scheduled=3600)
    scan_heartbeat.late_scheduler_alarm()()
    assert kinds() == []


@pytest.mark.django_db(transaction=True)
def test_alarm_is_delivered_without_the_scheduler() -> None:
    operator = staff(Role.OPERATOR)
    tenant = User.objects.create_user("tenant")
    age_heartbeat(scanned=300, scheduled=100)
    scan_heartbeat.alert_late_scheduler()
    run(  # the machine may have paused
        "UPDATE events_event SET payload = payload || '{\"seconds\": 100}',"
        " created_at = clock_timestamp() + interval '1 hour'"
    )
    deliver_if_overdue()
    assert not Notification.objects.exists(), "the scheduler has ten seconds to do it"
    run("UPDATE events_event SET created_at = clock_timestamp() - interval '11 s'")
    deliver_if_overdue()
    [notification] = Notification.objects.all()
    assert notification.user == operator
    assert notification.user != tenant
    assert notification.title == "The scheduler (beat) has not run for 100 s"
    assert (
        "Stops and targets that Fillcast guards are not checked every minute." in notification.body
    )
    assert "Restart the scheduler" in notification.body


@pytest.fixture
def operator_client(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("admin", "", "correct horse battery"))
    return client


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/execution/order/",
        "/admin/signals/signal/add/",
        "/admin/console/scan-alarm/",
    ],
)
def test_every_console_page_shows_a_late_scan(operator_client: Client, path: str) -> None:
    age_heartbeat(scanned=5, scheduled=5)
    page = html_of(operator_client.get(path))
    assert "is-worst" not in page
    assert 'id="scan-alarm"' in page
    age_heartbeat(scanned=200, scheduled=200)
    page = html_of(operator_client.get(path))
    assert page.count("is-worst") == 1
    assert "Stops and targets are not being checked" in page
    age_heartbeat(scanned=5, scheduled=200)
    page = html_of(operator_client.get(path))
    assert "The scheduler has stopped" in page


@pytest.mark.parametrize("path", ["/", "/positions/", "/inbox/", "/scan-alarm/"])
def test_every_portal_page_shows_a_late_scan(client: Client, path: str) -> None:
    client.force_login(User.objects.create_user("tenant"))
    age_heartbeat(scanned=200, scheduled=200)
    page = html_of(client.get(path))
    assert "Stops and targets are not being checked" in page
    assert "scheduler has stopped" not in page


@pytest.mark.parametrize("path", ["/", "/positions/", "/inbox/", "/scan-alarm/"])
def test_every_portal_page_shows_a_stopped_scheduler(client: Client, path: str) -> None:
    client.force_login(User.objects.create_user("tenant"))
    age_heartbeat(scanned=5, scheduled=5)
    page = html_of(client.get(path))
    assert 'id="scan-alarm"' in page
    assert "scheduler has stopped" not in page
    age_heartbeat(scanned=5, scheduled=200)
    page = html_of(client.get(path))
    assert "<h2>Fillcast’s scheduler has stopped</h2>" in page
    assert " ago. Stops and targets are still checked, last " in page
    assert "daily results" in page
    assert "is-worst" not in page  # that state is for stops that are not checked


def test_console_shows_clock_step_for_an_hour(
    operator_client: Client,
) -> None:
    age_heartbeat(scanned=-3600, scheduled=-3600)
    page = html_of(operator_client.get("/admin/"))
    assert "The clock was set back" in page
    assert "0.0 s ago" not in page
    scan_heartbeat.alert_late_scheduler()
    page = html_of(operator_client.get("/admin/"))
    assert "The clock was set back by 1 h" in page or "The clock was set back by 59 min" in page
    run(
        "UPDATE execution_levelscanheartbeat"
        " SET clock_set_back_at = clock_set_back_at - interval '1 h'"
    )
    assert "The clock was set back" not in html_of(operator_client.get("/admin/"))


def test_portal_shows_times_in_the_future_as_a_fault(client: Client) -> None:
    client.force_login(User.objects.create_user("tenant"))
    age_heartbeat(scanned=-3600, scheduled=-3600)
    page = html_of(client.get("/"))
    assert "The clock was set back" in page
    assert "0.0 s ago" not in page
