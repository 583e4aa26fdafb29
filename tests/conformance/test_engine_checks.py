"""The checks of the engine over every adapter: none fails, and only reviewed ones do not apply."""

import pytest

from conformance.registry import is_engine_check
from conformance.report import line, reasons_of, summary
from conformance.runner import Mark, OpenHarness, all_checks
from tests.conformance.engine.runner import CASES, run_engine_checks
from tests.conformance.reviewed import differences
from tests.conformance.stages import kinds, stages_of

ENGINE_CHECKS = [one for one in all_checks() if is_engine_check(one)]
STAGES = [(kind, *stage) for kind in kinds() for stage in stages_of(kind).items()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "stages",
    [
        pytest.param([one for one in STAGES if one[1] == "paper"], id="paper"),
        pytest.param(STAGES, id="all", marks=pytest.mark.exhaustive),
    ],
)
def test_every_engine_check(stages: list[tuple[str, str, OpenHarness]]) -> None:
    results = run_engine_checks(stages, ENGINE_CHECKS)
    for name, of_stage in results.items():
        print(name, summary(of_stage))
        for item in of_stage:
            print(line(item))
    failed = [
        f"{name} {line(item)}"
        for name, of_stage in results.items()
        for item in of_stage
        if item.mark is Mark.FAIL
    ]
    assert failed == []
    for kind, name, _ in stages:
        assert differences(kind, reasons_of({name: results[name]}), ENGINE_CHECKS) == []


def test_each_engine_check_has_a_case() -> None:
    assert sorted(CASES) == [one.number for one in ENGINE_CHECKS]
