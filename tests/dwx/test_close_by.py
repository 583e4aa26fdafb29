"""MetaTrader 4: the owner closes two positions by each other."""

from decimal import Decimal as D

import pytest

from brokers.dwx.close_by import with_lots
from brokers.types import CloseCause, Side
from tests.dwx.factories import Account, exits, fills
from tests.dwx.file_samples import closed

OURS, OTHER = 1001, 1002
SELL = Side.SELL


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("other_lots", [0.04, 0.1, 0.3])
@pytest.mark.parametrize(("first", "second"), [(OURS, OTHER), (OTHER, OURS)])
def test_position_that_was_closed_by_another_is_closed_by_the_smaller_volume(
    account: Account, first: int, second: int, other_lots: float, *, restarts: bool
) -> None:
    entry = account.buy()
    account.terminal.simulate("order", symbol="EURUSD", lots=other_lots, type="sell", comment="x")
    account.terminal.simulate("close_by", ticket=first, other=second)
    if restarts:
        account.restart()
    else:
        assert "1001" not in {p.broker_position_id for p in account.positions() if p.side is SELL}
    quantity = min(D(10_000), D(str(other_lots)) * 100_000)
    ours = [one for one in exits(account) if one[0]]
    assert ours == [(entry.client_order_id, quantity, CloseCause.EXTERNAL)]
    assert [one.fills for one in fills(account) if one.broker_order_id == "1001"] == [entry.fills]
    left = {one.broker_position_id: one.quantity for one in account.positions()}
    # The rest of the other position is known by its new ticket, or as what it names.
    rest = "1003" if first == OURS else "1002"
    expected = {"1001": D(10_000) - quantity, rest: D(str(other_lots)) * 100_000 - quantity}
    assert left == {name: lots for name, lots in expected.items() if lots}
    if left.get("1001"):
        account.submit(account.exit("1001", "6000"))
        assert account.positions() == []


def test_ticket_without_lots_keeps_none_if_the_other_is_not_listed() -> None:
    one = closed(lots=0.0, comment="close hedge by #7")
    assert with_lots([one]) == (one,)
    assert with_lots([one, closed(lots=0.2)])[0] == one
