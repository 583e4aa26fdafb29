"""Jobs run in time on few threads, whichever of them hangs, fails or has nothing to do."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection

from common.process import scheduler
from common.process.call_figures import FIGURES, Kind
from common.process.job_alarm import JobAlarm
from common.process.jobs import Job, Pool, steps
from common.process.scheduler import Scheduler
from tests.until import until

SECONDS = 60.0
HOUR = 3600.0
OFTEN = 0.01


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    ended = threading.Event()
    yield ended
    ended.set()


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """What lets jobs go on that hang."""
    hang = threading.Event()
    yield hang
    hang.set()


@pytest.fixture
def jobs(ended: threading.Event, hang: threading.Event) -> Iterator[Scheduler]:
    jobs = Scheduler(ended)
    yield jobs
    ended.set()
    hang.set()
    assert jobs.wait_ended(SECONDS)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.process.jobs.URGENT_LIMIT", 0.1)
    monkeypatch.setattr("common.process.jobs.ORDINARY_LIMIT", 0.1)
    monkeypatch.setattr(scheduler, "IDLE_SECONDS", 0.3)


@pytest.fixture
def troubles() -> Iterator[Callable[[str, str], int]]:
    """How often a job had an outcome, of those that are counted."""
    sums: dict[tuple[str, str], int] = {}

    def count(job: str, outcome: str) -> int:
        for key, one in FIGURES.take().items():
            if key.kind is Kind.JOB:
                of = key.name, key.outcome
                sums[of] = sums.get(of, 0) + sum(one.counts)
        return sums.get((job, outcome), 0)

    FIGURES.take()
    yield count
    FIGURES.take()


class Count:
    """A job that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> None:
        self.runs += 1


def running(name: str = "scheduler") -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def goes_on(count: Count) -> None:
    """Wait until a job has run three times more."""
    before = count.runs
    until(lambda: count.runs >= before + 3)


def test_job_runs_its_interval_after_its_last_run(jobs: Scheduler) -> None:
    began, times = time.monotonic(), list[float]()

    def run() -> None:
        times.append(time.monotonic())
        time.sleep(0.1)

    jobs.add([Job("slow", 0.1, run)])
    until(lambda: len(times) >= 3)
    assert times[0] - began >= 0.1
    assert all(b - a >= 0.2 for a, b in pairwise(times))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("pool", [*Pool])
def test_hanging_jobs_delay_no_other(
    jobs: Scheduler, hang: threading.Event, pool: Pool, caplog: Any
) -> None:
    """More of them than the pool has threads. Each that is late is reported once."""
    hung, other = Count(), Count()

    def stop() -> None:
        hung()
        assert hang.wait(SECONDS)

    jobs.add([Job(f"hangs {n}", OFTEN, stop, pool=pool) for n in range(7)])
    until(lambda: hung.runs == 7)  # none of them waits for the others
    jobs.add([Job("goes on", OFTEN, other, pool=pool)])
    goes_on(other)
    hang.set()
    goes_on(hung)
    until(lambda: len(running(pool.value[0])) <= pool.value[1])  # what they grew by has ended


