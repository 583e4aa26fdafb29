"""NautilusTrader's order path to its simulated venue, in one process, without a database.

Market orders of one instrument and one account, through its risk and execution engines.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.environment import report_progress
from benchmarks.peers.packages import NAUTILUS, SkippedError, python_of, version_of

ORDERS, SECONDS = 1_000, 180
SCRIPT = Path(__file__).parent / "nautilus_orders.py"


def measure(orders: int = ORDERS) -> dict[str, Any]:
    """Return microseconds an order. Raises SkippedError."""
    python = python_of(NAUTILUS)
    version = version_of(python, "nautilus_trader")
    done = subprocess.run(
        [python, "-P", str(SCRIPT), str(orders)], capture_output=True, text=True, timeout=SECONDS,
        check=False, cwd=SCRIPT.parent,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise SkippedError(f"its script fails: {lines[-1]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report_progress(f"  NautilusTrader: {figures['us_an_order']:.0f} µs an order")
    return {"version": version, **figures}
