"""How long each test file takes, and which takes more than it may.

    make durations                       measure all: two processes, on a machine without other work
    make durations T=tests/x/test_y.py   measure a new file
    python -m tests.durations            judge it: every file is in it, none above 6 s

No test fails because a machine is slow.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUDGET = Path(__file__).with_name("durations.json")
MAX_SECONDS = 6.0
ENVIRONMENT = "TEST_DURATIONS"  # set: the run writes the budget; ALL: from nothing
ALL = "all"
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
        if not os.environ.get(ENVIRONMENT) or exitstatus:
            return
        loop, measured = round(loop_seconds(), 2), dict(self._seconds)
        if os.environ[ENVIRONMENT] != ALL:  # as if they had run on the machine of the others
            measured = {name: s * _budget()["loop_seconds"] / loop for name, s in measured.items()}
            measured, loop = _budget()["files"] | measured, _budget()["loop_seconds"]
        there = {name: round(s, 1) for name, s in measured.items() if (ROOT / name).exists()}
        BUDGET.write_text(
            json.dumps({"loop_seconds": loop, "files": there}, indent=1, sort_keys=True) + "\n"
        )


def longest_first(items: list[pytest.Item]) -> None:
    """Order tests by what their files take, so that no process ends long after the others.

    Unknown files come first: those of processes are not measured.
    """
    seconds = _budget()["files"]

    def key(item: pytest.Item) -> float:
        name = item.nodeid.partition("::")[0]
        return -float(seconds.get(name, math.inf))

    items.sort(key=key)


def _budget() -> dict[str, Any]:
    """Return the measured durations, or none."""
    if not BUDGET.exists():
        return {"loop_seconds": 1, "files": {}}
    found: dict[str, Any] = json.loads(BUDGET.read_text())
    return found


def loop_seconds() -> float:
    """Return the seconds of a loop of ten million in Python: how fast the machine is."""
    began, number = time.process_time(), 0
    while number < LOOP:
        number += 1
    return time.process_time() - began


def wrong() -> list[str]:
    """Return what is wrong with the measured durations."""
    budget = _budget()["files"]
    listed = subprocess.run(
        ["git", "ls-files", "tests/**/test_*.py", "tests/test_*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [
        f"{name} takes {seconds} s; a file may take {MAX_SECONDS:g}. Divide it, or make it cheaper."
        for name, seconds in budget.items()
        if seconds > MAX_SECONDS and (ROOT / name).exists()
    ] + [
        f"{name} is not in tests/durations.json: run `make durations T={name}`."
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
