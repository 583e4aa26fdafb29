"""Schedules that guard money: slowed within a limit, never removed or disabled, by any way in."""

from typing import Any

import psycopg
import pytest
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from common.db.sql import rows
from common.permissions import Role
from console.guarding_schedules import SLOWEST
from tests.html import html_of
from tests.portal.conftest import as_web_process
from tests.roles import staff
from tests.users.conftest import Opened, as_role
from users.models import User

__all__ = ["as_role"]
pytestmark = pytest.mark.django_db
LIST = "/admin/django_celery_beat/periodictask/"
INTERVALS = "/admin/django_celery_beat/intervalschedule/"


@pytest.fixture
def watch() -> PeriodicTask:
    every, _ = IntervalSchedule.objects.get_or_create(every=60, period="seconds")
    values = {"name": "watch positions", "interval": every, "queue": "exits", "expire_seconds": 60}
    task, _ = PeriodicTask.objects.update_or_create(
        task="execution.watch_positions", defaults=values
    )
    return task


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(staff(Role.ADMINISTRATOR))
    return as_web_process(client)


def form_of(task: PeriodicTask, /, **changes: Any) -> dict[str, Any]:
    interval = task.interval
    assert interval is not None
    form = {"name": task.name, "task": task.task, "regtask": "", "enabled": "on", "queue": "exits",
            "interval": interval.pk, "expire_seconds": "60", "args": "[]", "kwargs": "{}",
            "headers": "{}", "description": ""}  # fmt: skip
    return {name: value for name, value in {**form, **changes}.items() if value is not None}


def stands(task: PeriodicTask) -> bool:
    found = PeriodicTask.objects.filter(pk=task.pk, task=task.task, enabled=True).first()
    return found is not None and found.queue == "exits" and found.interval_id == task.interval_id


@pytest.mark.parametrize("action", ["disable_tasks", "toggle_tasks", "delete_selected"])
def test_actions_leave_what_guards_money(console: Client, watch: PeriodicTask, action: str) -> None:
    data = {"action": action, "_selected_action": [watch.pk], "post": "yes"}
    page = console.post(LIST, data, follow=True)
    assert stands(watch)
    assert "guards money" in html_of(page)


def test_delete_page_leaves_what_guards_money(console: Client, watch: PeriodicTask) -> None:
    assert watch.interval is not None
    for path in (f"{LIST}{watch.pk}/delete/", f"{INTERVALS}{watch.interval.pk}/delete/"):
        assert "guards money" in html_of(console.post(path, {"post": "yes"}, follow=True)), path
        assert stands(watch)


@pytest.mark.parametrize(
    "changes",
    [{"enabled": None}, {"task": "events.deliver"}, {"queue": "nobody"}, {"one_off": "on"},
     {"expire_seconds": "1"}],
)  # fmt: skip
def test_form_leaves_what_guards_money(
    console: Client, watch: PeriodicTask, changes: dict[str, Any]
) -> None:
    console.post(f"{LIST}{watch.pk}/change/", form_of(watch, **changes))
    assert stands(watch)


def test_reads_of_balances_guard_the_loss_limits(console: Client) -> None:
    every, _ = IntervalSchedule.objects.get_or_create(every=60, period="seconds")
    task, _ = PeriodicTask.objects.update_or_create(
        task="connections.refresh_accounts",
        defaults={"name": "refresh accounts", "interval": every, "queue": "maintenance"},
    )
    for action in ("disable_tasks", "delete_selected"):
        data = {"action": action, "_selected_action": [task.pk], "post": "yes"}
        assert "guards money" in html_of(console.post(LIST, data, follow=True))
    assert PeriodicTask.objects.filter(pk=task.pk, enabled=True).exists()


def test_pace_may_be_slowed_within_the_limit(console: Client, watch: PeriodicTask) -> None:
    assert watch.interval is not None
    for every, period in ((1, "days"), (2_000_000_000, "microseconds")):
        slow, _ = IntervalSchedule.objects.get_or_create(every=every, period=period)
        console.post(f"{LIST}{watch.pk}/change/", form_of(watch, interval=slow.pk))
        assert stands(watch)
    path = f"{INTERVALS}{watch.interval.pk}/change/"
    console.post(path, {"every": "301", "period": "seconds"})
    watch.interval.refresh_from_db()
    assert watch.interval.every == 60
    fair, _ = IntervalSchedule.objects.get_or_create(every=5, period="minutes")
    console.post(f"{LIST}{watch.pk}/change/", form_of(watch, interval=fair.pk))
    watch.refresh_from_db()
    assert watch.interval == fair


@pytest.mark.django_db(transaction=True)
def test_database_refuses_it_to_the_web_process(as_role: Opened, watch: PeriodicTask) -> None:
    root = User.objects.create_superuser("root")
    for statement in (
        "DELETE FROM django_celery_beat_periodictask",
        "UPDATE django_celery_beat_periodictask SET enabled = false",
        "UPDATE django_celery_beat_intervalschedule SET every = 301",
        "UPDATE django_celery_beat_intervalschedule"
        " SET every = 2000000000, period = 'microseconds'",
    ):
        with (
            as_role("web", tenant=root.pk, operator=True) as session,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="guards money"),
        ):
            session.execute(statement.encode())
    for task, seconds in SLOWEST.items():
        assert rows("SELECT fillcast_slowest(%s) AS s", (task,))[0].s == seconds
