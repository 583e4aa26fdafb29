"""The benchmarks of each run: no decision has come to call a fifth more functions than before."""

import json
from pathlib import Path

import pytest

from benchmarks import expected
from benchmarks.suite import SMALL
from tests.benchmarks.test_bench import SECONDS, launch
from tests.prepared_database import copy_to
from tests.server_folders import server_folder

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_each_small_benchmark_has_an_expected_figure() -> None:
    figures = expected.read(expected.SMALL_PATH)
    assert {name: figure.n for name, figure in figures.items()} == SMALL
    assert {figure.name for figure in figures.values()} == {"calls_ratio"}, "no time is expected"


def test_no_small_ratio_is_worse() -> None:
    with server_folder("fillcast-bench-") as folder:
        copy_to(Path(folder) / "bench" / "stack" / "postgres")
        running = launch(folder, "--small", "--check")
        out, progress = running.communicate(timeout=4 * SECONDS)
    assert running.returncode == 0, progress
    assert [bench["name"] for bench in json.loads(out.splitlines()[-1])["benches"]] == [*SMALL]
