"""MetaTrader 4: the broker moves an account to another server, where all tickets are others."""

from decimal import Decimal as D

import pytest

from brokers.types import CloseCause, OrderType
from tests.dwx.factories import Account, exits, fills

NUMBER = "1001"


@pytest.mark.parametrize("restarts", [False, True])
def test_position_with_our_id_is_ours_whatever_its_ticket(
    account: Account, *, restarts: bool
) -> None:
    entry = account.buy(stop_loss=D("1.05"))
    before = fills(account)
    account.terminal.simulate("renumber")
    if restarts:
        account.restart()
    [position] = account.positions()
    assert (position.broker_position_id, position.client_order_id, position.quantity) == (
        NUMBER, entry.client_order_id, D(10_000),
    )  # fmt: skip
    assert fills(account) == before, "the entry has executed a second time"
    [found] = account.find(entry.client_order_id) or []
    assert found.fills == entry.fills

    [levels] = account.modify(NUMBER, "1.06")
    assert (levels.broker_position_id, levels.stop_loss) == (NUMBER, D("1.06"))
    [closed] = account.submit(account.exit(NUMBER, "4000"))
    assert (closed.broker_position_id, closed.fills[0].quantity) == (NUMBER, D(4_000))
    [rest] = account.positions()
    assert (rest.broker_position_id, rest.quantity) == (NUMBER, D(6_000))
    account.submit(account.exit(NUMBER, "6000"))
    assert account.positions() == []


def test_part_that_was_closed_before_stays_of_the_position(account: Account) -> None:
    entry = account.buy()
    part = account.submit(account.exit(NUMBER, "4000"))
    account.terminal.simulate("renumber")
    account.restart()
    [position] = account.positions()
    assert (position.broker_position_id, position.quantity) == (NUMBER, D(6_000))
    assert [
        one.fills for one in fills(account) if one.client_order_id == entry.client_order_id
    ] == [entry.fills]
    assert [one.fills for one in fills(account) if one.broker_order_id == "1001:close"] == [
        part[0].fills
    ]


def test_renumbered_position_that_the_owner_closes_is_an_external_close(account: Account) -> None:
    entry = account.buy()
    account.terminal.simulate("renumber")
    [position] = account.positions()
    account.terminal.simulate("end", ticket=6002, mark="")
    assert account.positions() == []
    assert exits(account) == [(entry.client_order_id, D(10_000), CloseCause.EXTERNAL)]
    assert position.broker_position_id == NUMBER


def test_renumbered_working_order_is_cancelled_by_its_id(account: Account) -> None:
    report = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    account.terminal.simulate("renumber")
    account.restart()
    reports = account.cancel(report)
    assert [one.kind.value for one in reports] == ["CANCELLED"]
