"""What it takes to import the brokers' adapters, without any of their libraries."""

import statistics
import subprocess
import sys
import time

from benchmarks.results import Result, compared
from brokers.registry import BUILT_IN

TARGET = 1.0
BARE = "pass"
BASELINE = "import django.db.models"
OPTIONAL = ("ccxt", "ib_async", "MetaTrader5", "numpy", "aiohttp")


def imports(n: int) -> Result:
    """Import every adapter's module in a fresh interpreter, n times in turn with the baseline; an
    interpreter that imports nothing is subtracted. Paper's needs Django and is left out."""
    modules = [path.partition(":")[0] for kind, path in BUILT_IN.items() if kind != "paper"]
    every = f"import brokers.registry, {', '.join(modules)}"
    took: dict[str, list[float]] = {BARE: [], every: [], BASELINE: []}
    for _ in range(n):
        for code, seconds in took.items():
            seconds.append(_seconds(code))
    bare = statistics.median(took[BARE])
    each = {
        module: 1000 * (statistics.median(_seconds(f"import {module}") for _ in range(3)) - bare)
        for module in modules
    }
    loaded = _output(f"{every}; import sys; print(*(m for m in {OPTIONAL} if m in sys.modules))")
    return compared(
        "imports",
        n=1,
        seconds=[max(one - bare, 1e-4) for one in took[every]],
        baseline=BASELINE,
        baseline_n=1,
        baseline_seconds=[max(one - bare, 1e-4) for one in took[BASELINE]],
        target=TARGET,
        also=not loaded,
        optional_libraries_loaded=loaded.split(),
        each_ms=each,
        interpreter_ms=1000 * bare,
    )


def _seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def _output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()
