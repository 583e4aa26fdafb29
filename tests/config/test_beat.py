"""Beat reads and writes its schedules sparingly, and misses no change of an operator."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import PeriodicTask

from config import beat
from config.beat import LOOK_SECONDS, BeatEntry, BeatScheduler
from config.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> BeatScheduler:
    clock = [1000.0]
    monkeypatch.setattr(beat, "machine_time", lambda: clock[0])
    made = BeatScheduler(app, lazy=True)
    made.clock = clock
    return made


def deliveries() -> PeriodicTask:
    return PeriodicTask.objects.get(task="events.deliver")


def test_run_is_stored_by_one_statement_that_leaves_settings_alone() -> None:
    entry = BeatEntry(deliveries(), app=app)
    PeriodicTask.objects.filter(task="events.deliver").update(description="changed meanwhile")
    runs = entry.model.total_run_count
    following = next(entry)
    with CaptureQueriesContext(
        connection,
    ) as stored:
        following.save()
    assert len(stored) == 1
    row = deliveries()
    assert (row.total_run_count, row.description) == (runs + 1, "changed meanwhile")
    assert row.last_run_at == following.last_run_at


def test_changed_schedule_counts_within_the_time_of_a_look(scheduler: BeatScheduler) -> None:
    assert "deliver events" in scheduler.schedule
    assert not scheduler.schedule_changed()
    row = deliveries()
    row.enabled = False
    row.save()
    with CaptureQueriesContext(connection) as asked:
        assert "deliver events" in scheduler.schedule
    assert len(asked) == 0
    scheduler.clock[0] += LOOK_SECONDS
    assert "deliver events" not in scheduler.schedule
