"""The kill switch: how long after a halt is the last of n queued orders stopped?"""

import statistics

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Result, percentile
from ops.kill_switch_drill import BAR_SECONDS, DrillError, run_drill


def killswitch(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Run the drill of `manage.py killswitch drill`; the slowest round must meet the bar."""
    environment.run(workers=2)
    environment.reset()
    runs = []
    try:
        run_drill(min(count, 100))  # warm-up
        for number in range(environment.rounds):
            environment.reset()
            runs.append(run_drill(count))
            report_progress(
                f"  round {number + 1}: {runs[-1].seconds:.3f} s, {runs[-1].stopped} stopped"
            )
    except DrillError as error:
        raise BenchError(str(error)) from error
    environment.reset()
    seconds = [run.seconds for run in runs]
    slowest, median = max(seconds), statistics.median(seconds)
    return Result(
        name="killswitch",
        n=runs[0].queued,
        seconds=median,
        rate=runs[0].queued / max(median, 1e-9),
        p50_ms=1000 * percentile(seconds, 50),
        p99_ms=1000 * slowest,
        baseline=None,
        ratio=slowest,
        target=BAR_SECONDS,
        ok=all(run.is_within_bar for run in runs),
        half=slowest <= 2 * BAR_SECONDS,
        detail={
            "rounds_s": [round(second, 4) for second in seconds],
            "last_sent_s": [round(run.last_sent_seconds, 4) for run in runs],
            "stopped": [run.stopped for run in runs],
            "flatten_s": [run.flatten_seconds for run in runs],
        },
    )
