"""The kill switch: how long after a halt is the last of n queued orders stopped?

Three shapes of the same n: many orders in few bundles, few orders in each of many bundles, and all
orders of one account.
"""

import statistics

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Result, percentile
from ops.kill_switch_drill import BAR_SECONDS, DrillError, DrillResult, run_drill

ACCOUNTS = (250, 10, 1)


def killswitch(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Run the drill of `manage.py killswitch drill`; the slowest round must meet the bar."""
    environment.run(workers=2)
    environment.reset()
    shapes: dict[str, list[DrillResult]] = {}
    try:
        run_drill(min(count, 100))  # warm-up
        for accounts in ACCOUNTS:
            name = f"{max(1, -(-count // accounts))}x{accounts}"
            shapes[name] = [
                _round(environment, name, count, accounts) for _ in range(environment.rounds)
            ]
    except DrillError as error:
        raise BenchError(str(error)) from error
    environment.reset()
    runs = [run for of_shape in shapes.values() for run in of_shape]
    seconds = [run.seconds for run in runs]
    slowest, median = max(seconds), statistics.median(seconds)
    return Result(
        name="killswitch",
        n=count,
        seconds=median,
        rate=count / max(median, 1e-9),
        p50_ms=1000 * percentile(seconds, 50),
        p99_ms=1000 * slowest,
        baseline=None,
        ratio=slowest / BAR_SECONDS,
        target=1,
        ok=all(run.is_within_bar for run in runs),
        half=slowest <= 2 * BAR_SECONDS,
        detail={
            "shapes": "signals x accounts; ratio: the slowest round by the bar",
            **{name: _detail(of_shape) for name, of_shape in shapes.items()},
        },
    )


def _round(environment: BenchEnvironment, name: str, count: int, accounts: int) -> DrillResult:
    environment.reset()
    run = run_drill(count, accounts=accounts)
    report_progress(f"  {name}: {run.seconds:.3f} s, {run.stopped} stopped")
    return run


def _detail(runs: list[DrillResult]) -> dict[str, object]:
    return {
        "ratio": round(max(run.seconds for run in runs) / BAR_SECONDS, 4),
        "rounds_s": [round(run.seconds, 4) for run in runs],
        "last_sent_s": [round(run.last_sent_seconds, 4) for run in runs],
        "stopped": [run.stopped for run in runs],
        "flatten_s": [run.flatten_seconds and round(run.flatten_seconds, 4) for run in runs],
    }
