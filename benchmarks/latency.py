"""From a signal to its order at the broker, from a fill to its committed row, and from a close to
its exit at the broker, of each adapter.

Each adapter trades at its fake broker, with its real client library, in a whole trading process.
"""

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment
from benchmarks.programs import Program
from benchmarks.results import Result, bounded, percentile

SUBMIT_MS, REPORT_MS = 250.0, 100.0


def latency(environment: BenchEnvironment, _: BenchData, count: int) -> Result:
    environment.run(workers=0)
    environ = environment.stack.environ
    with Program("benchmarks.latency_engine", count, env=environ) as engine:
        figures: dict[str, dict[str, list[float]]] = engine.read()
    each = {
        name: {f"{what.removesuffix('ms')}p{percent}_ms": percentile(times, percent)
               for what, times in of_stage.items() for percent in (50, 99)}
        for name, of_stage in figures.items()
    }  # fmt: skip
    submit = max(one[f"{what}_p99_ms"] for one in each.values() for what in ("submit", "exit"))
    report = max(one["report_p99_ms"] for one in each.values())
    took = sum(sum(stage) for one in figures.values() for stage in one.values()) / 1000
    return bounded(
        "latency", count, max(submit / SUBMIT_MS, report / REPORT_MS), target=1.0, seconds=took,
        items=count * len(each), unit="the slowest adapter's p99 by its target",
        submit_p99_ms=submit, submit_target_ms=SUBMIT_MS, report_p99_ms=report,
        report_target_ms=REPORT_MS, adapters=each,
    )  # fmt: skip
