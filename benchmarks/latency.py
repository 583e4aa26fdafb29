"""From a signal to its order at the broker, from a fill to its committed row, and from a close to
its exit at the broker, of each adapter.

Each adapter trades at its fake broker, with its real client library, in a whole trading process.
"""

import json
import subprocess
import sys
from typing import Any

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Result, percentile
from config.installation import ROOT

SUBMIT_MS, REPORT_MS = 1_000.0, 100.0
SECONDS = 600.0


def latency(environment: BenchEnvironment, _: BenchData, count: int) -> Result:
    """Publish, fill and close `count` entries of each adapter, one after the other."""
    environment.run(workers=0)
    figures = _figures(environment, count)
    each = {name: _percentiles(of_stage) for name, of_stage in figures.items()}
    submit = max(one[f"{what}_p99_ms"] for one in each.values() for what in ("submit", "exit"))
    report = max(one["report_p99_ms"] for one in each.values())
    ratio = max(submit / SUBMIT_MS, report / REPORT_MS)
    took = sum(sum(stage) for one in figures.values() for stage in one.values()) / 1000
    return Result(
        name="latency",
        n=count,
        seconds=took,
        rate=count * len(each) / took,
        p50_ms=percentile([one["submit_p50_ms"] for one in each.values()], 50),
        p99_ms=submit,
        baseline=None,
        ratio=ratio,
        target=1.0,
        ok=ratio <= 1,
        half=ratio <= 2,
        detail={
            "unit": "the slowest adapter's p99 by its target, less is better",
            "submit_target_ms": SUBMIT_MS, "report_target_ms": REPORT_MS, "adapters": each,
        },
    )  # fmt: skip


def _percentiles(figures: dict[str, list[float]]) -> dict[str, float]:
    return {
        f"{what}_p{percent}_ms": percentile(figures[f"{what}_ms"], percent)
        for what in ("submit", "report", "exit")
        for percent in (50, 99)
    }


def _figures(environment: BenchEnvironment, count: int) -> dict[str, dict[str, list[float]]]:
    command = [sys.executable, "-m", "benchmarks.latency_engine", str(count)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment.stack.environ, text=True, timeout=SECONDS,
            capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"latency: it took longer than {SECONDS:g} s") from error
    if done.returncode:
        raise BenchError(f"{' '.join(command[2:])}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
