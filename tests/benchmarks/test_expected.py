"""What counts as a regression, and how expected figures are recorded."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import expected
from benchmarks.results import Result, compared

FACTS = {"processor": "a processor", "cores": 2, "load": 0.4}


def result(name: str = "fanout", *, ratio: float, n: int = 1_000, **detail: Any) -> Result:
    return compared(
        name, count=n, seconds=[1.0], baseline="plain", baseline_count=n,
        baseline_seconds=[ratio], target=1, **detail,
    )  # fmt: skip


def less(ratio: float) -> Result:
    return Result("memory", 1_000, 1.0, 1.0, None, None, None, ratio, 1.0, ok=True)


def recorded(tmp_path: Path, *results: Result) -> dict[str, expected.Figure]:
    path = tmp_path / "expected.json"
    for one in results:
        expected.record(FACTS, [one], path)
    return expected.read(path)


@pytest.mark.parametrize(
    ("before", "now", "is_worse"),
    [
        (result(ratio=40), result(ratio=32.1), False),
        (result(ratio=40), result(ratio=31.9), True),
        (result(ratio=40), result(ratio=80), False),
        (less(1.0), less(1.19), False),
        (less(1.0), less(1.21), True),
        (less(1.0), less(0.5), False),
    ],
)
def test_a_ratio_may_be_worse_by_a_fifth(
    tmp_path: Path, before: Result, now: Result, is_worse: bool
) -> None:
    (found,) = expected.compare(FACTS, [now], recorded(tmp_path, before))
    assert found.is_worse is is_worse
    assert ("WORSE" in found.text) is is_worse


def test_processor_time_is_compared_where_it_is_known(tmp_path: Path) -> None:
    figures = recorded(tmp_path, result(ratio=40, cpu_ratio=30.0))
    assert figures["fanout"].name == "cpu_ratio"
    (found,) = expected.compare(FACTS, [result(ratio=10, cpu_ratio=29.0)], figures)
    assert not found.is_worse
    assert "cpu_ratio 29, expected 30 (-3%" in found.text
    assert "at load 0.4" in found.text


def test_other_sizes_and_new_benchmarks_are_named_and_not_compared(tmp_path: Path) -> None:
    figures = recorded(tmp_path, result(ratio=40))
    small, new = expected.compare(FACTS, [result(ratio=1, n=20), result("idle", ratio=1)], figures)
    assert small.text == "fanout: not compared, n is 20 and was 1,000"
    assert new.text == "idle: nothing is expected yet; record it"
    assert not small.is_worse
    assert not new.is_worse


def test_seconds_and_megabytes_are_compared_on_the_same_processor_only(tmp_path: Path) -> None:
    figures = recorded(tmp_path, less(1.0), result(ratio=40))
    other = {**FACTS, "processor": "another"}
    found = expected.compare(other, [less(2.0), result(ratio=1)], figures)
    assert [one.is_worse for one in found] == [False, True]
    assert found[0].text == "memory: not compared, it was measured on a processor with 2 cores"


def test_recording_again_keeps_the_worst_run_and_other_figures(tmp_path: Path) -> None:
    runs = (result(ratio=40), less(1.0), result(ratio=50), less(2.0), result(ratio=30))
    figures = recorded(tmp_path, *runs)
    kept = {name: (figure.value, figure.runs) for name, figure in figures.items()}
    assert kept == {"fanout": (30, 3), "memory": (2, 2)}


def test_another_size_or_kind_of_figure_replaces_the_last_one(tmp_path: Path) -> None:
    figures = recorded(tmp_path, result(ratio=40), result(ratio=50, n=500))
    assert (figures["fanout"].value, figures["fanout"].runs) == (50, 1)
    by_cpu = recorded(tmp_path, result(ratio=60, n=500, cpu_ratio=70.0))["fanout"]
    assert (by_cpu.name, by_cpu.value, by_cpu.runs) == ("cpu_ratio", 70, 1)
