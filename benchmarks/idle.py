"""CPU time of the whole stack while nothing is open: a small server has to be silent at night."""

import os
import time

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.results import Result, bounded
from brokers.paper.db_sessions import UNUSED_SECONDS
from common.process.scheduler import IDLE_SECONDS
from execution.runtime.open_work import LINGER_SECONDS
from prices.feed_runner import FIND_SOURCES_EVERY

TARGET = 4.0  # CPU seconds a minute
SECONDS, SMALL_SECONDS = 60.0, 2.0  # of the measurement; with a few accounts it is only a test
USUAL_ACCOUNTS = 100  # from so many on it is a measurement
# Until the prices process has seen a change; until jobs sleep, and the sessions that trading had
# opened are closed.
SETTLE_SECONDS = FIND_SOURCES_EVERY + 1
QUIET_SECONDS = SETTLE_SECONDS + max(LINGER_SECONDS, UNUSED_SECONDS) + IDLE_SECONDS
DEACTIVATE_OTHERS = """
UPDATE connections_executionconnection SET is_active = false
WHERE is_active AND type = 'paper' AND id <> ALL(%s) RETURNING id
"""
ACTIVATE = "UPDATE connections_executionconnection SET is_active = true WHERE id = ANY(%s)"
SOURCE_ACTIVE = "UPDATE connections_dataconnection SET is_active = %s WHERE id = %s"


def idle(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure with `count` accounts only. No price source is followed, as in a closed market."""
    environment.run(workers=2)
    environment.reset()
    data.feed(count)
    # Not what other benchmarks have left to do: dead rows, and pages for the next checkpoint.
    environment.sql("VACUUM ANALYZE")
    environment.sql("CHECKPOINT")
    is_usual = count >= USUAL_ACCOUNTS
    others = [pk for (pk,) in environment.sql(DEACTIVATE_OTHERS, data.connections(count))]
    environment.sql(SOURCE_ACTIVE, False, data.source.pk)
    try:
        quiet = QUIET_SECONDS if is_usual else SETTLE_SECONDS
        report_progress(f"  waiting {quiet:g} s until all is quiet …")
        time.sleep(quiet)
        by_name, seconds = _measure(environment, SECONDS if is_usual else SMALL_SECONDS)
    finally:
        environment.sql(ACTIVATE, others)
        environment.sql(SOURCE_ACTIVE, True, data.source.pk)
        time.sleep(SETTLE_SECONDS)
    return bounded(
        "idle", count, max(sum(by_name.values()), 0.001), target=TARGET, seconds=seconds,
        unit="CPU seconds a minute", cpu_s=by_name,
    )  # fmt: skip


def _measure(environment: BenchEnvironment, seconds: float) -> tuple[dict[str, float], float]:
    """Return the CPU seconds a minute of each group of processes, and how long it took."""
    before, began = _used(environment), time.monotonic()
    time.sleep(seconds)
    after, took = _used(environment), time.monotonic() - began  # sessions may have ended
    return {name: 60 * (after.get(name, used) - used) / took for name, used in before.items()}, took


def _used(environment: BenchEnvironment) -> dict[str, float]:
    return process_usage.cpu_seconds({**environment.pids(), "supervisor": [os.getpid()]})
