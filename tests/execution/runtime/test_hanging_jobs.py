"""A trading process whose jobs hang: those that others wait for go on within their bounds."""

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from common.process.jobs import Job, Pool
from common.process.scheduler import Scheduler
from execution import startup
from execution.job_table import jobs_of_role
from tests.execution.trading_process import running
from tests.until import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
ROLE = "exits+execution+maintenance"
BOUND_SECONDS = 5.0  # for due orders, on a machine that keeps up
SLOW_MACHINE = 12  # times that
HOUR = 3600.0


@pytest.fixture
def released() -> Iterator[threading.Event]:
    released = threading.Event()
    yield released
    released.set()


@pytest.mark.parametrize("name", ["due exits", "stop failover", "position rules", "due entries"])
def test_job_runs_in_time_while_all_others_hang(
    name: str, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, hung = list[float](), set[str]()

    def hang(other: str) -> None:
        hung.add(other)
        released.wait(120)

    def only_one_goes_on(role: str, *, exits_only: bool) -> tuple[Job, ...]:
        """Return the jobs, each of which is due at once."""
        return tuple(
            job._replace(seconds=0.05, run=lambda: runs.append(time.monotonic()))
            if job.name == name
            else job._replace(seconds=0.01, run=partial(hang, job.name))
            for job in jobs_of_role(role, exits_only=exits_only)
        )

    monkeypatch.setattr(startup, "jobs_of_role", only_one_goes_on)
    with running(ROLE, 30):
        began = time.monotonic()
        until(lambda: len(runs) > 3)
        assert runs[3] - began < BOUND_SECONDS * SLOW_MACHINE
        until(lambda: len(hung) > 25)  # nor do they wait for one another
        before = len(runs)
        until(lambda: len(runs) > before + 3)
        released.set()


@pytest.mark.parametrize("name", ["prices", "order streams"])
def test_what_a_stop_or_a_fill_waits_for_waits_for_no_call_to_a_broker(
    name: str, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At prices of accounts engine-guarded stops are judged; pushes of a broker wake the polls that
    read its fills. No pool has more threads here."""
    monkeypatch.setattr("common.process.jobs.WAITING_PATIENCE", HOUR)
    monkeypatch.setattr("common.process.jobs.ORDINARY_LIMIT", HOUR)
    steps, hung, ended = list[float](), set[str](), threading.Event()

    def hang(other: str) -> None:
        hung.add(other)
        released.wait(120)

    jobs = Scheduler(ended)
    jobs.add([
        job._replace(seconds=0.01, work=None, run=partial(hang, job.name))
        for job in jobs_of_role("sessions")
        if job.pool is Pool.ORDINARY and job.name != name
    ])  # fmt: skip
    until(lambda: len(hung) == Pool.ORDINARY.value[1])
    (job,) = (job for job in jobs_of_role("sessions") if job.name == name)
    jobs.add([job._replace(seconds=0.01, run=lambda: steps.append(time.monotonic()))])
    try:
        until(lambda: len(steps) > 3)
    finally:
        released.set()
        ended.set()
        assert jobs.wait_ended(120)
