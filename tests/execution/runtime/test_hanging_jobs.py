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


def test_prices_of_accounts_wait_for_no_call_to_a_broker(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stops that the engine guards are judged at them. No pool has more threads here."""
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
        if job.pool is Pool.ORDINARY and job.name != "prices"
    ])  # fmt: skip
    until(lambda: len(hung) == Pool.ORDINARY.value[1])
    (prices,) = (job for job in jobs_of_role("sessions") if job.name == "prices")
    jobs.add([prices._replace(seconds=0.01, run=lambda: steps.append(time.monotonic()))])
    try:
        until(lambda: len(steps) > 3)
    finally:
        released.set()
        ended.set()
        assert jobs.wait_ended(120)
