"""The jobs of a process: one thread starts those that are due, and two pools of threads run them.

A job that hangs delays no other: its pool gets one more thread until it ends. A thread has Django's
own database connection, which is closed by its age at the end of a run. docs/adr/0050.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from django.db import close_old_connections, connections

from common.clocks import machine_time
from common.process.call_figures import FIGURES, Kind
from common.process.jobs import Job, Pool, pace, run_guarded

log = structlog.get_logger(__name__)
IDLE_SECONDS = 30.0  # an unused thread ends, and so does its database session
HANGS_SECONDS = 30.0  # a run that goes on so long after a report is reported again
LONG, LATE = "long", "late"
NEVER = float("inf")


@dataclass(eq=False, slots=True)
class _Timed:
    """A job with its times.

    next_at: when it is due by its interval. queued_at: when it was due, while no thread has it.
    began_at, reports: of this run.
    """

    job: Job
    ended_at: float
    next_at: float
    began_at: float | None = None
    queued_at: float | None = None
    has_run: bool = False
    is_replaced: bool = False  # its pool has one more thread
    reports: int = 0


@dataclass(eq=False, slots=True)
class _Threads:
    """The threads of a pool. allowed: how many may run jobs at once; busy: how many do."""

    name: str
    allowed: int
    busy: int = 0
    idle: list["_Thread"] = field(default_factory=list)
    queue: deque[_Timed] = field(default_factory=deque)


class _Thread(threading.Thread):
    """A thread of a pool, with the first job that it runs."""

    def __init__(self, name: str, first: _Timed, work: Callable[["_Thread", _Timed], None]) -> None:
        super().__init__(daemon=True, name=name)
        self.given: _Timed | None = first
        self.is_given = threading.Event()
        self._first, self._work = first, work

    def run(self) -> None:
        """Run jobs until none is given for long, or the process ends."""
        try:
            self._work(self, self._first)
        finally:
            connections.close_all()


class Scheduler:
    """Runs jobs from `add` until the process is to end.

    One lock guards all state; no job and no statement runs under it.
    """

    def __init__(
        self,
        ended: threading.Event,
        postponed: Callable[[Job, bool], float] = lambda job, has_run: 0.0,
    ) -> None:
        """ended: no job starts once it is set. postponed: by how many seconds a job is due later
        now; has_run: whether it has run since the start. Call `wake` when that has changed."""
        self._ended, self._postponed = ended, postponed
        self._changed = threading.Condition()
        self._jobs: list[_Timed] = []
        self._pools = {pool: _Threads(*pool.value) for pool in Pool}
        self._looks_at = NEVER
        self._thread: threading.Thread | None = None

    def add(self, jobs: Sequence[Job]) -> None:
        """Repeat these jobs, too. Each is due for the first time after its interval."""
        for job in jobs:
            if job.alarm is not None:
                job.alarm.listen("scheduler", self.wake)
        with self._changed:
            now = machine_time()
            self._jobs += [_Timed(job, now, now + pace(job)) for job in jobs]
            self._changed.notify()
            if self._thread is None and self._jobs:
                self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Look for due jobs now: an alarm is set, or a job is not postponed any more."""
        with self._changed:
            self._changed.notify()

    def follow_paces(self) -> None:
        """Use the present intervals: settings have changed."""
        with self._changed:
            for one in self._jobs:
                if callable(one.job.seconds) and one.began_at is None:
                    one.next_at = one.ended_at + pace(one.job)
            self._changed.notify()

    def wait_ended(self, seconds: float) -> bool:
        """Wait for the jobs that run; return whether all have ended. Call it at the end."""
        with self._changed:
            self._changed.notify_all()
            for pool in self._pools.values():
                for one in pool.queue:
                    one.queued_at = None
                pool.queue.clear()
            return self._changed.wait_for(
                lambda: all(one.began_at is None for one in self._jobs), seconds
            )

    def _run(self) -> None:
        while not self._ended.is_set():
            long: list[tuple[Job, float]] = []
            try:
                with self._changed:
                    now = machine_time()
                    self._looks_at = NEVER
                    for one in self._jobs:
                        at = self._look_at(one, now, long)
                        self._looks_at = min(self._looks_at, at)  # or that of one that began
                    if not long:
                        self._changed.wait(max(0.0, min(self._looks_at - now, IDLE_SECONDS)))
                for job, took in long:
                    log.warning("background job takes long", job=job.name, over=int(took))
                    FIGURES.count(Kind.JOB, job.name, "", LONG, took)
            except Exception:  # any: without this thread no job would run any more
                log.exception("jobs not started")
                self._ended.wait(1.0)
        with self._changed:
            for pool in self._pools.values():
                for thread in pool.idle:
                    thread.is_given.set()

    def _look_at(self, one: _Timed, now: float, long: list[tuple[Job, float]]) -> float:
        """Start a job if it is due; note one that takes long. Return when to look at it again."""
        pool = self._pools[one.job.pool]
        if one.queued_at is not None:
            return NEVER
        if one.began_at is not None:
            took = now - one.began_at
            if not one.is_replaced and took >= one.job.patience:
                one.is_replaced = True
                pool.allowed += 1
                self._serve(pool)
            if took >= one.job.limit + one.reports * HANGS_SECONDS:
                one.reports += 1
                long.append((one.job, took))
            report = one.job.limit + one.reports * HANGS_SECONDS
            return one.began_at + (report if one.is_replaced else one.job.patience)
        due_at = one.next_at + self._postponed(one.job, one.has_run)
        alarm = one.job.alarm
        if alarm is not None:
            due_at = min(due_at, now + alarm.seconds())
        if due_at > now:
            return due_at
        if alarm is not None:
            alarm.take()
        one.queued_at = now
        pool.queue.append(one)
        self._serve(pool)
        return NEVER

    def _serve(self, pool: _Threads) -> None:
        """Give what is due to threads. The one that was used last comes first, so that what the
        others have becomes old and can be closed."""
        while pool.queue and pool.busy < pool.allowed:
            if pool.idle:
                thread = pool.idle.pop()
                thread.given = self._begin(pool)
                thread.is_given.set()
            else:
                # RuntimeError, if the system has no thread: it stays in the queue.
                _Thread(pool.name, pool.queue[0], self._work).start()
                self._begin(pool)

    def _begin(self, pool: _Threads) -> _Timed:
        one = pool.queue.popleft()
        one.began_at = machine_time()
        if one.queued_at is not None and (waited := one.began_at - one.queued_at) >= one.job.limit:
            FIGURES.count(Kind.JOB, one.job.name, "", LATE, waited)
        one.queued_at = None
        self._looks_at = min(self._looks_at, one.began_at + one.job.patience)
        pool.busy += 1
        return one

    def _work(self, thread: _Thread, first: _Timed) -> None:
        one: _Timed | None = first
        while one is not None:
            if not self._ended.is_set():
                run_guarded(one.job.name, one.job.run)
                close_old_connections()
            one = self._end(thread, one) or self._wait(thread, self._pools[one.job.pool])

    def _end(self, thread: _Thread, one: _Timed) -> _Timed | None:
        """Note the end of a run; return the next job, if any is due."""
        pool = self._pools[one.job.pool]
        with self._changed:
            pool.busy -= 1
            pool.allowed -= one.is_replaced
            one.began_at, one.is_replaced, one.reports, one.has_run = None, False, 0, True
            one.ended_at = machine_time()
            one.next_at = one.ended_at + pace(one.job)
            thread.given = None
            alarm = one.job.alarm
            early = NEVER if alarm is None else one.ended_at + alarm.seconds()
            if self._ended.is_set() or min(one.next_at, early) < self._looks_at:
                self._changed.notify_all()
            if pool.queue and pool.busy < pool.allowed:
                self._changed.notify()  # its limit may come first
                return self._begin(pool)
            thread.is_given.clear()
            pool.idle.append(thread)
            return None

    def _wait(self, thread: _Thread, pool: _Threads) -> _Timed | None:
        """Wait for the next job of an idle thread; None: the thread must end."""
        while True:
            if not self._ended.is_set():
                thread.is_given.wait(IDLE_SECONDS)
            with self._changed:
                if thread.given is not None:
                    return thread.given
                if self._ended.is_set() or pool.busy + len(pool.idle) > 1:
                    pool.idle.remove(thread)
                    return None
