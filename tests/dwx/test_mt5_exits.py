"""MetaTrader 5 by the same files: what others close, and which deal was whose."""

import asyncio
from decimal import Decimal as D

import pytest

from brokers.base import OutcomeUnknown, ReadFailed, Rejected
from brokers.types import (
    CloseCause,
    OrderReport,
    OrderType,
    ReportKind,
)
from common.reason_codes import Code
from tests.dwx.factories import Owner, exits, fills, raises_outcome, run
from tests.fakes.dwx.terminal import until


@pytest.mark.parametrize(
    ("mark", "cause"),
    [("[sl 1.09000]", CloseCause.STOP_LOSS), ("[tp 1.12000]", CloseCause.TAKE_PROFIT),
     ("", CloseCause.EXTERNAL), ("so 48%", CloseCause.EXTERNAL)],
)  # fmt: skip
def test_exits_that_others_made(owner5: Owner, mark: str, cause: CloseCause) -> None:
    entry = owner5.buy()
    owner5.terminal.simulate("end", ticket=1001, mark=mark)
    assert exits(owner5) == [(entry.client_order_id, D(10000), cause)]


def test_positions_that_look_alike_are_told_apart(owner5: Owner) -> None:
    """What the expert advisor closes has the magic number of another position."""
    first, second, third = (owner5.buy() for _ in range(3))  # tickets 1001, 1003, 1005
    ours = owner5.exit(first.broker_position_id)
    owner5.submit(ours)
    owner5.terminal.simulate("end", ticket=1005, mark="[tp 1.1]")
    assert sorted(exits(owner5), key=str) == sorted(
        [(ours.client_order_id, D(10000), None),
         (third.client_order_id, D(10000), CloseCause.TAKE_PROFIT)], key=str,
    )  # fmt: skip
    owner5.terminal.simulate("end", ticket=1003, mark="")
    owner5.restart()
    assert (second.client_order_id, D(10000), CloseCause.EXTERNAL) in exits(owner5)


def test_what_cannot_be_told_apart_is_not_told(owner5: Owner) -> None:
    first, second = owner5.buy(), owner5.buy()
    for ticket, bid in ((1001, 1.2), (1003, 1.3)):
        owner5.terminal.simulate("price", symbol="EURUSD", bid=bid, ask=bid)
        owner5.terminal.simulate("end", ticket=ticket, mark="")
    with raises_outcome(ReadFailed) as caught:
        fills(owner5)
    assert "which deals" in caught[0].detail
    for one in (first, second):  # their entries are not in doubt
        assert owner5.find(one.client_order_id)


def test_an_exit_that_comes_after_the_stop(owner5: Owner) -> None:
    entry = owner5.buy()
    owner5.terminal.fault(stopped_first="[sl 1.1]")
    request = owner5.exit(entry.broker_position_id)
    with raises_outcome(Rejected, Code.NO_POSITION):
        owner5.submit(request)
    assert owner5.find(request.client_order_id) is None


def test_an_exit_without_an_answer_is_found(owner5: Owner) -> None:
    entry = owner5.buy()
    owner5.change_settings(answer_seconds=0.4)
    owner5.terminal.fault(slow_trade=60)
    request = owner5.exit(entry.broker_position_id)
    with raises_outcome(OutcomeUnknown):
        owner5.submit(request)
    owner5.restore_timeouts()
    owner5.terminal.fault()
    [told] = owner5.submit(request)
    assert told.fills[0].quantity == 10000
    assert len(owner5.terminal.journal("close")) == 1


def test_a_stop_is_heard(owner5: Owner) -> None:
    entry = owner5.buy()
    waits = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))

    async def listen() -> list[OrderReport]:
        await owner5.adapter.connect(owner5.spec)
        watched = owner5.adapter._watch._watched["c1"]
        await asyncio.to_thread(until, lambda: watched.mark is not None)
        await asyncio.to_thread(owner5.terminal.simulate, "end", ticket=1001, mark="[sl 1.1]")
        await asyncio.to_thread(owner5.terminal.simulate, "end", ticket=1003, mark="")
        async with asyncio.timeout(30):
            async for _ in owner5.adapter.stream_events():
                told = await owner5.adapter.events(100)
                if {ReportKind.CANCELLED} <= {one.kind for one in told} and any(
                    one.close_cause for one in told
                ):
                    return told
        return []

    told = run(listen())
    [left] = [one for one in told if one.close_cause]
    assert (left.client_order_id, left.close_cause) == (
        entry.client_order_id, CloseCause.STOP_LOSS,
    )  # fmt: skip
    [ended] = [one for one in told if one.kind is ReportKind.CANCELLED]
    assert ended.client_order_id == waits.client_order_id


@pytest.mark.parametrize("quantity", ["4000", "10000"])
def test_an_exit_after_an_order_that_waits_is_told(owner5: Owner, quantity: str) -> None:
    entry = owner5.buy()
    owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))  # its magic is on the exit
    request = owner5.exit(entry.broker_position_id, quantity)
    [told] = owner5.submit(request)
    assert told.client_order_id == request.client_order_id
    assert told.fills[0].quantity == D(quantity)
    assert owner5.find(request.client_order_id) == [told]
