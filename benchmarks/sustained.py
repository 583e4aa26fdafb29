"""Orders per second over many signals, against no-op tasks per second of the same workers."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.baseline import noop
from benchmarks.curves import WORKERS, Point, cpu_of, curve
from benchmarks.data import BenchData
from benchmarks.environment import EXECUTION, BenchEnvironment, report_progress
from benchmarks.process_usage import Meter
from benchmarks.results import Result, compared
from benchmarks.trading import SIGNALS, accounts_of, plan_statements, sustain, trade_history
from config.celery import app

NOOPS = 3_000
TARGETS = {1: 5.0, 2: 3.0}  # by the number of processes
ORDERS = 10_000  # of each point of the curve


def two(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    return _sustained("sustained", environment, data, count, workers=2)


def one(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    return _sustained("sustained_one", environment, data, count, workers=1)


def _sustained(
    name: str, environment: BenchEnvironment, data: BenchData, count: int, *, workers: int
) -> Result:
    environment.run(workers=workers)
    noops = min(NOOPS, count)
    _noops(environment, noops // 10, Meter(environment.pids))  # warm-up
    meter, noop_meter = Meter(environment.pids), Meter(environment.pids)
    noop_seconds: list[float] = []
    seconds = _rounds(environment, data, count, meter, lambda: noop_seconds.append(
        _noops(environment, noops, noop_meter)
    ))  # fmt: skip
    return compared(
        name, count=count, seconds=seconds, baseline="no-op tasks of the same workers",
        baseline_count=noops, baseline_seconds=noop_seconds, target=TARGETS[workers],
        cpu_us_an_order_in_all=meter.us_in_all, cpu_us_an_order=meter.us_each,
        cpu_us_a_noop=noop_meter.us_each, cpu_ratio=noop_meter.us_in_all / meter.us_in_all,
        processes=workers, signals=SIGNALS,
    )  # fmt: skip


def _rounds(
    environment: BenchEnvironment, data: BenchData, count: int, meter: Meter,
    before: Callable[[], object],
) -> list[float]:  # fmt: skip
    """Return the seconds of each round. before: called before each."""
    seconds: list[float] = []
    with trade_history(data, accounts_of(count)):
        for number in range(environment.rounds):
            before()
            plan_statements(data, accounts_of(count))
            seconds.append(sustain(data, count, meter))
            environment.reset()
            report_progress(f"  round {number + 1}: {count / seconds[-1]:,.0f} orders/s")
    return seconds


def _noops(environment: BenchEnvironment, count: int, meter: Meter) -> float:
    """Return the seconds to process a backlog of no-ops that was queued while workers paused."""
    with ExitStack() as used:
        with environment.halted():
            with app.producer_pool.acquire(block=True) as producer:
                for number in range(count):
                    noop.apply_async(([number],), queue=EXECUTION, producer=producer)
            used.enter_context(meter.over(count))
            start = time.perf_counter()
        environment.wait(lambda: environment.waiting(EXECUTION) == 0)
        return time.perf_counter() - start


def workers(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    def measure(size: int) -> Point:
        environment.run(workers=size)
        meter = Meter(environment.pids)
        middle = statistics.median(_rounds(environment, data, ORDERS, meter, lambda: None))
        return {"seconds": middle, "us_an_order": 1e6 * middle / ORDERS,
                "orders_a_second": ORDERS / middle, **cpu_of(meter)}  # fmt: skip

    return curve(environment, "workers", WORKERS, count, measure)
