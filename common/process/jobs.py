"""What a process repeats: jobs, how often, and on which threads."""

from collections.abc import Callable
from enum import Enum, Flag
from typing import NamedTuple

import structlog
from django.db import connections

from common.clocks import machine_time
from common.process.call_figures import FAILED, FIGURES, Kind
from common.process.job_alarm import JobAlarm

log = structlog.get_logger(__name__)
Pace = float | Callable[[], float]
"""Seconds between the runs of a job, or what returns them."""
# Longer than a statement of an ordinary job waits for a lock: else a slow machine would open a
# session for each job.
URGENT_LIMIT, ORDINARY_LIMIT, WAITING_LIMIT = 1.0, 3.0, 120.0
NO_LIMIT = float("inf")
WAITING_PATIENCE = 1.0  # mostly there is nothing to wait for


class Pool(Enum):
    """The threads that run a job, and how many at once. URGENT: a fill or an exit waits for it."""

    URGENT = "urgent", 4
    ORDINARY = "ordinary", 2


class Job(NamedTuple):
    """What a process repeats, `seconds` after its last run.

    work: it is far from due while there is nothing of these kinds; None: it never is. alarm: what
    makes it due early. gives_way: it may be late, and leaves a machine that does not keep up to due
    orders. waits: for brokers or other programs, which is no fault. is_endless: a run goes on while
    there is something, which is none either.
    """

    name: str
    seconds: Pace
    run: Callable[[], object]
    work: Flag | None = None
    alarm: JobAlarm | None = None
    pool: Pool = Pool.ORDINARY
    gives_way: bool = False
    waits: bool = False
    is_endless: bool = False

    @property
    def limit(self) -> float:
        """The seconds that a run may take; then it is reported."""
        if self.is_endless:
            return NO_LIMIT
        if self.waits:
            return WAITING_LIMIT
        return URGENT_LIMIT if self.pool is Pool.URGENT else ORDINARY_LIMIT

    @property
    def patience(self) -> float:
        """The seconds of a run after which its pool has one more thread until it ends."""
        return WAITING_PATIENCE if self.waits else self.limit


def pace(job: Job) -> float:
    """Return the seconds between two runs of a job, as they are now."""
    return job.seconds() if callable(job.seconds) else job.seconds


def steps(name: str, *each: Callable[[], object]) -> Callable[[], None]:
    """Return what runs all steps of a job, in turn. An error of one stops no other."""

    def run() -> None:
        for step in each:
            run_guarded(name, step)

    return run


def seldom(seconds: float, step: Callable[[], object]) -> Callable[[], None]:
    """Return a step that runs only if so many seconds have passed since it began last."""
    due_at = machine_time() + seconds

    def run() -> None:
        nonlocal due_at
        if machine_time() >= due_at:
            due_at = machine_time() + seconds
            step()

    return run


def run_guarded(name: str, work: Callable[[], object]) -> None:
    """Do what is repeated. An error is logged, and ends the database sessions of this thread."""
    began = machine_time()
    try:
        work()
    except Exception as error:  # any: the next run tries again
        FIGURES.count(Kind.JOB, name, "", FAILED, machine_time() - began)
        step = getattr(work, "__qualname__", "")
        log.warning("background job failed", job=name, step=step, error=repr(error))
        connections.close_all()
