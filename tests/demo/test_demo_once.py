"""The demo as people start it: real processes, servers of its own, one run from start to end.

Its tables are there already, as at each start but the first; tests/ops/stack/test_stack.py is the
one
that begins with an empty folder.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.embedded.ports import free_port
from ops.embedded.processes import birth
from tests.prepared_database import copy_to

ROOT = Path(__file__).parents[2]
SECONDS = 240  # 60 on an idle machine
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 60)]


class Run:
    """One `manage.py demo --once` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        del ours["DATABASE_URL"], ours["REDIS_URL"]
        self.folder = folder
        env = {
            **ours,
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(folder),
            "FILLCAST_PORT": str(free_port()),
        }
        self.done = subprocess.run(
            [sys.executable, "manage.py", "demo", "--once"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @property
    def told(self) -> dict[str, Any]:
        """The line for machines."""
        found: dict[str, Any] = json.loads(self.done.stdout.splitlines()[-1])
        return found

    def left(self) -> list[int]:
        """Processes that name the folder in their environment or command."""
        needle = os.fsencode(self.folder)
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, needle)
        ]


def _has(pid: int, needle: bytes) -> bool:
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    except OSError:
        return False
    return any(needle in text for text in texts) and birth(pid) is not None


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    folder = Path(tempfile.mkdtemp(prefix="fillcast-demo-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    copy_to(folder / "postgres")
    yield Run(folder)
    shutil.rmtree(folder, ignore_errors=True)


def test_the_audit_holds(run: Run) -> None:
    assert run.done.returncode == 0, run.done.stderr
    assert run.told["ok"] is True
    assert set(run.told["counters"].values()) == {0}


def test_candidates_add_up(run: Run) -> None:
    told = run.told
    assert told["signals"] == 7
    assert told["candidates"] == 7 * 152 == sum(told["states"].values())
    assert all(told["states"][state] > 0 for state in ("filled", "skipped", "denied", "rejected"))
    assert told["states"]["unknown"] == told["states"]["failed"] == 0


def test_positions_close_for_every_reason(run: Run) -> None:
    assert set(run.told["closes"]) == {"sl", "tp", "manual", "external_close"}


def test_the_gap_shows(run: Run) -> None:
    assert run.told["slippage_pips_max"] >= 30
    assert "+31.0" in run.done.stderr


def test_the_first_fill_follows_the_first_publication(run: Run) -> None:
    assert 0 < run.told["seconds_to_first_fill"] < 30


def test_it_says_what_people_need(run: Run) -> None:
    said = run.done.stderr
    assert "as operator" in said
    assert "password  fillcast-demo" in said
    for code in ("→ 201 accepted as S-1", "→ 200 already known", "→ 400 ", "→ 409 "):
        assert code in said
    assert "The workers tested 152 connections: 146 work" in said
    assert "not accepted. Enter the password again." in said
    assert "S-1 Sell XAU/USD market" in said
    assert "by the owner at the broker" in said


def test_it_is_clean_in_a_pipe(run: Run) -> None:
    said = run.done.stderr
    assert "\x1b" not in said + run.done.stdout
    assert "Traceback" not in said
    assert "(the scenario expects another status)" not in said
    assert run.done.stdout.count("\n") == 1


def test_it_leaves_a_summary_and_no_process(run: Run) -> None:
    summary = json.loads((run.folder / "demo" / "summary.json").read_text())
    assert len(summary["connections"]) == 152
    assert run.left() == []
