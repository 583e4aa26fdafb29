"""Fan-out of one signal to `count` accounts: from publish() to the commit of the last fill."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from benchmarks import baseline
from benchmarks.costs import Costs, Metered
from benchmarks.data import BenchData
from benchmarks.environment import EXECUTION, BenchEnvironment, BenchError, report_progress
from benchmarks.process_usage import Meter
from benchmarks.results import Result, compared, percentile
from common.sql import run
from execution.models import Order
from execution.signal_stages import stages_of
from signals.models import Signal
from signals.services import publish
from users.tenancy import on_behalf_of

TARGET = 25.0
WAIT_SECONDS, FEWEST_A_SECOND = 180, 300
BASELINE_MAX = 500  # the baseline is linear and slow
PLANNING, PLANNING_TRIES = 100, 10  # accounts of each signal of `plan_statements`

COUNTS = """
SELECT (SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'),
  (SELECT count(*) FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
    WHERE o.signal_id = %s),
  (SELECT count(*) FROM positions_executionposition WHERE signal_id = %s),
  (SELECT count(*) FROM paper_order p JOIN execution_order o USING (client_order_id)
    WHERE o.signal_id = %s AND p.status = 'FILLED')
"""
WORKERS = "SELECT DISTINCT worker_id FROM execution_order WHERE signal_id = ANY(%s)"
ROUTED = "UPDATE events_event SET routed_at = clock_timestamp() WHERE routed_at IS NULL"
UNFILLED = """
SELECT o.status, o.reason, o.detail, c.name, h.status, h.last_error
FROM execution_order o JOIN connections_executionconnection c ON c.id = o.connection_id
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE o.signal_id = %s AND o.status <> 'FILLED' ORDER BY o.id LIMIT 5
"""
STAGES = """
SELECT extract(epoch FROM o.created_at - %s) * 1000, extract(epoch FROM o.submitted_at - %s) * 1000,
  extract(epoch FROM p.accepted_at - %s) * 1000, extract(epoch FROM o.filled_at - %s) * 1000
FROM execution_order o JOIN paper_order p USING (client_order_id) WHERE o.signal_id = %s
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One fan-out. seconds: from publish to the last commit, as seen from outside."""

    seconds: float
    latencies_ms: list[float]  # from publish to the fill of each order
    stages_ms: dict[str, Any]
    signal: Signal


def ours(
    environment: BenchEnvironment,
    data: BenchData,
    count: int,
    meter: Metered | None = None,
) -> Run:
    """Publish a signal to `count` subscribers and wait until all of it is durable.

    meter: counts what that costs, without what the benchmark itself reads afterwards.
    """
    signal = data.signal(data.feed(count))
    with meter.over(count) if meter else contextlib.nullcontext():
        began, start = datetime.now(UTC), time.perf_counter()
        committed = publish_as_web(signal, data)
        enqueued = time.perf_counter()
        environment.wait(
            environment.nothing_open, seconds=max(WAIT_SECONDS, count / FEWEST_A_SECOND)
        )
        seconds = time.perf_counter() - start
    _check(environment, signal, count)
    steps = _steps(environment, began, signal)
    stages: dict[str, Any] = {
        "published": 1000 * (committed - start),
        "enqueued": 1000 * (enqueued - start),
        **{name: [values[0], percentile(values, 50), values[-1]] for name, values in steps.items()},
        "all_committed": 1000 * seconds,
    }
    return Run(seconds, steps["filled"], stages, signal)


def console_stages(signal: Signal, count: int) -> list[dict[str, Any]]:
    """Return the stages of a signal as its page in the console shows them."""
    orders = Order.objects.filter(signal=signal, leg="entry")
    stages = [asdict(stage) for stage in stages_of(orders, count=count).stages]
    return [{name: value for name, value in one.items() if name != "text"} for one in stages]


@contextlib.contextmanager
def trade_history(environment: BenchEnvironment, data: BenchData, count: int) -> Iterator[None]:
    """Within: the tables hold `count` trades that have been opened and closed, and `reset` keeps
    them."""
    environment.reset()
    first = data.signal(data.feed(count))
    for signal in (first, data.close(first)):
        publish_as_web(signal, data)
        environment.wait(environment.nothing_open)
    with environment.history():
        environment.reset()
        yield


def plan_statements(environment: BenchEnvironment, data: BenchData, count: int) -> None:
    """Let each worker for entries plan its statements: TRUNCATE and ANALYZE threw all plans away.

    An installation plans them again after each vacuum of a busy table, once in 20,000 orders or so.
    Nothing of these orders is left to be done afterwards. count: the most accounts to use.

    Raises BenchError if one of them is not filled, or a worker got none.
    """
    accounts, workers = min(count, PLANNING), set[str]()
    for _ in range(PLANNING_TRIES):
        signals = [data.signal(data.feed(accounts)) for _ in range(2 * environment.workers)]
        for signal in signals:  # faster than they are executed, so each worker should get some
            publish_as_web(signal, data)
        environment.wait(environment.nothing_open)
        for signal in signals:
            _check(environment, signal, accounts)
        found = environment.sql(WORKERS, [signal.pk for signal in signals])
        workers |= {worker_id for (worker_id,) in found}
        if len(workers) >= environment.workers:
            environment.sql(ROUTED)
            return
    raise BenchError(f"{len(workers)} of {environment.workers} workers have planned")


def publish_as_web(signal: Signal, data: BenchData) -> float:
    """Publish as the web process does, under row-level security.

    Returns when it committed, in seconds of `time.perf_counter`.
    """
    committed: list[float] = []
    with as_web(), on_behalf_of(data.operator):
        transaction.on_commit(lambda: committed.append(time.perf_counter()))
        publish(signal.pk, by=data.operator)
    return committed[0]


@contextlib.contextmanager
def as_web() -> Iterator[None]:
    """Use the database role of the web process meanwhile."""
    run("SET ROLE fillcast_web")
    try:
        yield
    finally:
        run("RESET ROLE")


def _steps(
    environment: BenchEnvironment, began: datetime, signal: Signal
) -> dict[str, list[float]]:
    """Return when each order was written, claimed, accepted by the broker and filled: sorted ms."""
    rows = environment.sql(STAGES, *[began] * 4, signal.pk)
    names = ("created", "intent", "at_broker", "filled")
    return {
        name: sorted(map(float, column))
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def plain(
    environment: BenchEnvironment,
    data: BenchData,
    count: int,
    meter: Metered | None = None,
) -> float:
    """Return the baseline's seconds for `count` connections. meter: as for `ours`."""
    signal = data.signal(data.feed(count))
    connection_ids = data.connections(count)
    with meter.over(count) if meter else contextlib.nullcontext():
        start = time.perf_counter()
        baseline.fan_out(signal.pk, connection_ids, EXECUTION)
        environment.wait(lambda: _filled(environment, signal) == count, every=0.05)
        seconds = time.perf_counter() - start
    _check(environment, signal, count)
    return seconds


def _filled(environment: BenchEnvironment, signal: Signal) -> int:
    counted = "SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'"
    return int(environment.sql(counted, signal.pk)[0][0])


def _check(environment: BenchEnvironment, signal: Signal, count: int) -> None:
    """Check that each order, fill, position and row of the broker's books exists once."""
    (counts,) = environment.sql(COUNTS, *[signal.pk] * 4)
    if set(counts) != {count}:
        message = f"{count} orders, but orders, fills, positions, broker's: {counts}"
        raise BenchError(message + unfilled(environment, signal))


def unfilled(environment: BenchEnvironment, signal: Signal) -> str:
    """Describe the orders of a signal that are not filled, one per line, at most five."""
    message = [
        f"\n  {name}: {status} {reason} {detail} (the account: {health}{error and ', '}{error})"
        for status, reason, detail, name, health, error in environment.sql(UNFILLED, signal.pk)
    ]
    return "".join(message)


def fanout(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare a fan-out with one task and plain ORM writes per connection."""
    environment.run(workers=2)
    with trade_history(environment, data, count):
        plain(environment, data, min(count, 50))  # warm-up, as the history is for ours
        environment.reset()
        return _compared_rounds(environment, data, count)


def _compared_rounds(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    few = min(count, BASELINE_MAX)
    costs, plain_meter = Costs(environment), Meter(environment.pids)
    runs, plain_seconds, stages = [], [], {}
    for number in range(environment.rounds):
        plain_seconds.append(plain(environment, data, few, plain_meter))
        environment.reset()
        plan_statements(environment, data, count)
        runs.append(ours(environment, data, count, costs))
        stages[runs[-1].signal.pk] = console_stages(runs[-1].signal, count)
        environment.reset()
        report_progress(
            f"  round {number + 1}: {runs[-1].seconds:.3f} s, plain {plain_seconds[-1]:.2f} s"
        )
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    return compared(
        "fanout",
        count=count,
        seconds=[run.seconds for run in runs],
        baseline="one plain task and ORM writes per connection",
        baseline_count=few,
        baseline_seconds=plain_seconds,
        target=TARGET,
        latencies_ms=middle.latencies_ms,
        stages_ms=middle.stages_ms,
        stages=stages[middle.signal.pk],
        cpu_us_an_order=costs.cpu.us_each,
        statements=costs.statements.top(),
        baseline_cpu_us_an_order=plain_meter.us_each,
        cpu_ratio=plain_meter.us_in_all / costs.cpu.us_in_all,
    )
