"""Every check on every adapter: none fails, and only reviewed ones do not apply.

All checks of one stage wait for time-outs that brokers do not keep: a dozen seconds each, in
`make test-processes`. `make test` has those of orders.
"""

from typing import Any

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


CHECKS_OF_ORDERS = [
    one for one in ADAPTER_CHECKS if one.function.__module__ == "conformance.checks.orders"
]


def stages(often: pytest.MarkDecorator) -> list[Any]:
    """Return all stages. often: the mark of those in OFTEN."""
    return [
        pytest.param(
            kind, name, open_harness, id=name,
            marks=[
                often if name in OFTEN else pytest.mark.exhaustive,
                *([WITH_DATABASE] if needs_database(kind) else []),
            ],
        )
        for kind in kinds()
        for name, open_harness in stages_of(kind).items()
    ]  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "name", "open_harness"), stages(pytest.mark.processes))
def test_every_check(kind: str, name: str, open_harness: OpenHarness) -> None:
    results = run_together(
        ADAPTER_CHECKS, open_harness, lambda result: print(line(result)), at_once(kind)
    )
    print(name, summary(results))
    assert [line(item) for item in results if item.mark is Mark.FAIL] == []
    assert differences(kind, reasons_of({name: results}), ADAPTER_CHECKS) == []


@pytest.mark.parametrize(("kind", "name", "open_harness"), stages(pytest.mark.slow))
def test_checks_of_orders(kind: str, name: str, open_harness: OpenHarness) -> None:
    results = run_together(CHECKS_OF_ORDERS, open_harness, lambda _: None, at_once(kind))
    assert len(results) > 10
    assert [line(item) for item in results if item.mark is Mark.FAIL] == []


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
