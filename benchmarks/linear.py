"""Large fan-outs: does an order of a large signal take longer than one of a thousand?"""

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from benchmarks import fanout, process_usage
from benchmarks.costs import Costs
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.results import Result, compared
from common.operational.source import VARIABLE, with_settings

TARGET = 1.3
MOST_GROWTH_MB = 0.01  # of all processes, for each further order of the signal
MAX_AGE = "execution.market_entry_max_age_seconds"
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
    environ = environment.stack.environ
    before = environ.get(VARIABLE, "")
    environ[VARIABLE] = with_settings(before, {MAX_AGE: 600})
    try:
        yield
    finally:
        environment.run(workers=0)
        environ[VARIABLE] = before


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
    warmed_up = _Size(environment, min(count, WARM))
    warmed_up.run(environment, data)
    few_mb = _memory(environment)
    large, small = _Size(environment, count), _Size(environment, few)
    for number in range(rounds):
        for _ in range(max(count // few // 10, 1)):  # a short one varies most
            small.run(environment, data)
        large.run(environment, data)
        report_progress(f"  round {number + 1}: {large.median:.2f} s, {few}: {small.median:.3f} s")
    mb = _memory(environment)
    environment.reset()
    return _result(name, large, small, _growth(mb, few_mb))


class _Size:
    """Fan-outs to the same number of connections: seconds of each, what an order costs in all."""

    def __init__(self, environment: BenchEnvironment, count: int) -> None:
        self.count = count
        self.seconds: list[float] = []
        self.costs = Costs(environment)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def run(self, environment: BenchEnvironment, data: BenchData) -> None:
        environment.reset()
        fanout.plan_statements(environment, data, self.count)
        self.seconds.append(fanout.ours(environment, data, self.count, self.costs).seconds)


def _memory(environment: BenchEnvironment) -> Mapping[str, float]:
    return process_usage.memory_mb(environment.pids())


def _growth(mb: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Return by how many MB each process has grown; the sum is `in_all`."""
    each = {name: used - before.get(name, 0.0) for name, used in mb.items()}
    return {"in_all": sum(each.values()), **each}


def _result(name: str, large: _Size, small: _Size, growth: Mapping[str, Any]) -> Result:
    ratio = (large.median / large.count) / (small.median / small.count)
    is_bounded = growth["in_all"] <= MOST_GROWTH_MB * large.count
    result = compared(
        name,
        count=large.count,
        seconds=large.seconds,
        baseline=f"the same for {small.count} connections",
        baseline_count=small.count,
        baseline_seconds=small.seconds,
        target=TARGET,
        growth_mb=growth,
        cpu_us_an_order=large.costs.cpu.us_each,
        baseline_cpu_us_an_order=small.costs.cpu.us_each,
        statements=large.costs.statements.top(),
        baseline_statements=small.costs.statements.top(),
    )
    return replace(
        result, ratio=ratio, ok=ratio <= TARGET and is_bounded, half=ratio <= 2 * TARGET,
        more_is_better=False,
    )  # fmt: skip
