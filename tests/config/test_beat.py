"""Beat reads and writes its schedules sparingly, and misses no change of an operator."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from celery.beat import Service
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from common.db.sql import rows
from common.operational import current
from common.operational.document import Document
from common.operational.source import base_of
from common.process import waiting_work
from config import beat
from config.beat import LOOK_SECONDS, BeatEntry, BeatScheduler
from config.celery import app
from connections.models import ConnectionHealth, ExecutionConnection, SubscriptionTwin
from events.models import EventKind
from events.services import deliver, emit
from execution.models import Order
from tests.connections import make
from tests.database_sessions import raw
from tests.execution import factories as execution_factories
from tests.operational import set_setting
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
DELIVERIES = "deliver events"
WAIT = "SELECT pg_sleep(60)"
WAITS = f"SELECT true FROM pg_stat_activity WHERE query = '{WAIT}' AND state = 'active'"


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Iterator[BeatScheduler]:
    clock = [1000.0]
    monkeypatch.setattr(beat, "machine_time", lambda: clock[0])
    monkeypatch.setattr(beat, "wall_offset", lambda: 0.0)
    made = BeatScheduler(app, lazy=True)
    made.clock = clock
    yield made
    made._finalize.cancel()


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


class SleepsAtStart(BeatScheduler):
    """Waits for the database while it reads the schedules."""

    def setup_schedule(self) -> None:
        rows(WAIT)


class SleepsAtWork(BeatScheduler):
    """Has sent a task, and waits for the database."""

    def tick(self, *_: Any, **__: Any) -> float:
        entry = next(self.schedule[DELIVERIES])
        self.schedule[DELIVERIES] = entry
        self._dirty.add(DELIVERIES)
        rows(WAIT)
        return 0.0


@pytest.fixture
def program() -> Iterator[Callable[[type[BeatScheduler]], Service]]:
    """Return what makes beat's service, with its handlers, and sends SIGTERM once it waits."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    interrupts: list[threading.Thread] = []

    def interrupt() -> None:
        with raw() as other:
            until(lambda: other.execute(WAITS).fetchone(), "beat does not wait")
        os.kill(os.getpid(), signal.SIGTERM)

    def make_service(scheduler: type[BeatScheduler]) -> Service:
        made = app.Beat(app=app)
        service = Service(app, scheduler_cls=scheduler)
        made.install_sync_handler(service)
        interrupts.append(threading.Thread(target=interrupt))
        interrupts[0].start()
        return service

    yield make_service
    for number, handler in before.items():
        signal.signal(number, handler)
    for thread in interrupts:
        thread.join()
    connection.close()  # what was interrupted may still be under way there


def test_sigterm_ends_beat_at_its_start(
    program: Callable[[type[BeatScheduler]], Service],
) -> None:
    service = program(SleepsAtStart)
    with pytest.raises(SystemExit):
        service.start()


def test_sigterm_ends_beat_after_its_runs_are_stored(
    program: Callable[[type[BeatScheduler]], Service],
) -> None:
    runs = deliveries().total_run_count
    service = program(SleepsAtWork)
    service.start()
    assert isinstance(service.scheduler, BeatScheduler)
    service.scheduler._finalize.cancel()
    assert deliveries().total_run_count == runs + 1


def test_runs_are_stored_together(scheduler: BeatScheduler) -> None:
    scheduler._do_sync()
    assert not scheduler.should_sync()
    scheduler._tasks_since_sync = 100
    assert not scheduler.should_sync()
    scheduler._last_sync -= beat.STORE_SECONDS + 1
    assert scheduler.should_sync()


