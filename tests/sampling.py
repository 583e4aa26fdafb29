"""Which cases of a large family `make test` runs.

A family shows the same for each broker, page, operation or field; a broken mechanism fails most of
its cases. `make test` runs some of them, always the same, and `make test-all` all.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pytest
from _pytest.mark import ParameterSet

Choice = Callable[[Any], bool]
T = TypeVar("T")


def chosen(
    cases: Iterable[T], *, every: int, start: int = 0, always: Choice | None = None
) -> list[T]:
    """Return each `every`-th case from the `start`-th on, and those that `always` holds for.

    Several tests of one family begin at different cases, so that each case meets one of them.
    """
    return [
        case
        for number, case in enumerate(cases)
        if number % every == start % every or (always is not None and always(case))
    ]


def often(
    cases: Iterable[Any], *, every: int, start: int = 0, always: Choice | None = None
) -> Sequence[Any]:
    """Return the cases as parameters of a test, marked `exhaustive` unless they are chosen.

    Use tuples only where the test has several parameters, as in `pytest.mark.parametrize`.
    """
    every_case = list(cases)
    kept = chosen(enumerate(every_case), every=every, start=start, always=_of_case(always))
    numbers = {number for number, _ in kept}
    return [
        case if number in numbers else exhaustive(case) for number, case in enumerate(every_case)
    ]


def exhaustive(case: Any) -> ParameterSet:
    """Return a case that only `make test-all` runs."""
    if isinstance(case, ParameterSet):
        marks = (*case.marks, pytest.mark.exhaustive)
        return pytest.param(*case.values, marks=marks, id=case.id)
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.exhaustive)


def _of_case(always: Choice | None) -> Choice | None:
    return None if always is None else lambda numbered: always(numbered[1])
