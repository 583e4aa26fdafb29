"""Every check over every adapter: none fails, and what does not apply is as it was reviewed."""

import pytest

from brokers.registry import BUILT_IN
from conformance.report import line, reasons_of, summary
from conformance.runner import Mark, OpenHarness, cases
from tests.conformance.reviewed import DOCS, differences, page, reviewed
from tests.conformance.stages import at_once, kinds, needs_database, stages_of
from tests.conformance.together import run_together

WITH_DATABASE = pytest.mark.django_db(transaction=True)
EVERY = [
    pytest.param(kind, name, opened, id=name, marks=WITH_DATABASE if needs_database(kind) else ())
    for kind in kinds()
    for name, opened in stages_of(kind).items()
]


@pytest.mark.timeout(600)
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "opened"), EVERY)
def test_every_check(kind: str, name: str, opened: OpenHarness) -> None:
    results = run_together(cases(), opened, lambda result: print(line(result)), at_once(kind))
    print(name, summary(results))
    assert [line(one) for one in results if one.mark is Mark.FAIL] == []
    assert differences(kind, reasons_of({name: results}), cases()) == []


def test_every_kind_has_a_stage() -> None:
    named = {name for kind in kinds() for name in stages_of(kind)}
    ours = {kind for kind, path in BUILT_IN.items() if path.startswith("brokers.")}  # no doubles
    assert ours <= {*kinds(), *named}
    assert {name for kind in kinds() for name in reviewed(kind)} == named


def test_the_numbers_have_no_gaps() -> None:
    """A number is never reused: a check that is given up leaves its number to nobody."""
    assert [one.number for one in cases()] == [f"C{n:02d}" for n in range(1, len(cases()) + 1)]


def test_each_check_says_what_it_shows() -> None:
    assert [one.number for one in cases() if not one.description.endswith(".")] == []


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert DOCS.read_text() == page(cases())
