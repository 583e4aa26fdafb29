"""Import time of all brokers' adapters, without their libraries."""

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
NOTHING = "pass"
BASELINE = "import django.db.models"
OPTIONAL = ("ccxt", "ib_async", "MetaTrader5", "numpy", "aiohttp")


def imports(count: int) -> Result:
    """Measure the import of every adapter in a new interpreter, n times (at most 7) in turn with
    the baseline.

    The time of an interpreter that imports nothing is subtracted. Bytecode exists already, as in an
    installed package. The paper adapter needs Django and is left out.
    """
    if not sys.dont_write_bytecode:
        return _measure(count, dict(os.environ))
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        bytecode = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        return _measure(count, {**os.environ, **bytecode})


def _measure(count: int, environ: dict[str, str]) -> Result:
    def seconds_of(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environ)
        return time.perf_counter() - began

    modules = [path.partition(":")[0] for name, path in BUILT_IN.items() if name != "paper"]
    every = f"import brokers.registry, {', '.join(modules)}"
    took: dict[str, list[float]] = {NOTHING: [], every: [], BASELINE: []}
    for code in took:
        seconds_of(code)  # writes the bytecode
    for _ in range(min(count, MOST_ROUNDS)):
        for code, seconds in took.items():
            seconds.append(seconds_of(code))
    interpreter = statistics.median(took[NOTHING])
    each = {
        module: 1000
        * (
            statistics.median(seconds_of(f"import {module}") for _ in range(min(count, 3)))
            - interpreter
        )
        for module in modules
    }
    loaded = _output(f"{every}; import sys; print(*(m for m in {OPTIONAL} if m in sys.modules))")
    return compared(
        "imports",
        count=1,
        seconds=[max(seconds - interpreter, 1e-4) for seconds in took[every]],
        baseline=BASELINE,
        baseline_count=1,
        baseline_seconds=[max(seconds - interpreter, 1e-4) for seconds in took[BASELINE]],
        target=TARGET,
        also=not loaded,
        optional_libraries_loaded=loaded.split(),
        each_ms=each,
        interpreter_ms=1000 * interpreter,
    )


def _output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()
