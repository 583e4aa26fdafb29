"""How long each test file takes, and which takes more than it may.

    make durations                       measure all: two processes, on a machine without other work
    make durations T=tests/x/test_y.py   measure a new file
    python -m tests.durations            judge it: every file is in it, none above 6 s

No test fails because a machine is slow. Nothing is judged until all have been measured once.
"longer" names the files that were above 6 s when they were first measured, most of them because a
fake terminal or exchange is a process. It only gets shorter: no other file may be above.
"""

import ast
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUDGET = Path(__file__).with_name("durations.json")
MAX_SECONDS = 6.0
ENVIRONMENT = "TEST_DURATIONS"  # set: the run writes the budget; ALL: from nothing
ALL = "all"
LOOP = 10_000_000
ELSEWHERE = {"processes", "exhaustive", "faults", "browser"}  # marks that `make test` leaves out


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
        is_whole = os.environ[ENVIRONMENT] == ALL
        if not is_whole and not BUDGET.exists():
            print(
                "\ntests/durations.json is not there: run `make durations` first", file=sys.stderr
            )
            return
        known = stored_budget()
        budget = measured_budget(
            None if is_whole else known, self._seconds, loop_seconds(), known["longer"]
        )
        BUDGET.write_text(json.dumps(budget, indent=1, sort_keys=True) + "\n")


def measured_budget(
    others: dict[str, Any] | None,
    seconds: Mapping[str, float],
    loop: float,
    longer: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the budget after a run, without files that are gone.

    others: the budget before it, if the run was a part: its files count as if they had run on the
    machine of the others. loop: `loop_seconds()` now. longer: the files that may be above 6 s.
    """
    files = dict(seconds)
    if others is not None:
        files = others["files"] | {
            name: taken * others["loop_seconds"] / loop for name, taken in seconds.items()
        }
        loop = others["loop_seconds"]
    there = {name: round(taken, 1) for name, taken in files.items() if (ROOT / name).exists()}
    return {"loop_seconds": round(loop, 2), "files": there, "longer": list(longer)}


def stored_budget() -> dict[str, Any]:
    """Return the measured durations, or none."""
    if not BUDGET.exists():
        return {"files": {}, "longer": []}
    found: dict[str, Any] = json.loads(BUDGET.read_text())
    return found


def loop_seconds() -> float:
    """Return the seconds of a loop of ten million in Python: how fast the machine is."""
    began, number = time.process_time(), 0
    while number < LOOP:
        number += 1
    return time.process_time() - began


def wrong() -> list[str]:
    """Return what is wrong with the measured durations; nothing if there are none yet."""
    if not BUDGET.exists():
        return []
    budget = stored_budget()
    listed = subprocess.run(
        ["git", "ls-files", "tests/**/test_*.py", "tests/test_*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    unknown = [
        f"{name} is not in tests/durations.json: run `make durations T={name}`."
        for name in listed.stdout.split()
        if name not in budget["files"] and not is_elsewhere(name, (ROOT / name).read_text())
    ]
    return wrong_lengths(budget["files"], budget["longer"]) + unknown


def wrong_lengths(budget: Mapping[str, float], longer: Sequence[str]) -> list[str]:
    """Return which files take too long, and which are listed as such and do not."""
    too_long = [
        f"{name} takes {seconds} s; a file may take {MAX_SECONDS:g}. Divide it, or make it cheaper."
        for name, seconds in budget.items()
        if seconds > MAX_SECONDS and name not in longer and (ROOT / name).exists()
    ]
    mended = [
        f"{name} takes {MAX_SECONDS:g} s or less: take it off `longer` in tests/durations.json."
        for name in longer
        if budget.get(name, 0) <= MAX_SECONDS
    ]
    return too_long + mended


def is_elsewhere(name: str, source: str) -> bool:
    """Return whether no test of a file is among those of `make test`.

    The mark of one test says nothing of the others: the file's or the class's does, or each has it.
    """
    if name.startswith(("tests/faults", "tests/browser")):
        return True
    body = ast.parse(source).body
    marks = [one.value for one in body if isinstance(one, ast.Assign) and _is_of_file(one)]
    tests = [
        one
        for one in body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and one.name.startswith(("test_", "Test"))
    ]
    return any(_is_left_out(one) for one in marks) or (
        bool(tests) and all(any(map(_is_left_out, one.decorator_list)) for one in tests)
    )


def _is_of_file(node: ast.Assign) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "pytestmark" for one in node.targets)


def _is_left_out(node: ast.expr) -> bool:
    return any(
        isinstance(one, ast.Attribute)
        and one.attr in ELSEWHERE
        and ast.unparse(one).startswith("pytest.mark.")
        for one in ast.walk(node)
    )


if __name__ == "__main__":
    found = wrong()
    print(*found, sep="\n")
    sys.exit(bool(found))
