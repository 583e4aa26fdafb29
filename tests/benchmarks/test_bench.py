"""`manage.py bench` with small numbers: all benchmarks run and leave no process running.

The tables exist already, without rows. tests/ops/stack/test_stack.py begins with an empty folder.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suite import BENCHES, LONG, NAMES
from ops.embedded.processes import birth
from tests.prepared_database import copy_to
from tests.server_folders import server_folder
from tests.until import until

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(900)]
SECONDS = 60
WORKERS = 5  # of the stack


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder("fillcast-bench-") as path:
        copy_to(path / "bench" / "stack" / "postgres")
        (path / "bench" / "stack" / "sends").mkdir()
        yield path


def launch(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    servers = ("DATABASE_URL", "REDIS_URL")  # those of the tests
    ours = {k: v for k, v in os.environ.items() if "FILLCAST" not in k and k not in servers}
    return subprocess.Popen(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=ROOT,
        env={
            **ours,
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(folder),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder: Path) -> list[int]:
    """Return the running processes that name the folder in their environment or command."""
    needle = os.fsencode(folder)
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, needle)]


def _has(pid: int, needle: bytes) -> bool:
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    except OSError:
        return False
    return any(needle in text for text in texts) and birth(pid) is not None


def _has_workers(pids: list[int]) -> bool:
    commands = []
    for pid in pids:
        with suppress(OSError):  # it has ended
            commands.append(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
    return sum(b"worker" in command for command in commands) == WORKERS


def test_every_benchmark_runs_and_reports_in_one_format(folder: Path) -> None:
    running = launch(folder, "-n", "2", "--rounds", "1")
    out, progress = running.communicate(timeout=SECONDS * 13)
    assert running.returncode == 0, progress
    output: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert [bench["name"] for bench in output["benches"]] == NAMES
    for bench in output["benches"]:
        assert isinstance(bench["ok"], bool)
        assert bench["ratio"] > 0
        assert bench["baseline"] is None or bench["baseline"]["rate"] > 0
    assert json.loads((folder / "bench" / "latest.json").read_text()) == output
    until(lambda: not processes_of(folder))  # a killed one may need a moment


def test_unknown_name_lists_all_with_how_long_each_takes(folder: Path) -> None:
    unknown, listed = launch(folder, "--only", "fastest"), launch(folder, "--only", "help")
    out, progress = unknown.communicate(timeout=SECONDS)
    assert unknown.returncode == 2, progress
    assert "no benchmark 'fastest'" in progress
    out, _ = listed.communicate(timeout=SECONDS)
    for text in (progress, out):
        lines = [line.split()[0] for line in text.splitlines() if " min  " in line]
        assert lines == [*BENCHES, *LONG]


def test_ctrl_c_leaves_no_process_running(folder: Path) -> None:
    running = launch(folder, "--only", "fanout", "-n", "20")
    # The stack's processes start after the servers: more than a minute on a busy machine.
    until(
        lambda: running.poll() is not None or _has_workers(processes_of(folder)),
        seconds=SECONDS * 5,
    )
    assert running.poll() is None, running.communicate()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=SECONDS)
    assert running.returncode == 130
    until(lambda: not processes_of(folder))


def test_load_has_every_candidate_once_and_stores_its_samples(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_LOAD_SHARE", "0.02")
    running = launch(folder, "--only", "load", "-n", "1")
    out, progress = running.communicate(timeout=SECONDS * 10)
    assert running.returncode == 0, progress
    (result,) = json.loads(out.splitlines()[-1])["benches"]
    detail = result["detail"]
    assert detail["bars"]["orders_not_each_once"]["value"] == 0, detail["counts"]
    assert detail["candidates"] == detail["entries"] > 0
    assert detail["bars"]["failed_pages"]["value"] == 0
    assert detail["audit"]["ok"] is True
    stored = json.loads((folder / "bench" / "load.json").read_text())
    assert len(stored["samples"]) > 3
    until(lambda: not processes_of(folder))


def test_sinks_deliver_everything_and_are_compared_with_none(folder: Path) -> None:
    running = launch(folder, "--only", "sinks", "-n", "200", "--rounds", "1")
    out, progress = running.communicate(timeout=SECONDS * 10)
    assert running.returncode == 0, progress
    (result,) = json.loads(out.splitlines()[-1])["benches"]
    assert result["baseline"]["name"] == "the same without sinks"
    detail = result["detail"]
    assert len(detail["rounds_s"]) == len(detail["baseline_rounds_s"]) == 1
    assert {"redis+stream", "nats", "kafka"} == set(detail["events_drained"])
    assert all(events >= 2_000 for events in detail["events_drained"].values())
    assert "buses" not in detail["baseline_cpu_us_an_order"]
    until(lambda: not processes_of(folder))
