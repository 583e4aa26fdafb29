"""What is measured of a part counts as on the machine of the rest; who is exempt is exact."""

from pathlib import Path

import pytest

from tests import durations
from tests.durations import is_elsewhere, measured_budget, wrong, wrong_lengths

HERE = "tests/test_durations.py"
MARKED = "@pytest.mark.processes\ndef test_a():\n    ...\n"


def test_whole_run_states_its_own_machine() -> None:
    budget = measured_budget(None, {HERE: 3.04, "tests/gone.py": 1}, 0.504)
    assert budget == {"loop_seconds": 0.5, "files": {HERE: 3.0}, "longer": []}


def test_part_is_scaled_to_the_machine_of_the_others() -> None:
    others = {"loop_seconds": 0.5, "files": {HERE: 9.0, "tests/conftest.py": 2.0}}
    budget = measured_budget(others, {HERE: 4.0}, 1.0, [HERE])
    files = {HERE: 2.0, "tests/conftest.py": 2.0}
    assert budget == {"loop_seconds": 0.5, "files": files, "longer": [HERE]}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (MARKED, True),
        (f"{MARKED}def test_b():\n    ...\n", False),  # its mark is no other test's
        (f"pytestmark = [pytest.mark.processes]\n{MARKED}def test_b():\n    ...\n", True),
        ("pytestmark = pytest.mark.slow\ndef test_b():\n    ...\n", False),
        ("@pytest.mark.exhaustive\nclass TestAll:\n    def test_c(self):\n        ...\n", True),
    ],
)
def test_file_is_exempt_only_as_a_whole(source: str, *, expected: bool) -> None:
    assert is_elsewhere("tests/x/test_y.py", source) is expected


@pytest.mark.parametrize(
    ("seconds", "longer", "reported"),
    [
        (6.1, [], f"{HERE} takes 6.1 s;"),
        (6.1, [HERE], ""),
        (6.0, [], ""),
        (6.0, [HERE], f"{HERE} takes 6 s or less: take it off"),
    ],
)
def test_only_listed_files_may_take_longer(
    seconds: float, longer: list[str], reported: str
) -> None:
    found = wrong_lengths({HERE: seconds}, longer)
    assert [line.startswith(reported) for line in found] == [True] * bool(reported)


def test_nothing_is_judged_before_all_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "BUDGET", tmp_path / "durations.json")
    assert wrong() == []
