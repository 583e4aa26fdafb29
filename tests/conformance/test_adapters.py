"""Every check on every adapter: none fails, and only reviewed ones do not apply."""

import pytest

from brokers.registry import BUILT_IN
from conformance.registry import is_engine_check
from conformance.report import line, reasons_of, summary
from conformance.runner import Mark, OpenHarness, all_checks
from tests.conformance.reviewed import DOCS, differences, page, reviewed
from tests.conformance.stages import at_once, kinds, needs_database, stages_of
from tests.conformance.together import run_together

WITH_DATABASE = pytest.mark.django_db(transaction=True)
# One stage of each family; the others differ in details that rarely change.
OFTEN = {"paper", "binance spot", "ibkr", "mt5-dwx"}
# test_engine_checks.py runs the others.
ADAPTER_CHECKS = [one for one in all_checks() if not is_engine_check(one)]


def marks_of(kind: str, name: str) -> list[pytest.MarkDecorator]:
    marks = [WITH_DATABASE] if needs_database(kind) else []
    return [*marks, pytest.mark.slow if name in OFTEN else pytest.mark.exhaustive]


EVERY_STAGE = [
    pytest.param(kind, name, open_harness, id=name, marks=marks_of(kind, name))
    for kind in kinds()
    for name, open_harness in stages_of(kind).items()
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "name", "open_harness"), EVERY_STAGE)
def test_every_check(kind: str, name: str, open_harness: OpenHarness) -> None:
    results = run_together(
        ADAPTER_CHECKS, open_harness, lambda result: print(line(result)), at_once(kind)
    )
    print(name, summary(results))
    assert [line(item) for item in results if item.mark is Mark.FAIL] == []
    assert differences(kind, reasons_of({name: results}), ADAPTER_CHECKS) == []


def test_every_broker_type_has_a_stage() -> None:
    stage_names = {name for kind in kinds() for name in stages_of(kind)}
    built_in = {
        kind for kind, path in BUILT_IN.items() if path.startswith("brokers.")
    }  # without fakes
    assert built_in <= {*kinds(), *stage_names}
    assert {name for kind in kinds() for name in reviewed(kind)} == stage_names


NOT_GIVEN_YET = range(145, 150)  # between those of checks that were written at the same time


def test_check_numbers_have_no_gaps() -> None:
    """A number is never reused, also if its check was removed."""
    known = len(all_checks()) + len(NOT_GIVEN_YET)
    numbers = [f"C{n:02d}" for n in range(1, known + 1) if n not in NOT_GIVEN_YET]
    assert [item.number for item in all_checks()] == numbers


def test_each_check_has_a_description() -> None:
    assert [item.number for item in all_checks() if not item.description.endswith(".")] == []


def test_documentation_page_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert DOCS.read_text() == page(all_checks())
