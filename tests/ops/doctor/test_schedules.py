"""The schedules of beat: tasks exist, messages expire, and operators' changes are kept."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django_celery_beat.models import PeriodicTask

from config.celery import app

pytestmark = pytest.mark.django_db
migration: Any = import_module("config.migrations.0001_initial")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    PeriodicTask.objects.all().delete()
    migration.write(apps, None)


def test_every_schedule_names_a_registered_task() -> None:
    app.loader.import_default_modules()
    tasks = set(PeriodicTask.objects.values_list("task", flat=True))
    assert len(tasks) == 23
    assert tasks <= set(app.tasks)


def test_level_scan_has_its_own_queue() -> None:
    others = PeriodicTask.objects.exclude(queue="maintenance")
    assert list(others.values_list("task", "queue")) == [("execution.watch_positions", "exits")]


def test_messages_expire_when_the_next_is_due() -> None:
    for task in PeriodicTask.objects.select_related("interval"):
        assert task.expire_seconds
        if task.interval:
            assert task.interval.period == "seconds"
            assert task.expire_seconds <= task.interval.every


def test_daily_results_are_computed_after_new_york_close() -> None:
    cron = PeriodicTask.objects.get(task="analytics.compute_daily").crontab
    assert (cron.hour, cron.minute, str(cron.timezone)) == ("17", "10", "America/New_York")


def test_operators_changes_of_schedules_are_kept() -> None:
    PeriodicTask.objects.filter(task="execution.audit").update(enabled=False, expire_seconds=7)
    before = PeriodicTask.objects.count()
    migration.write(apps, None)
    kept = PeriodicTask.objects.get(task="execution.audit")
    assert (kept.enabled, kept.expire_seconds) == (False, 7)
    assert PeriodicTask.objects.count() == before
