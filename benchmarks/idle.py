"""CPU time of the whole stack while nothing is open: a small server has to be silent at night."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from uuid import UUID

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.process_usage import Pids
from benchmarks.results import Baseline, Result, bounded
from brokers.paper.db_sessions import UNUSED_SECONDS
from common.db.shared_sessions.base import IDLE_SECONDS
from config.installation import ROOT
from execution.runtime.open_work import LINGER_SECONDS
from prices.feed_runner import FIND_SOURCES_EVERY

TARGET = 4.0  # CPU seconds a minute
MINUTE = 60.0
SECONDS, SMALL_SECONDS = 60.0, 2.0  # of each measurement; with a few accounts it is only a test
USUAL_ACCOUNTS = 100  # from so many on it is a measurement
SETTLE_SECONDS = FIND_SOURCES_EVERY + 1  # until the prices process has seen a change
# Until jobs sleep, and the sessions that trading had opened are closed.
QUIET_SECONDS = max(LINGER_SECONDS, UNUSED_SECONDS) + IDLE_SECONDS
BASELINE = "as many plain Celery workers, and beat"
WORKERS = 5  # of the stack, in Celery
DEACTIVATE_OTHERS = """
UPDATE connections_executionconnection SET is_active = false
WHERE is_active AND type = 'paper' AND id <> ALL(%s) RETURNING id
"""
ACTIVATE = "UPDATE connections_executionconnection SET is_active = true WHERE id = ANY(%s)"
SOURCE_ACTIVE = "UPDATE connections_dataconnection SET is_active = %s WHERE id = %s"


def idle(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure the stack with `count` accounts, all tested and subscribed, and nothing open.

    No price source is followed, as in a closed market. The same with constant prices, which are
    stored and judged each second, is in the detail.
    """
    environment.run(workers=2)
    environment.reset()
    data.feed(count)
    # Not what other benchmarks have left to do: dead rows, and pages for the next checkpoint.
    environment.sql("VACUUM ANALYZE")
    environment.sql("CHECKPOINT")
    is_usual = count >= USUAL_ACCOUNTS
    seconds = SECONDS if is_usual else SMALL_SECONDS
    with _only(environment, data.connections(count)):
        with _without_prices(environment, data):
            _wait(QUIET_SECONDS if is_usual else 0.0)
            by_name = _measure(partial(_pids, environment), seconds)
            plain = _plain_celery(environment, seconds)
        with_prices = _measure(partial(_pids, environment), seconds)
    ours = sum(by_name.values())
    return bounded(
        "idle", count, max(ours, 0.001), target=TARGET, seconds=seconds,
        baseline=Baseline(BASELINE, seconds, max(plain, 0.001) / MINUTE),
        unit="CPU seconds a minute", baseline_cpu_s=plain, cpu_s=by_name,
        with_prices_cpu_s=sum(with_prices.values()),
    )  # fmt: skip


def _pids(environment: BenchEnvironment) -> Pids:
    return {**environment.pids(), "supervisor": [os.getpid()]}


def _measure(pids: Callable[[], Pids], seconds: float) -> dict[str, float]:
    """Return the CPU seconds a minute of each group of processes.

    pids: asked for twice, since sessions of the database begin and end meanwhile.
    """
    before, began = process_usage.run_seconds(pids()), time.monotonic()
    time.sleep(seconds)
    after, took = process_usage.run_seconds(pids()), time.monotonic() - began
    return {name: MINUTE * (after.get(name, used) - used) / took for name, used in before.items()}


@contextlib.contextmanager
def _only(environment: BenchEnvironment, accounts: Sequence[UUID]) -> Iterator[None]:
    """Within, no account but these is read: other benchmarks have made hundreds."""
    others = [account for (account,) in environment.sql(DEACTIVATE_OTHERS, list(accounts))]
    try:
        yield
    finally:
        environment.sql(ACTIVATE, others)


@contextlib.contextmanager
def _without_prices(environment: BenchEnvironment, data: BenchData) -> Iterator[None]:
    """Within, the prices process follows no source."""
    try:
        environment.sql(SOURCE_ACTIVE, False, data.source.pk)
        _wait(SETTLE_SECONDS)
        yield
    finally:
        environment.sql(SOURCE_ACTIVE, True, data.source.pk)
        _wait(SETTLE_SECONDS)


def _wait(seconds: float) -> None:
    if seconds:
        report_progress(f"  waiting {seconds:g} s until all is quiet …")
        time.sleep(seconds)


def _plain_celery(environment: BenchEnvironment, seconds: float) -> float:
    """Return the CPU seconds a minute of Celery's own workers and beat, with the same Redis."""
    environ = {**os.environ, "REDIS_URL": environment.stack.environ["REDIS_URL"]}
    environ.pop("DJANGO_SETTINGS_MODULE", None)  # or Celery would set Django up
    celery = [sys.executable, "-m", "celery", "-A", "benchmarks.plain_celery"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        lines = [
            [*celery, "worker", "-P", "solo", "-n", f"plain-{number}@%h", *quiet]
            for number in range(WORKERS)
        ]
        lines.append([*celery, "beat", "-l", "ERROR", "-s", f"{folder}/schedule"])
        started = [
            subprocess.Popen(line, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
            for line in lines
        ]
        try:
            _wait(SETTLE_SECONDS)
            celery_pids = {"celery": [process.pid for process in started]}
            by_name = _measure(lambda: celery_pids, seconds)
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)
    environment.redis.delete("plain")
    return by_name["celery"]
