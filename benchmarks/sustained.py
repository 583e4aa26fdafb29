"""Orders per second over many signals, against no-op tasks per second of the same workers."""

import time

from benchmarks import fanout
from benchmarks.costs import Costs, Metered
from benchmarks.data import BenchData
from benchmarks.environment import EXECUTION, BenchEnvironment, BenchError, report_progress
from benchmarks.noop import noop
from benchmarks.process_usage import Meter
from benchmarks.results import Result, compared
from config.celery import app

SIGNALS, NOOPS = 10, 3_000
FILLS = """
SELECT count(*) FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
WHERE o.signal_id = ANY(%s)
"""
TARGETS = {1: 5.0, 2: 3.0}  # by the number of processes


def two(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure `count` orders with two processes, as the stack has them."""
    return _sustained("sustained", environment, data, count, workers=2)


def one(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure `count` orders with a single process."""
    return _sustained("sustained_one", environment, data, count, workers=1)


def accounts_of(count: int) -> int:
    """Return how many accounts each of the signals has for `count` orders."""
    return max(count // SIGNALS, 1)


def _sustained(
    name: str, environment: BenchEnvironment, data: BenchData, count: int, *, workers: int
) -> Result:
    environment.run(workers=workers)
    _noops(environment, min(NOOPS, count) // 10, Meter(environment.pids))  # warm-up
    with fanout.trade_history(environment, data, accounts_of(count)):
        return _rounds(name, environment, data, count, workers)


def _rounds(
    name: str, environment: BenchEnvironment, data: BenchData, count: int, workers: int
) -> Result:
    noops = min(NOOPS, count)
    costs, noop_meter = Costs(environment), Meter(environment.pids)
    seconds, noop_seconds = [], []
    for number in range(environment.rounds):
        noop_seconds.append(_noops(environment, noops, noop_meter))
        fanout.plan_statements(environment, data, accounts_of(count))
        seconds.append(orders(environment, data, count, costs))
        environment.reset()
        rates = f"{count / seconds[-1]:,.0f} orders/s, {noops / noop_seconds[-1]:,.0f} no-ops/s"
        report_progress(f"  round {number + 1}: {rates}")
    return compared(
        name,
        count=count,
        seconds=seconds,
        baseline="no-op tasks of the same workers",
        baseline_count=noops,
        baseline_seconds=noop_seconds,
        target=TARGETS[workers],
        cpu_us_an_order=costs.cpu.us_each,
        cpu_us_a_noop=noop_meter.us_each,
        cpu_ratio=noop_meter.us_in_all / costs.cpu.us_in_all,
        statements=costs.statements.top(),
        processes=workers,
        signals=SIGNALS,
    )


def orders(environment: BenchEnvironment, data: BenchData, count: int, meter: Metered) -> float:
    """Return the seconds from the first publish to the end of the last of `count` orders."""
    subscribers = accounts_of(count)
    signals = [data.signal(data.feed(subscribers)) for _ in range(SIGNALS)]
    with meter.over(count):
        start = time.perf_counter()
        for signal in signals:
            fanout.publish_as_web(signal, data)
        environment.wait(environment.nothing_open, every=0.02)
        seconds = time.perf_counter() - start
    ((fills,),) = environment.sql(FILLS, [signal.pk for signal in signals])
    if fills != subscribers * SIGNALS:
        details = "".join(fanout.unfilled(environment, signal) for signal in signals)
        raise BenchError(f"{subscribers * SIGNALS} orders, but {fills} fills{details}")
    return seconds


def _noops(environment: BenchEnvironment, count: int, meter: Meter) -> float:
    """Return the seconds to process a backlog of no-ops that was queued while workers paused."""
    with environment.halted():
        with app.producer_pool.acquire(block=True) as producer:
            for number in range(count):
                noop.apply_async(([number],), queue=EXECUTION, producer=producer)
        metered = meter.over(count)
        metered.__enter__()
        start = time.perf_counter()
    environment.wait(lambda: environment.waiting(EXECUTION) == 0)
    seconds = time.perf_counter() - start
    metered.__exit__(None, None, None)
    return seconds
