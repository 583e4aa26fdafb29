"""The kill switch: how long after a halt is the last of n queued orders stopped?

Three shapes of the same n: many orders in few bundles, few orders in each of many bundles, and all
orders of one account.
"""

import statistics

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Result, bounded
from ops.kill_switch_drill import DrillError, DrillResult, run_drill

ACCOUNTS, TARGET_SECONDS = (250, 10, 1), 0.3


def killswitch(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Run the drill of `manage.py killswitch drill`; the slowest round must meet it."""
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
    return bounded(
        "killswitch", count, max(seconds), target=TARGET_SECONDS,
        also=all(run.is_within_bar for run in runs), seconds=max(statistics.median(seconds), 1e-9),
        times_ms=[1000 * took for took in seconds],
        unit="seconds of the slowest round; shapes: signals x accounts",
        shapes={name: _detail(of_shape) for name, of_shape in shapes.items()},
    )  # fmt: skip


def _round(environment: BenchEnvironment, name: str, count: int, accounts: int) -> DrillResult:
    environment.reset()
    run = run_drill(count, accounts=accounts)
    report_progress(f"  {name}: {run.seconds:.3f} s, {run.stopped} stopped")
    return run


def _detail(runs: list[DrillResult]) -> dict[str, object]:
    return {
        "rounds_s": [run.seconds for run in runs],
        "last_sent_s": [run.last_sent_seconds for run in runs],
        "stopped": [run.stopped for run in runs],
        "flatten_s": [run.flatten_seconds for run in runs],
    }  # fmt: skip
