"""What it takes to import the brokers' adapters, without any of their libraries."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.results import Result, compared
from brokers.registry import BUILT_IN

TARGET = 1.0
MOST_ROUNDS = 7
BARE = "pass"
BASELINE = "import django.db.models"
OPTIONAL = ("ccxt", "ib_async", "MetaTrader5", "numpy", "aiohttp")


def imports(n: int) -> Result:
    """Import every adapter's module in a fresh interpreter, n times (7 at most) in turn with the
    baseline; an interpreter that imports nothing is subtracted. Bytecode is there already, as where
    a package is installed. Paper's needs Django and is left out."""
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        kept = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        return _measured(n, {**os.environ, **kept})


def _measured(n: int, environ: dict[str, str]) -> Result:
    def seconds_of(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environ)
        return time.perf_counter() - began

    modules = [path.partition(":")[0] for kind, path in BUILT_IN.items() if kind != "paper"]
    every = f"import brokers.registry, {', '.join(modules)}"
    took: dict[str, list[float]] = {BARE: [], every: [], BASELINE: []}
    for code in took:
        seconds_of(code)  # writes the bytecode
    for _ in range(min(n, MOST_ROUNDS)):
        for code, seconds in took.items():
            seconds.append(seconds_of(code))
    bare = statistics.median(took[BARE])
    each = {
        module: 1000 * (statistics.median(seconds_of(f"import {module}") for _ in range(3)) - bare)
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


def _output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()
