"""`often` leaves out what it should, and nothing else."""

from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.sampling import chosen, often


def left_out(cases: Any) -> list[Any]:
    return [case.values for case in cases if isinstance(case, ParameterSet) and case.marks]


def test_each_third_case_is_chosen() -> None:
    assert chosen("abcdefg", every=3) == ["a", "d", "g"]
    assert chosen("abcdefg", every=3, start=1) == ["b", "e"]
    assert chosen("abcdefg", every=3, start=5) == ["c", "f"]


def test_what_must_always_run_does() -> None:
    assert chosen("abcd", every=4, always=lambda case: case in "bd") == ["a", "b", "d"]


def test_no_case_is_lost_and_the_others_are_marked() -> None:
    assert left_out(often("abcd", every=2)) == [("b",), ("d",)]
    pairs = often([("a", 1), ("b", 2), ("c", 3)], every=2, always=lambda case: case[1] == 3)
    assert left_out(pairs) == [("b", 2)]
    assert (len(pairs), pairs[0], pairs[2]) == (3, ("a", 1), ("c", 3))


def test_other_marks_and_the_id_stay() -> None:
    given = pytest.param("b", id="second", marks=pytest.mark.slow)
    _, second = often(["a", given], every=2)
    assert (second.id, [mark.name for mark in second.marks]) == ("second", ["slow", "exhaustive"])


@pytest.mark.parametrize("case", often(["kept", "left out"], every=2))
def test_marked_cases_are_left_out(case: str, pytestconfig: pytest.Config) -> None:
    assert case == "kept" or "not exhaustive" not in (pytestconfig.option.markexpr or "")
