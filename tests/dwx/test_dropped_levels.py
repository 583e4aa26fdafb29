"""A stop that the broker has confirmed and drops later: told within a look, by the orders file."""

import asyncio
from decimal import Decimal as D

import pytest

from brokers.types import ModifyRequest, OrderReport, OrderType, ReportKind
from tests.dwx.factories import Owner, run
from tests.dwx.waiting import during, wait_for_event, wait_until


@pytest.fixture(params=["mt4", "mt5-dwx"])
def who(request: pytest.FixtureRequest) -> Owner:
    name = "owner" if request.param == "mt4" else "owner5"
    found: Owner = request.getfixturevalue(name)
    return found


def has_no_stop(one: OrderReport) -> bool:
    return one.kind is ReportKind.LEVELS and one.stop_loss is None


def levels_told(who: Owner) -> list[OrderReport]:
    return [one for one in run(who.adapter.events(100)) if one.kind is ReportKind.LEVELS]


def test_it_is_told_without_a_command(who: Owner) -> None:
    """Nothing else looks at it before the comparison, up to five minutes later."""
    entry = who.buy(stop_loss=D("1.05"), take_profit=D("1.2"))
    assert entry.stop_loss == D("1.05")
    commands: list[int] = []

    def act() -> None:
        commands.append(len(who.terminal.commands()))
        who.terminal.simulate("levels", ticket=1001, sl=0, tp=1.2)

    event = during(who, act, has_no_stop)
    assert event.client_order_id == entry.client_order_id
    assert event.broker_position_id == entry.broker_position_id
    assert event.take_profit == D("1.2")
    assert len(who.terminal.commands()) == commands[0]
    assert len(levels_told(who)) == 1


def test_one_that_is_placed_again_and_dropped_again_is_told_again(who: Owner) -> None:
    entry = who.buy(stop_loss=D("1.05"))
    number = entry.broker_position_id
    request = ModifyRequest(
        entry.client_order_id, number, "EURUSD", D("1.05"), None, D(10000), None
    )

    async def play() -> OrderReport:
        await who.adapter.connect(who.spec)
        watched = who.adapter._watch._watched["c1"]
        await wait_until(lambda: watched.mark is not None)
        await asyncio.to_thread(who.terminal.simulate, "levels", ticket=1001, sl=0, tp=0)
        first = await wait_for_event(who, has_no_stop)
        await who.adapter.acknowledge([first.event_id])
        watched.not_before = float("inf")  # both happen between two looks
        [placed] = await who.adapter.modify(who.spec, request)
        assert placed.stop_loss == D("1.05")
        await asyncio.to_thread(who.terminal.simulate, "levels", ticket=1001, sl=0, tp=0)
        watched.not_before = 0.0
        return await wait_for_event(who, has_no_stop)

    assert run(play()).client_order_id == entry.client_order_id


def test_a_fill_that_a_comparison_has_read_first_is_still_told(owner: Owner) -> None:
    """It reads what is open, and does not tell executions."""
    waits = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        watched = owner.adapter._watch._watched["c1"]
        await wait_until(lambda: watched.mark is not None)
        watched.not_before = float("inf")
        await asyncio.to_thread(owner.terminal.simulate, "trigger", ticket=1001)
        assert len(await owner.adapter.positions(owner.spec)) == 1
        watched.not_before = 0.0
        return await wait_for_event(owner, lambda one: bool(one.fills))

    assert run(listen()).client_order_id == waits.client_order_id
