"""Results of benchmarks, and their output: one JSON object on the last line."""

import json
import math
import os
import platform
import re
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from config.python_build import is_optimized


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a benchmark is compared with, measured in the same run. rate: items per second."""

    name: str
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one benchmark.

    rate: items per second; ratio: how many times better than the baseline, or the figure that its
    bar limits. In the detail, `cpu_ratio` is the ratio by processor time, `calls_ratio` that by the
    number of called functions. took_s: of the whole benchmark, with all that it prepares.
    """

    name: str
    n: int
    seconds: float
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    baseline: Baseline | None
    ratio: float
    target: float
    ok: bool
    detail: dict[str, Any] = field(default_factory=dict)
    more_is_better: bool = False
    took_s: float | None = None

    @property
    def verdict(self) -> str:
        return "met" if self.ok else "MISSED"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def bounded(
    name: str, count: int, figure: float, *, target: float, also: bool = True, seconds: float = 0.0,
    items: float | None = None, times_ms: Sequence[float] = (), baseline: Baseline | None = None,
    **detail: Any,
) -> Result:  # fmt: skip
    """Return the result of a figure that must not exceed its target; less is better.

    also: a further condition of the target. seconds, items: what was done meanwhile (default:
    `count` items). times_ms: of single items, for the percentiles. detail: for the JSON.
    """
    return Result(
        name=name, n=count, seconds=seconds,
        rate=(count if items is None else items) / seconds if seconds else 0.0,
        p50_ms=percentile(times_ms, 50) if times_ms else None,
        p99_ms=percentile(times_ms, 99) if times_ms else None, baseline=baseline, ratio=figure,
        target=target, ok=figure <= target and also, detail=detail,
    )  # fmt: skip


def compared(
    name: str, *, count: int, seconds: Sequence[float], baseline: str, baseline_count: int,
    baseline_seconds: Sequence[float], target: float, latencies_ms: Sequence[float] = (),
    also: bool = True, **detail: Any,
) -> Result:  # fmt: skip
    """Return the result of several rounds, compared by the rates of their medians.

    latencies_ms: of single items, for the percentiles; by default those of the rounds. also: a
    further condition of the target. detail: further values for the JSON.
    """
    ours, theirs = statistics.median(seconds), statistics.median(baseline_seconds)
    ratio = (count / ours) / (baseline_count / theirs)
    spread = latencies_ms or [1000 * round_s for round_s in seconds]
    rounds = {"rounds_s": [*seconds[:10]], "baseline_rounds_s": [*baseline_seconds]}
    return Result(
        name=name, n=count, seconds=ours, rate=count / ours, p50_ms=percentile(spread, 50),
        p99_ms=percentile(spread, 99),
        baseline=Baseline(baseline, theirs, baseline_count / theirs), ratio=ratio, target=target,
        ok=ratio >= target and also, detail={**rounds, **detail}, more_is_better=True,
    )  # fmt: skip


def machine() -> dict[str, Any]:
    """Return the facts about this machine on which the figures depend."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(memory / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "python_is_optimized": is_optimized(),
        "load": round(os.getloadavg()[0], 2),  # of other programs: no benchmark runs yet
    }


def _processor() -> str:
    with suppress(OSError):
        if found := re.search(r"(?m)^model name\s*: (.*)", Path("/proc/cpuinfo").read_text()):
            return found[1].strip()
    return platform.machine()


def as_json(machine_facts: dict[str, Any], results: Sequence[Result]) -> str:
    benches = [_rounded(asdict(result)) for result in results]
    return json.dumps({"machine": machine_facts, "benches": benches})


def as_table(results: Sequence[Result]) -> str:
    head = "| benchmark | n | seconds | p50, p99 ms | ratio | bar | against | |"
    return "\n".join([head, "| --- " * 8 + "|", *map(_row, results)])


def _row(result: Result) -> str:
    times = [f"{value:.3g}" for value in (result.p50_ms, result.p99_ms) if value is not None]
    cells = [
        f"`{result.name}`", f"{result.n:,}", f"{result.seconds:.3g}", ", ".join(times),
        f"{result.ratio:.3g}", f"{'≥' if result.more_is_better else '≤'} {result.target:g}",
        result.baseline.name if result.baseline else "", result.verdict,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def _rounded(value: Any) -> Any:
    """Round all floats in a value to four significant digits; none is more precise than that."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
