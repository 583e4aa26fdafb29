"""The kill switch: how long after a halt is the last of n queued orders stopped?

Three shapes of the same n: many orders in few bundles, few orders in each of many bundles, and all
orders of one account.
"""

import statistics
from dataclasses import asdict

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
            runs = shapes.setdefault(f"{max(1, -(-count // accounts))}x{accounts}", [])
            for _ in range(environment.rounds):
                environment.reset()
                runs.append(run_drill(count, accounts=accounts))
                report_progress(f"  {[*shapes][-1]}: {runs[-1].seconds:.3f} s")
    except DrillError as error:
        raise BenchError(str(error)) from error
    environment.reset()
    every = [run for runs in shapes.values() for run in runs]
    seconds = [run.seconds for run in every]
    return bounded(
        "killswitch", count, max(seconds), target=TARGET_SECONDS,
        also=all(run.is_within_bar for run in every), seconds=max(statistics.median(seconds), 1e-9),
        times_ms=[1000 * took for took in seconds],
        unit="seconds of the slowest round; shapes: signals x accounts",
        shapes={name: [asdict(run) for run in runs] for name, runs in shapes.items()},
    )  # fmt: skip
