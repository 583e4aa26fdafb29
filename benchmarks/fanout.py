"""Fan-out of one signal to `count` accounts: from publish() to the commit of the last fill."""

import contextlib
import time

from benchmarks import baseline
from benchmarks.data import BenchData
from benchmarks.environment import EXECUTION, BenchEnvironment, report_progress
from benchmarks.process_usage import Meter
from benchmarks.results import Result, compared
from benchmarks.trading import check, fan_out, plan_statements, trade_history

TARGET = 40.0
SECONDS = 0.15  # until the last of a thousand fills
BASELINE_MAX = 500  # the baseline is linear and slow
FILLED = "SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'"


def fanout(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    environment.run(workers=2)
    with trade_history(data, count):
        _plain(environment, data, min(count, 50))  # warm-up, as the history is for ours
        environment.reset()
        return _rounds(environment, data, count)


def _rounds(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    few = min(count, BASELINE_MAX)
    meter, plain_meter = Meter(environment.pids), Meter(environment.pids)
    runs, plain_seconds = [], []
    for number in range(environment.rounds):
        plain_seconds.append(_plain(environment, data, few, plain_meter))
        environment.reset()
        plan_statements(data, count)
        runs.append(fan_out(data, count, meter))
        environment.reset()
        took = f"{runs[-1].seconds:.3f} s, plain {plain_seconds[-1]:.2f} s"
        report_progress(f"  round {number + 1}: {took}")
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    return compared(
        "fanout", count=count, seconds=[run.seconds for run in runs],
        baseline="one plain task and ORM writes per connection", baseline_count=few,
        baseline_seconds=plain_seconds, target=TARGET,
        also=count > 1_000 or middle.seconds <= SECONDS, latencies_ms=middle.latencies_ms,
        target_s=SECONDS, cpu_us_an_order_in_all=meter.us_in_all, cpu_us_an_order=meter.us_each,
        baseline_cpu_us_an_order=plain_meter.us_each,
        cpu_ratio=plain_meter.us_in_all / meter.us_in_all,
    )  # fmt: skip


def _plain(
    environment: BenchEnvironment, data: BenchData, count: int, meter: Meter | None = None
) -> float:
    signal = data.signal(data.feed(count))
    connection_ids = data.connections(count)
    with meter.over(count) if meter else contextlib.nullcontext():
        start = time.perf_counter()
        baseline.fan_out(signal.pk, connection_ids, EXECUTION)
        environment.wait(lambda: environment.sql(FILLED, signal.pk)[0][0] == count, every=0.05)
        seconds = time.perf_counter() - start
    check(environment, signal, count)
    return seconds
