"""A minimum that was read some time ago ends no exit: it is read again first."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.reason_codes import Code
from execution.submission.evaluate_exit import decide_exit
from execution.submission.outcomes import Decision, Deferred, Intent, Terminated
from tests.execution.submission.entry_inputs import (
    capabilities,
    context,
    exit_row,
    instrument_row,
    order_row,
)

OLD: dict[str, Any] = {"has_old_facts": True}
DOUBTED: dict[str, Any] = {"has_old_facts": True, "has_doubted_facts": True}


def decision(*, held: str, asked: str, minimum: str, reason: str = "", **facts: Any) -> Decision:
    """Return what becomes of an exit of `asked`; `held` is open of a position of 100."""
    quantity = D(held)
    position = exit_row(quantity=quantity, opened_quantity=D(100), closable=quantity, **facts)
    least = instrument_row(quantity_step=D(1), close_min=D(minimum))
    closing: dict[str, Any] = {"position_id": 5, "leg": "close-1", "side": "SELL"}
    row = order_row(**closing, symbol="EURUSD", quantity=D(asked), reason=reason)
    return decide_exit(row, context(exits={1: position}, instrument=least), capabilities())


@pytest.mark.parametrize(("held", "asked"), [("50", "50"), ("100", "50")])
@pytest.mark.parametrize(
    ("reason", "facts", "waits"),
    [
        ("", OLD, True),
        ("EXIT_AWAITS_READ", OLD, True),
        ("", {}, False),  # it was read within the last minute
        ("EXIT_AWAITS_FACTS", DOUBTED, True),  # it is being read
        ("EXIT_AWAITS_FACTS", {}, False),
        ("EXIT_AWAITS_FACTS", OLD, False),  # it could not be read in time
    ],
)
def test_exit_below_a_minimum_waits_until_that_was_read_again(
    held: str, asked: str, reason: str, facts: dict[str, Any], *, waits: bool
) -> None:
    found = decision(held=held, asked=asked, minimum="60", reason=reason, **facts)
    if waits:
        assert isinstance(found, Deferred)
        assert found.code is Code.EXIT_AWAITS_FACTS
    else:
        assert isinstance(found, Terminated)
        whole = held == asked
        code = Code.EXIT_BELOW_MINIMUM if whole else Code.QUANTITY_BELOW_MINIMUM
        assert found.denial.code is code


def test_exit_that_can_be_sold_waits_for_no_list() -> None:
    found = decision(held="100", asked="100", minimum="60", **DOUBTED)
    assert isinstance(found, Intent)
    assert found.quantity == 100


def test_dust_is_booked_without_another_read() -> None:
    found = decision(held="0.5", asked="0.5", minimum="60", **OLD)
    assert isinstance(found, Terminated)
    assert found.denial.code is Code.DUST