@pytest.mark.usefixtures("short")
def test_run_that_goes_on_is_reported_again(
    jobs: Scheduler,
    hang: threading.Event,
    troubles: Callable[[str, str], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "HANGS_SECONDS", 0.2)
    hung, quick = Count(), Count()

    def stop() -> None:
        hung()
        assert hang.wait(SECONDS)

    jobs.add([Job("hangs", OFTEN, stop), Job("quick", OFTEN, quick)])
    until(lambda: troubles("hangs", "long") >= 3)
    assert hung.runs == 1
    hang.set()
    goes_on(hung)
    reported = troubles("hangs", "long")
    goes_on(quick)
    assert troubles("hangs", "long") == reported


def test_run_that_may_go_on_is_never_reported(
    jobs: Scheduler,
    hang: threading.Event,
    troubles: Callable[[str, str], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("common.process.jobs.WAITING_LIMIT", 0.1)
    monkeypatch.setattr("common.process.jobs.WAITING_PATIENCE", 0.05)
    monkeypatch.setattr(scheduler, "HANGS_SECONDS", 0.1)
    begun, other = Count(), Count()

    def stop() -> None:
        begun()
        assert hang.wait(SECONDS)

    jobs.add([Job(f"goes on {n}", OFTEN, stop, waits=True, is_endless=True) for n in range(4)])
    until(lambda: begun.runs == 4)  # each has a thread beside those of the pool
    jobs.add([Job("hangs", OFTEN, stop, waits=True), Job("other", OFTEN, other)])
    until(lambda: troubles("hangs", "long") >= 3)
    goes_on(other)
    assert [troubles(f"goes on {n}", "long") for n in range(4)] == [0] * 4


def test_job_that_begins_late_is_counted(
    jobs: Scheduler,
    hang: threading.Event,
    troubles: Callable[[str, str], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("common.process.jobs.ORDINARY_LIMIT", 0.1)
    monkeypatch.setattr("common.process.jobs.WAITING_PATIENCE", HOUR)
    busy, waiting = Count(), Count()

    def stop() -> None:
        busy()
        assert hang.wait(SECONDS)

    threads = Pool.ORDINARY.value[1]
    jobs.add([Job(f"busy {n}", OFTEN, stop, waits=True) for n in range(threads)])
    until(lambda: busy.runs == threads)
    jobs.add([Job("waits", OFTEN, waiting)])
    until(lambda: jobs._pools[Pool.ORDINARY].queue)
    time.sleep(0.1)
    assert waiting.runs == 0
    hang.set()
    until(lambda: troubles("waits", "late") == 1)


def test_job_that_waits_soon_takes_no_thread_of_its_pool(
    jobs: Scheduler, hang: threading.Event
) -> None:
    """Before its limit: nothing here is late."""
    waiting, other = Count(), Count()

    def wait() -> None:
        waiting()
        assert hang.wait(SECONDS)

    jobs.add([Job(f"waits {n}", OFTEN, wait, waits=True) for n in range(5)])
    jobs.add([Job("goes on", OFTEN, other)])
    until(lambda: waiting.runs == 5)
    goes_on(other)


def test_failure_is_of_one_run(jobs: Scheduler, troubles: Callable[[str, str], int]) -> None:
    tried, other = Count(), Count()

    def fail() -> None:
        tried()
        raise ValueError("it fails")

    jobs.add([Job("fails", OFTEN, fail), Job("goes on", OFTEN, other)])
    goes_on(tried)
    goes_on(other)
    assert troubles("fails", "failed") >= 3
    assert troubles("goes on", "failed") == 0


def test_failed_step_stops_no_other() -> None:
    after = Count()

    def fail() -> None:
        raise ValueError("it fails")

    steps("three", fail, after, fail)()
    assert after.runs == 1


def test_alarm_lets_a_job_run_at_once_or_later(jobs: Scheduler) -> None:
    alarm, rare = JobAlarm(), Count()
    jobs.add([Job("rare", HOUR, rare, alarm=alarm)])
    alarm.set()
    until(lambda: rare.runs == 1)
    began = time.monotonic()
    alarm.set(0.2)
    until(lambda: rare.runs == 2)
    assert time.monotonic() - began >= 0.2


def test_alarm_during_a_run_lets_the_job_run_again(jobs: Scheduler, hang: threading.Event) -> None:
    alarm, runs, began = JobAlarm(), Count(), threading.Event()

    def run() -> None:
        runs()
        began.set()
        assert hang.wait(SECONDS)

    jobs.add([Job("rare", HOUR, run, alarm=alarm)])
    alarm.set()
    assert began.wait(SECONDS)
    alarm.set()
    hang.set()
    until(lambda: runs.runs == 2)


def test_postponed_job_runs_once_it_is_not(ended: threading.Event) -> None:
    """Its alarm is earlier than that. What the others do is not changed by it."""
    alarm, rare, other, is_open = JobAlarm(), Count(), Count(), False

    def postponed(job: Job, has_run: bool) -> float:
        return HOUR if job.name == "rare" and not is_open else 0.0

    jobs = Scheduler(ended, postponed)
    jobs.add([Job("rare", OFTEN, rare, alarm=alarm), Job("goes on", OFTEN, other)])
    goes_on(other)
    assert rare.runs == 0
    alarm.set()
    until(lambda: rare.runs == 1)
    is_open = True
    jobs.wake()
    goes_on(rare)
    ended.set()
    assert jobs.wait_ended(SECONDS)


def test_changed_pace_is_followed(jobs: Scheduler) -> None:
    seconds, rare = [HOUR], Count()
    jobs.add([Job("rare", lambda: seconds[0], rare)])
    seconds[0] = OFTEN
    jobs.follow_paces()
    goes_on(rare)


def test_pace_is_not_asked_of_a_job_that_runs(jobs: Scheduler, hang: threading.Event) -> None:
    """It may state what the run is about to change. The end of the run asks for it."""
    began, asked, runs = threading.Event(), list[bool](), Count()
    is_running = False

    def seconds() -> float:
        asked.append(is_running)
        return OFTEN

    def run() -> None:
        nonlocal is_running
        is_running = True
        began.set()
        assert hang.wait(SECONDS)
        is_running = False
        runs()

    jobs.add([Job("runs", seconds, run)])
    assert began.wait(SECONDS)
    jobs.follow_paces()
    hang.set()
    goes_on(runs)
    assert not any(asked)


def test_nothing_starts_after_the_end(
    jobs: Scheduler, ended: threading.Event, hang: threading.Event
) -> None:
    began, alarm, rare = threading.Event(), JobAlarm(), Count()

    def run() -> None:
        began.set()
        assert hang.wait(SECONDS)

    jobs.add([Job("runs", OFTEN, run), Job("rare", HOUR, rare, alarm=alarm)])
    assert began.wait(SECONDS)
    ended.set()
    alarm.set()
    assert not jobs.wait_ended(0.05)
    hang.set()
    assert jobs.wait_ended(SECONDS)
    assert rare.runs == 0
    until(lambda: not running())


@pytest.mark.django_db(transaction=True)
def test_few_threads_and_sessions_run_many_jobs(
    jobs: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that was used last runs the next job; the others end, and so do their sessions."""
    monkeypatch.setattr(scheduler, "IDLE_SECONDS", 0.2)
    pids, counts = set[int](), [Count() for _ in range(30)]

    def run(count: Callable[[], None]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.add(cursor.fetchone()[0])
        count()

    jobs.add([Job(f"{n}", 0.3, partial(run, count)) for n, count in enumerate(counts)])
    until(lambda: all(count.runs >= 5 for count in counts))
    threads = Pool.ORDINARY.value[1]
    assert len(running("ordinary")) <= threads
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", ([*pids],))
        assert len(cursor.fetchall()) <= threads


@pytest.mark.django_db(transaction=True)
def test_session_that_the_server_ended_is_replaced(jobs: Scheduler) -> None:
    pids, failed = list[int](), Count()

    def run() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pids.append(cursor.fetchone()[0])
        except Exception:
            failed()
            raise

    jobs.add([Job("session", OFTEN, run)])
    until(lambda: pids)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pids[-1],))
    until(lambda: pids[-1] != pids[0])
    assert failed.runs <= 1