def test_task_that_is_nearly_due_is_waited_for_and_not_asked_about(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(scheduler, "apply_entry", lambda entry, **_: sent.append(entry.name))
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        if (seconds := scheduler.tick()) > 0:
            time.sleep(seconds)
        ticks += 1

    until(lambda: "deliver events" in sent, meanwhile=tick)
    assert ticks < 3 * len(sent) + 20


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


def sent_when_due(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch, *names: str
) -> list[str]:
    """Let these tasks be due; return those whose messages are sent."""
    sent: list[str] = []  # by `apply_async`, which would need a server
    monkeypatch.setattr(scheduler, "apply_async", lambda entry, **_: sent.append(entry.name))
    scheduler.clock[0] += beat.ASK_SECONDS
    for name in names:
        scheduler.apply_entry(scheduler.schedule[name])
    return sent


QUESTIONED = (
    "deliver events", "send mails about logins", "make archives of users' data", "run preflights",
    "run due tests", "wind up paper twins",
)  # fmt: skip


def test_tasks_that_would_find_nothing_are_not_sent(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    while deliver().events:  # of earlier tests
        pass
    sent = sent_when_due(scheduler, monkeypatch, *QUESTIONED, "reconcile")
    assert sent == ["reconcile"]
    with transaction.atomic():
        emit(EventKind.AUDIT_FAILED)
    assert sent_when_due(scheduler, monkeypatch, *QUESTIONED) == ["deliver events"]


def test_connection_test_that_is_due_has_its_task_sent(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make.connection()
    health = ConnectionHealth.objects.filter(connection=account)
    health.update(test_requested_at=timezone.now(), last_tested_at=None)
    assert sent_when_due(scheduler, monkeypatch, "run due tests") == ["run due tests"]
    health.update(last_tested_at=timezone.now())
    assert sent_when_due(scheduler, monkeypatch, "run due tests") == []
    health.update(test_requested_at=timezone.now())
    ExecutionConnection.objects.filter(pk=account.pk).update(archived_at=timezone.now())
    assert sent_when_due(scheduler, monkeypatch, "run due tests") == []


def test_paper_twin_is_wound_up_until_its_account_is_archived(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = make.feed()
    live = make.subscription(make.connection(), feed)
    paper = make.subscription(make.connection(live.connection.user), feed)
    twin = SubscriptionTwin.objects.create(
        subscription=live, twin=paper, connection=paper.connection, opening_balance=1,
        currency="USD", started_at=timezone.now(),
    )  # fmt: skip

    def sent() -> bool:
        return bool(sent_when_due(scheduler, monkeypatch, "wind up paper twins"))

    assert sent()
    SubscriptionTwin.objects.update(ended_at=timezone.now(), end_reason="STOPPED")
    assert sent()
    ExecutionConnection.objects.filter(pk=twin.connection_id).update(archived_at=timezone.now())
    assert not sent()


def test_answer_counts_for_a_moment(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    while deliver().events:
        pass
    assert sent_when_due(scheduler, monkeypatch, "deliver events") == []
    with transaction.atomic():
        emit(EventKind.AUDIT_FAILED)
    scheduler.apply_entry(scheduler.schedule["deliver events"])
    assert sent_when_due(scheduler, monkeypatch, "deliver events") == ["deliver events"]


def test_tasks_are_sent_if_the_database_does_not_answer(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(waiting_work._questions, "broken", ("SELECT 1 / 0", None))
    assert sent_when_due(scheduler, monkeypatch, *QUESTIONED) == list(QUESTIONED)


def sent_by_ticks(scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what beat sends until nothing more is due."""
    sent: list[str] = []
    monkeypatch.setattr(scheduler, "apply_entry", lambda entry, **_: sent.append(entry.name))
    while scheduler.tick() == 0:
        pass
    return sent


@pytest.fixture
def wall_clock() -> Iterator[None]:
    """Stop the clock of dates, so that no minute begins in which a daily task is due."""
    with time_machine.travel(timezone.now(), tick=False):
        yield


@pytest.mark.usefixtures("wall_clock")
@pytest.mark.parametrize("ago", [timedelta(hours=-1), timedelta(days=-400)])
def test_schedule_that_last_ran_in_the_future_runs_now(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch, ago: timedelta
) -> None:
    PeriodicTask.objects.update(last_run_at=timezone.now() - ago)
    sent = sent_by_ticks(scheduler, monkeypatch)
    intervals = PeriodicTask.objects.filter(enabled=True, interval__isnull=False)
    assert sorted(sent) == sorted(intervals.values_list("name", flat=True))
    daily = [entry for entry in scheduler.schedule.values() if not entry.model.interval_id]
    assert daily
    assert {entry.is_due().is_due for entry in daily} == {False}
    longest = timedelta(hours=25)  # the day on which clocks are put back
    assert max(entry.is_due().next for entry in daily) <= longest.total_seconds()


@pytest.mark.usefixtures("wall_clock")
def test_running_beat_sends_on_after_clock_step(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = [0.0]
    monkeypatch.setattr(beat, "wall_offset", lambda: offset[0])
    PeriodicTask.objects.update(last_run_at=timezone.now())
    assert sent_by_ticks(scheduler, monkeypatch) == []
    beaten: Any = scheduler  # celery's class has no heap by its types
    assert beaten._heap
    # What an hour less on the clock makes of them.
    PeriodicTask.objects.update(last_run_at=timezone.now() + timedelta(hours=1))
    beaten._heap = [event._replace(time=event.time + 3600) for event in beaten._heap]
    offset[0] -= 3600
    assert "watch positions" in sent_by_ticks(scheduler, monkeypatch)


def make_order_due(seconds: float) -> None:
    """Let an entry have been due for so long."""
    feed = make.feed()
    make.subscription(make.connection(), feed)
    execution_factories.signal(feed, sl=None)
    due_at = timezone.now() - timedelta(seconds=seconds)
    assert Order.objects.filter(status="PENDING").update(due_at=due_at) == 1


def test_reads_and_comparisons_give_way_to_due_orders(
    scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("reconcile", "refresh accounts", "watch positions")
    make_order_due(2)
    assert sent_when_due(scheduler, monkeypatch, *both) == [*both]
    Order.objects.update(due_at=timezone.now() - timedelta(seconds=10))
    sent = [sent_when_due(scheduler, monkeypatch, *both) for _ in range(5)]
    levels = [both[2]]
    assert sent == [levels, [both[0], *levels], levels, [*both[:2], *levels], levels]
    Order.objects.update(due_at=timezone.now() - timedelta(minutes=2))  # it waits for its broker
    assert sent_when_due(scheduler, monkeypatch, *both) == [*both]


def compared(scheduler: BeatScheduler) -> tuple[float, int]:
    """Return how often beat compares accounts after its next look, and when a message expires."""
    assert scheduler.schedule  # the first read is no look
    scheduler.clock[0] += LOOK_SECONDS
    entry = scheduler.schedule["reconcile"]
    return entry.schedule.run_every.total_seconds(), entry.model.expire_seconds


def test_schedule_of_comparisons_follows_the_base_and_versions(scheduler: BeatScheduler) -> None:
    base = base_of('{"position_reconciliation": {"reconcile_interval_minutes": 10}}')
    current.hold(base)
    for _ in range(2):  # as the page of schedules allows
        IntervalSchedule.objects.create(every=600, period="seconds")
    assert compared(scheduler) == compared(scheduler) == (600, 600)
    set_setting("position_reconciliation.reconcile_interval_minutes", 2)
    assert compared(scheduler) == (120, 120)
    current.hold(Document())
    assert compared(scheduler) == (300, 300)


def test_interval_of_the_page_of_schedules_holds_until_the_setting_changes(
    scheduler: BeatScheduler,
) -> None:
    every, _ = IntervalSchedule.objects.get_or_create(every=240, period="seconds")
    comparisons = PeriodicTask.objects.get(task="execution.reconcile")
    comparisons.interval = every
    comparisons.save()
    assert compared(scheduler)[0] == 240
    again = BeatScheduler(app, lazy=True)  # beat starts again
    assert again.schedule["reconcile"].schedule.run_every.total_seconds() == 240
    again._finalize.cancel()
    set_setting("position_reconciliation.reconcile_interval_minutes", 7)
    assert compared(scheduler)[0] == 420
    comparisons.refresh_from_db()
    comparisons.interval = every
    comparisons.save()
    assert compared(scheduler)[0] == 240
