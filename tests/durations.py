"""How long each test file takes, and which takes more than it may.

    make durations                       measure it: two processes, on a machine without other work
    python -m tests.durations            judge it: every file is in it, none above 6 s

No test fails because a machine is slow.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUDGET = Path(__file__).with_name("durations.json")
MAX_SECONDS = 6.0
ENVIRONMENT = "TEST_DURATIONS"  # set: a whole run writes the budget
LOOP = 10_000_000


class DurationsPlugin:
    """Adds up the seconds of each file, and writes them when the run is over."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a test's seconds, or those of its preparation."""
        self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the budget if the run was asked to and every test passed."""
        if os.environ.get(ENVIRONMENT) and exitstatus == 0:
            files = {name: round(seconds, 1) for name, seconds in sorted(self._seconds.items())}
            found = {"loop_seconds": round(loop_seconds(), 2), "files": files}
            BUDGET.write_text(json.dumps(found, indent=1) + "\n")


def loop_seconds() -> float:
    """Return the seconds of a loop of ten million in Python: how fast the machine is."""
    began, number = time.process_time(), 0
    while number < LOOP:
        number += 1
    return time.process_time() - began


def wrong() -> list[str]:
    """Return what is wrong with the measured durations."""
    if not BUDGET.exists():
        return ["tests/durations.json is missing: run `make durations`."]
    budget = json.loads(BUDGET.read_text())["files"]
    listed = subprocess.run(
        ["git", "ls-files", "tests/**/test_*.py", "tests/test_*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [
        f"{name} takes {seconds} s; a file may take {MAX_SECONDS:g}. Divide it, or make it cheaper."
        for name, seconds in budget.items()
        if seconds > MAX_SECONDS and (ROOT / name).exists()
    ] + [
        f"{name} is not in tests/durations.json: run `make durations`."
        for name in listed.stdout.split()
        if name not in budget and not _is_elsewhere(name)
    ]


def _is_elsewhere(name: str) -> bool:
    """Return whether no test of a file is among those of `make test`."""
    marks = ("pytest.mark.processes", "pytest.mark.faults", "pytest.mark.browser")
    source = (ROOT / name).read_text()
    return any(mark in source for mark in marks) or name.startswith(
        ("tests/faults", "tests/browser")
    )


if __name__ == "__main__":
    found = wrong()
    print(*found, sep="\n")
    sys.exit(bool(found))
