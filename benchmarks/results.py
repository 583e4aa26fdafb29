"""What a bench found, and how it is told: one JSON object on the last line."""

import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a bench is compared with, measured in the same run. rate: things a second."""

    name: str
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Result:
    """One bench. rate: things a second; ratio: how many times better than the baseline.

    ok: the target is met; half: half of it is, which is the bar of the first release. Where less
    is better (`memory`, `linear`) half means at most twice the target.
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
    half: bool
    detail: dict[str, Any] = field(default_factory=dict)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def overhead_of(
    name: str,
    n: int,
    took: Sequence[float],
    added: Sequence[float],
    *,
    target: float,
    detail: dict[str, Any],
    is_well_otherwise: bool = True,
) -> Result:
    """Return what an adapter adds to n orders sent one after the other: the 99th percentile in
    milliseconds, less is better. took: whole seconds of each; added: our milliseconds of each.
    """
    p99 = percentile(added, 99)
    return Result(
        name=name,
        n=n,
        seconds=sum(took),
        rate=n / sum(took),
        p50_ms=percentile(added, 50),
        p99_ms=p99,
        baseline=None,
        ratio=p99,
        target=target,
        ok=p99 <= target and is_well_otherwise,
        half=p99 <= 2 * target,
        detail=detail,
    )


def compared(
    name: str,
    *,
    n: int,
    seconds: Sequence[float],
    baseline: str,
    baseline_n: int,
    baseline_seconds: Sequence[float],
    target: float,
    latencies_ms: Sequence[float] = (),
    also: bool = True,
    **detail: Any,
) -> Result:
    """Judge medians of several rounds by their rates; also: a further condition of the target."""
    ours, theirs = statistics.median(seconds), statistics.median(baseline_seconds)
    ratio = (n / ours) / (baseline_n / theirs)
    spread = latencies_ms or [1000 * one for one in seconds]
    return Result(
        name=name,
        n=n,
        seconds=ours,
        rate=n / ours,
        p50_ms=percentile(spread, 50),
        p99_ms=percentile(spread, 99),
        baseline=Baseline(baseline, theirs, baseline_n / theirs),
        ratio=ratio,
        target=target,
        ok=ratio >= target and also,
        half=ratio >= target / 2,
        detail={
            "rounds_s": [round(one, 4) for one in seconds[:10]],
            "baseline_rounds_s": [round(one, 4) for one in baseline_seconds],
            **detail,
        },
    )


def machine() -> dict[str, Any]:
    """Return what the numbers depend on besides the program."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(memory / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),  # of others: nothing of ours runs yet
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def as_json(machine_facts: dict[str, Any], results: Sequence[Result]) -> str:
    """Return the one line that programs read."""
    benches = [_rounded(asdict(result)) for result in results]
    return json.dumps({"machine": machine_facts, "benches": benches})


def _rounded(value: Any) -> Any:
    """Four significant digits are more than any of these numbers is worth."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
