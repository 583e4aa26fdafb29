"""A stop that the broker confirmed and dropped later is reported from the orders file."""

import asyncio
from decimal import Decimal as D

import pytest

from brokers.types import ModifyRequest, OrderReport, OrderType, ReportKind
from tests.dwx.factories import Account, run
from tests.dwx.waiting import event_after, wait_for_event
from tests.until import until_async


@pytest.fixture(params=["mt4", "mt5-dwx"])
def any_account(request: pytest.FixtureRequest) -> Account:
    name = "account" if request.param == "mt4" else "mt5_account"
    account: Account = request.getfixturevalue(name)
    return account


def has_no_stop(event: OrderReport) -> bool:
    return event.kind is ReportKind.LEVELS and event.stop_loss is None


def level_reports(any_account: Account) -> list[OrderReport]:
    return [
        report
        for report in run(any_account.adapter.events(100))
        if report.kind is ReportKind.LEVELS
    ]


def test_dropped_stop_is_reported_without_a_command(any_account: Account) -> None:
    """Reconciliation would find it up to five minutes later."""
    entry = any_account.buy(stop_loss=D("1.05"), take_profit=D("1.2"))
    assert entry.stop_loss == D("1.05")
    commands: list[int] = []

    def drop_stop() -> None:
        commands.append(len(any_account.terminal.commands()))
        any_account.terminal.simulate("levels", ticket=1001, sl=0, tp=1.2)

    event = event_after(any_account, drop_stop, has_no_stop)
    assert event.client_order_id == entry.client_order_id
    assert event.broker_position_id == entry.broker_position_id
    assert event.take_profit == D("1.2")
    assert len(any_account.terminal.commands()) == commands[0]
    assert len(level_reports(any_account)) == 1


def test_stop_dropped_twice_is_reported_twice(any_account: Account) -> None:
    entry = any_account.buy(stop_loss=D("1.05"))
    number = entry.broker_position_id
    request = ModifyRequest(
        entry.client_order_id, number, "EURUSD", D("1.05"), None, D(10000), None
    )

    async def drop_twice() -> OrderReport:
        await any_account.adapter.connect(any_account.spec)
        watched = any_account.adapter._watch._watched["c1"]
        await until_async(lambda: watched.mark is not None)
        await asyncio.to_thread(any_account.terminal.simulate, "levels", ticket=1001, sl=0, tp=0)
        first = await wait_for_event(any_account, has_no_stop)
        await any_account.adapter.acknowledge([first.event_id])
        watched.not_before = float("inf")  # both happen between two polls
        [placed] = await any_account.adapter.modify(any_account.spec, request)
        assert placed.stop_loss == D("1.05")
        await asyncio.to_thread(any_account.terminal.simulate, "levels", ticket=1001, sl=0, tp=0)
        watched.not_before = 0.0
        return await wait_for_event(any_account, has_no_stop)

    assert run(drop_twice()).client_order_id == entry.client_order_id


def test_fill_first_read_by_reconciliation_is_still_reported(account: Account) -> None:
    """Reconciliation reads what is open; it does not report fills."""
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))

    async def listen() -> OrderReport:
        await account.adapter.connect(account.spec)
        watched = account.adapter._watch._watched["c1"]
        await until_async(lambda: watched.mark is not None)
        watched.not_before = float("inf")
        await asyncio.to_thread(account.terminal.simulate, "trigger", ticket=1001)
        assert len(await account.adapter.positions(account.spec)) == 1
        watched.not_before = 0.0
        return await wait_for_event(account, lambda one: bool(one.fills))

    assert run(listen()).client_order_id == order.client_order_id
