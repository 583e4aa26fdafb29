"""`manage.py bench` in small: everything runs, is told in one shape, and leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suite import NAMES
from ops.embedded.processes import birth, wait_until

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fillcast-bench-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def launch(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
    return subprocess.Popen(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=ROOT,
        env={**ours, "FILLCAST_ENV_FILE": os.devnull, "FILLCAST_VAR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(folder: Path) -> list[int]:
    """Processes that name the folder in their environment or command."""
    needle = os.fsencode(folder)
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, needle)]


def _has(pid: int, needle: bytes) -> bool:
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    except OSError:
        return False
    return any(needle in text for text in texts) and birth(pid) is not None


def test_every_bench_runs_and_is_told_in_one_shape(folder: Path) -> None:
    running = launch(folder, "-n", "40", "--rounds", "1")
    out, words = running.communicate(timeout=SECONDS * 9)
    assert running.returncode == 0, words
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert [bench["name"] for bench in told["benches"]] == NAMES
    for bench in told["benches"]:
        assert isinstance(bench["ok"], bool)
        assert bench["ratio"] > 0
        assert bench["baseline"] is None or bench["baseline"]["rate"] > 0
    assert json.loads((folder / "bench" / "latest.json").read_text()) == told
    assert wait_until(lambda: not left_behind(folder), SECONDS)  # who was killed may be on its way


def test_ctrl_c_leaves_no_process(folder: Path) -> None:
    running = launch(folder, "--only", "fanout", "-n", "20")
    # The stack is starting, behind servers and migrations: a minute and more where much else runs.
    assert wait_until(
        lambda: running.poll() is not None or len(left_behind(folder)) > 5, SECONDS * 5
    )
    assert running.poll() is None, running.communicate()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=SECONDS)
    assert running.returncode == 130
    assert wait_until(lambda: not left_behind(folder), SECONDS)
