"""Several processes share all test files out: none is left out, and none runs twice."""

from pathlib import Path

import pytest

from tests import durations, shares
from tests.durations import ROOT


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_each_file_is_in_one_share(processes: int) -> None:
    files = set(ROOT.glob("tests/**/test_*.py"))
    found = [shares.share_of(number, processes, files) for number in range(processes)]
    assert sum(map(len, found)) == len(files)
    assert frozenset[Path]().union(*found) == files


def test_shares_take_about_as_long() -> None:
    seconds = {"a": 6.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 2.0}
    assert shares.shared_out(seconds, 2) == [["a", "d", "e"], ["b", "c"]]


def test_processes_without_a_file_have_an_empty_share() -> None:
    assert shares.shared_out({"a": 1.0}, 3) == [["a"], [], []]


def test_files_of_a_command_line(tmp_path: Path) -> None:
    for name in ("x/test_a.py", "x/y/test_b.py", "x/helper.py", "test_c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    of = shares.named_files
    assert of(["x"], tmp_path) == {tmp_path / "x/test_a.py", tmp_path / "x/y/test_b.py"}
    assert of(["x/test_a.py::test_one[b::c]", "test_c.py"], tmp_path) == {
        tmp_path / "x/test_a.py",
        tmp_path / "test_c.py",
    }


def test_files_are_shared_out_before_any_was_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(durations, "BUDGET", tmp_path / "none.json")
    files = {ROOT / "tests/test_a.py", ROOT / "tests/test_b.py"}
    assert [len(shares.share_of(number, 2, files)) for number in range(2)] == [1, 1]
