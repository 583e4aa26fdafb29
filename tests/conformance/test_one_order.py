"""One order on every adapter. `make test` runs this whatever has changed: see tests/by_path.py."""

from typing import Any

import pytest

from conformance.report import line
from conformance.runner import Mark, OpenHarness, all_checks
from tests.conformance.stages import at_once, kinds, needs_database, stages_of
from tests.conformance.together import run_together

ORDER = "C01"  # a market order is filled, and found by its client order id
EVERY_STAGE: list[Any] = [
    pytest.param(
        kind,
        open_harness,
        id=name,
        marks=[pytest.mark.django_db(transaction=True)] if needs_database(kind) else [],
    )
    for kind in kinds()
    for name, open_harness in stages_of(kind).items()
]


@pytest.mark.parametrize(("kind", "open_harness"), EVERY_STAGE)
def test_market_order_is_filled(kind: str, open_harness: OpenHarness) -> None:
    (check,) = (one for one in all_checks() if one.number == ORDER)
    (result,) = run_together([check], open_harness, lambda _: None, at_once(kind))
    assert result.mark is Mark.OK, line(result)
