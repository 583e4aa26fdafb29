"""A position that the broker lists and that could not be read: nothing is concluded about it."""

from decimal import Decimal as D

import pytest

from brokers.types import BrokerPosition, HeldLevels, Side, unreadable_position
from common.clocks import market_now
from common.reason_codes import Code
from execution.monitoring.broker_positions import is_readable_in
from execution.reconciliation.compare_positions import (
    POSITION_CODES,
    OurPosition,
    compare_positions,
)
from tests.execution.reconciliation.test_remainders import position

OURS = position("1")._replace(is_shared=False)
YEN = OURS._replace(id=2, symbol="USDJPY", broker_position_id="USDJPY")


@pytest.mark.parametrize(
    ("symbol", "gone"), [("EURUSD", ["USDJPY"]), ("GBPUSD", ["EURUSD", "USDJPY"]), ("", [])]
)
def test_position_is_not_missing_where_one_cannot_be_read(symbol: str, gone: list[str]) -> None:
    theirs = [unreadable_position("77", symbol)]
    found = compare_positions("c", [OURS, YEN], theirs, market_now())
    assert [one.symbol for one in found.gone] == gone
    assert found.records == []
    compared: list[OurPosition] = found.gone
    hidden = {"EURUSD", "USDJPY"} - {one.symbol for one in compared}
    assert {(code, name) for code in POSITION_CODES for name in hidden} <= found.not_compared


def test_levels_of_hidden_positions_are_not_removed() -> None:
    """Those of a readable position in the same symbol may belong to one that is not."""
    levels = {"abc": HeldLevels(D("1.05"), None)}
    shown = BrokerPosition(
        "78", "EURUSD", Side.BUY, D(3), D("1.1"), entry_levels=levels, levels=None
    )
    found = compare_positions(
        "c", [OURS], [shown, unreadable_position("77", "EURUSD")], market_now()
    )
    assert (found.other_levels, found.level_reads, found.records) == ({}, [], [])
    assert (Code.UNKNOWN_POSITION, "78") in found.not_compared


def test_quantity_at_the_broker_is_unknown_where_a_position_cannot_be_read() -> None:
    hidden = [unreadable_position("77", "EURUSD")]
    assert (is_readable_in("EURUSD", hidden), is_readable_in("USDJPY", hidden)) == (False, True)
    assert not is_readable_in("USDJPY", [unreadable_position("77", "")])
