"""Rules for every value that an adapter returns."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from brokers.types import ConnectionSpec, Execution, OrderReport, ReportKind
from conformance.value_checks import wrong_reports

WHOLE = Execution(
    "e1", Decimal(100), Decimal("1.1"), datetime(2026, 11, 20, tzinfo=UTC), Decimal(1)
)
ALONE = replace(WHOLE, is_commission_only=True)
OTHER = replace(ALONE, broker_fill_id="e2")
CHARGED_OTHERWISE = replace(ALONE, commission=Decimal(2))


@pytest.mark.parametrize(
    ("fills", "faults"),
    [
        ((WHOLE,), 0),
        ((WHOLE, ALONE), 0),
        ((ALONE,), 1),
        ((ALONE, WHOLE), 1),
        ((WHOLE, OTHER), 1),
        ((WHOLE, CHARGED_OTHERWISE), 1),
    ],
)
def test_commission_alone_follows_its_execution(fills: tuple[Execution, ...], faults: int) -> None:
    report = OrderReport(ReportKind.FILLED, "c1", "abc00000000000001", fills=fills)
    assert len(list(wrong_reports([report], ConnectionSpec("c1", "A1")))) == faults
