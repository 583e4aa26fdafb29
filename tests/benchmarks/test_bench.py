"""The bench command's contract: one JSON line on standard output, words beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bench(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    folder.chmod(0o755)
    return subprocess.run(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=ROOT, env={**os.environ, "FILLCAST_VAR": str(folder)}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_a_bench_prints_its_ratio_to_a_baseline_of_the_same_run(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "publish", "-n", "20")
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = done.stdout.splitlines()
    told: dict[str, Any] = json.loads(line)
    (one,) = told["benches"]
    assert {"machine", "benches"} <= set(told)
    assert (one["name"], one["n"]) == ("publish", 20)
    assert one["ratio"] == pytest.approx(one["baseline"]["seconds"] / one["seconds"], rel=0.01)
    assert one["ok"] == (one["ratio"] >= one["target"])
    assert json.loads((tmp_path / "bench" / "latest.json").read_text()) == told


def test_an_unknown_bench_is_one_sentence_with_the_names(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "speed")
    assert done.returncode != 0
    assert "fanout" in done.stderr
    assert "Traceback" not in done.stderr
