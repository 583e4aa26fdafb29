"""Large fan-outs: does an order of a large signal take longer than one of a thousand?"""

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import fanout, process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.results import Result, compared

TARGET = 1.3
MOST_GROWTH_MB = 0.01  # of all processes, for each further order of the signal
MAX_AGE = "FILLCAST_MARKET_ENTRY_MAX_AGE_SECONDS"
WARM = 10_000  # connections of the first, unmeasured fan-out, at most


def ten_thousand(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare `count` connections with a tenth of them."""
    return _linear("linear", environment, data, count, max(count // 10, 1), environment.rounds)


def hundred_thousand(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare `count` connections with a hundredth of them, once: it takes minutes."""
    environment.run(workers=0)
    with patience(environment):
        return _linear("fanout_100000", environment, data, count, max(count // 100, 1), 1)


@contextlib.contextmanager
def patience(environment: BenchEnvironment) -> Iterator[None]:
    """Let processes that start meanwhile send entries of older signals: they take a minute."""
    environment.stack.environ[MAX_AGE] = "600"
    try:
        yield
    finally:
        environment.run(workers=0)
        del environment.stack.environ[MAX_AGE]


def _linear(
    name: str, environment: BenchEnvironment, data: BenchData, count: int, few: int, rounds: int
) -> Result:
    """Compare the time per order of `count` connections with that of `few`: less is better."""
    environment.run(workers=2)
    with fanout.trade_history(environment, data, few):
        return _rounds(name, environment, data, count, few, rounds)


def _rounds(
    name: str, environment: BenchEnvironment, data: BenchData, count: int, few: int, rounds: int
) -> Result:
    _run(environment, data, min(count, WARM))
    few_mb = _memory(environment)
    seconds: dict[int, list[float]] = {count: [], few: []}
    for number in range(rounds):
        for size in (few, count):
            # A short one varies most, so it is repeated.
            for _ in range(1 if size == count else max(count // few // 10, 1)):
                seconds[size].append(_run(environment, data, size).seconds)
        of_count, of_few = (statistics.median(seconds[size]) for size in (count, few))
        report_progress(f"  round {number + 1}: {of_count:.2f} s, {few}: {of_few:.3f} s")
    mb = _memory(environment)
    environment.reset()
    return _result(name, count, few, seconds, _growth(mb, few_mb))


def _run(environment: BenchEnvironment, data: BenchData, count: int) -> fanout.Run:
    environment.reset()
    fanout.plan_statements(environment, data, count)
    return fanout.ours(environment, data, count)


def _memory(environment: BenchEnvironment) -> Mapping[str, float]:
    return process_usage.memory_mb(environment.pids())


def _growth(mb: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Return by how many MB each process has grown; the sum is `in_all`."""
    each = {name: used - before.get(name, 0.0) for name, used in mb.items()}
    return {"in_all": sum(each.values()), **each}


def _result(
    name: str, count: int, few: int, seconds: Mapping[int, Sequence[float]],
    growth: Mapping[str, Any],
) -> Result:  # fmt: skip
    ratio = (statistics.median(seconds[count]) / count) / (statistics.median(seconds[few]) / few)
    is_bounded = growth["in_all"] <= MOST_GROWTH_MB * count
    result = compared(
        name,
        count=count,
        seconds=seconds[count],
        baseline=f"the same for {few} connections",
        baseline_count=few,
        baseline_seconds=seconds[few],
        target=TARGET,
        growth_mb=growth,
    )
    return replace(
        result, ratio=ratio, ok=ratio <= TARGET and is_bounded, half=ratio <= 2 * TARGET,
        more_is_better=False,
    )  # fmt: skip
