"""MetaTrader 5 by files: what the server closes and opens again automatically."""

from decimal import Decimal as D

import pytest

from brokers.base import ReadFailed
from brokers.types import CloseCause, OrderType
from tests.dwx.factories import Account, age_ledger, exits, fills, raises_outcome


@pytest.mark.parametrize("has_mark", [True, False])
def test_position_that_the_server_opened_again_has_neither_grown_nor_closed(
    mt5_account: Account, *, has_mark: bool
) -> None:
    """A rollover: a close and an opening of the same volume, which no order of ours made."""
    entry = mt5_account.buy()
    mt5_account.terminal.simulate("reopen", ticket=1001, has_mark=has_mark)
    mt5_account.restart()
    assert fills(mt5_account) == [entry]
    assert mt5_account.find(entry.client_order_id) == [entry]
    [held] = mt5_account.positions()
    assert (held.broker_position_id, held.quantity) == (entry.broker_position_id, D(10_000))
    ours = mt5_account.exit(entry.broker_position_id)
    mt5_account.submit(ours)
    assert exits(mt5_account) == [(ours.client_order_id, D(10000), None)]


def test_entry_filled_in_part_has_not_grown_by_a_reopening(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.simulate("trigger", ticket=1001, lots=0.04)
    part = mt5_account.find(order.client_order_id)
    for ticket in (1001, 1005):
        mt5_account.terminal.simulate("reopen", ticket=ticket)
    assert mt5_account.find(order.client_order_id) == part
    assert fills(mt5_account) == part
    assert [one.quantity for one in mt5_account.positions()] == [D(4_000)]


def test_rest_that_is_filled_after_an_equal_exit_is_no_reopening(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.simulate("trigger", ticket=1001, lots=0.05)
    [held] = mt5_account.positions()
    ours = mt5_account.exit(held.broker_position_id, "5000")
    mt5_account.submit(ours)  # its deal has the order's magic number
    mt5_account.terminal.simulate("trigger_rest", ticket=1001)
    [report] = mt5_account.find(order.client_order_id) or []
    assert [one.quantity for one in report.fills] == [D(5_000), D(5_000)]
    assert exits(mt5_account) == [(ours.client_order_id, D(5_000), None)]


def test_reopening_of_an_entry_older_than_the_history_is_no_fill(mt5_account: Account) -> None:
    entry = mt5_account.buy()  # ticket 1001, deal 1002
    mt5_account.restart()
    age_ledger(mt5_account, 30)
    mt5_account.change_settings(history_days=1)
    mt5_account.terminal.fault(oldest_deal=1003)
    for ticket in (1001, 1005):
        mt5_account.terminal.simulate("reopen", ticket=ticket)
    assert fills(mt5_account) == []
    with raises_outcome(ReadFailed):
        mt5_account.find(entry.client_order_id)
    assert [one.quantity for one in mt5_account.positions()] == [D(10_000)]
    mt5_account.terminal.simulate("end", ticket=1008, mark="[sl 1.1]")
    assert exits(mt5_account) == [(entry.client_order_id, D(10_000), CloseCause.STOP_LOSS)]
    with raises_outcome(ReadFailed) as caught:  # it certainly existed
        mt5_account.find(entry.client_order_id)
    assert "not in the history" in caught[0].detail


@pytest.mark.parametrize("zone", ["UTC+1", "UTC+2"])  # the server's is UTC+2
def test_order_that_is_filled_after_an_exit_of_another_is_no_reopening(
    mt5_account: Account, zone: str
) -> None:
    """The exit's deal has the magic number of the order, which waited by then."""
    mt5_account.change_settings(server_zone=zone)
    other = mt5_account.buy()
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.submit(mt5_account.exit(other.broker_position_id))
    mt5_account.terminal.simulate("trigger", ticket=1003)
    [report] = mt5_account.find(order.client_order_id) or []
    assert [one.quantity for one in report.fills] == [D(10_000)]
