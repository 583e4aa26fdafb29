"""Late answers, repetitions and lost memories: nothing twice, nothing guessed."""

import asyncio
import threading
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.types import OrderType, ReportKind
from tests.dwx.factories import Owner, allow, fills, raises_outcome, run
from tests.dwx.waiting import wait_until


def test_a_late_refusal_of_one_order_is_not_the_next_ones(owner: Owner) -> None:
    owner.change_settings(answer_seconds=0.3)
    owner.terminal.fault(slow_trade=60, error="not enough money")
    first, second = owner.order(), owner.order()
    with raises_outcome(OutcomeUnknown):
        owner.submit(first)
    owner.change_settings(
        answer_seconds=30, stale_seconds=30
    )  # the terminal still waits for its broker
    refuses = threading.Timer(0.4, owner.terminal.fault)
    refuses.start()
    [told] = owner.submit(second)
    refuses.join()
    assert told.client_order_id == second.client_order_id
    assert [one["comment"] for one in owner.terminal.journal()] == [second.client_order_id]


def test_an_order_that_is_there_is_not_placed_again(owner: Owner) -> None:
    request = owner.order()
    assert owner.submit(request) == owner.submit(request)
    assert len(owner.terminal.journal()) == 1


@pytest.mark.parametrize("quantity", ["10000", "4000"])
def test_an_exit_without_an_answer_closes_once_however_often_it_is_sent(
    owner: Owner, quantity: str
) -> None:
    entry = owner.buy()
    owner.change_settings(answer_seconds=0.4)
    owner.terminal.fault(slow_trade=60)
    request = owner.exit(entry.broker_position_id, quantity)
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    owner.change_settings(answer_seconds=5)
    owner.terminal.fault()
    [told] = owner.submit(request)
    assert told.fills[0].quantity == D(quantity)
    assert owner.find(request.client_order_id) == [told]
    assert len(owner.terminal.journal("close")) == 1


def test_an_exit_that_never_arrived_is_certain_once_its_ticket_closed_otherwise(
    owner: Owner,
) -> None:
    entry = owner.buy()
    owner.terminal.fault(error="trade timeout")
    request = owner.exit(entry.broker_position_id)
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    owner.change_settings(settle_seconds=60)
    with raises_outcome(ReadFailed):
        owner.find(request.client_order_id)
    owner.terminal.fault()
    owner.terminal.simulate("end", ticket=1001, mark="[tp]")
    assert owner.find(request.client_order_id) is None


def test_what_the_history_hides_is_unknown_until_it_shows(owner: Owner) -> None:
    entry = owner.buy()
    waiting = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner.terminal.fault(hide_history=True)
    request = owner.exit(entry.broker_position_id)
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    with raises_outcome(ReadFailed) as caught:
        owner.find(request.client_order_id)
    assert "not in sight" in caught[0].detail
    with raises_outcome(OutcomeUnknown):
        owner.cancel(waiting)
    with raises_outcome(OutcomeUnknown):  # it no longer waits, and that is all that can be seen
        owner.cancel(waiting)
    owner.terminal.fault()
    [told] = owner.find(request.client_order_id) or []
    assert told.client_order_id == request.client_order_id
    assert [one.kind for one in owner.cancel(waiting)] == [ReportKind.CANCELLED]


def test_a_lost_ledger_costs_the_names_of_exits_and_nothing_else(owner: Owner) -> None:
    entry = owner.buy()
    owner.submit(owner.exit(entry.broker_position_id, "4000"))
    owner.restart()
    (owner.terminal.folder / "fillcast/ledger.jsonl").unlink()
    [left] = owner.positions()
    assert left.quantity == 6000
    assert left.broker_position_id == entry.broker_position_id
    [found] = owner.find(entry.client_order_id) or []
    assert found.fills == entry.fills
    [told] = [one for one in fills(owner) if one.close_cause]
    assert told.broker_position_id == entry.broker_position_id
    assert owner.buy().kind is ReportKind.FILLED  # its number is a new one


def test_our_process_dies_after_the_write(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(slow_trade=60)
    request = owner.order()

    async def die() -> None:
        sending = asyncio.ensure_future(owner.adapter.submit(owner.spec, request, allow))
        await wait_until(
            lambda: [name for name, _ in owner.terminal.commands()].count("OPEN_ORDER") == 2
        )
        sending.cancel()
        await sending

    with pytest.raises(asyncio.CancelledError):
        run(die())
    owner.terminal.fault()
    owner.restart()
    [told] = owner.find(request.client_order_id) or []
    assert told.kind is ReportKind.FILLED
    assert len(owner.terminal.journal()) == 2


def test_a_command_left_by_a_dead_process_is_not_overtaken(owner: Owner) -> None:
    owner.terminal.fault(ignore_commands=True)
    slot = owner.terminal.folder / "DWX_Commands_0.txt"
    slot.write_text("<:5|OPEN_ORDER|EURUSD,buy,0.50,0,0,0,7,old,0:>")
    owner.shorten_timeouts()
    with raises_outcome(NotSent):
        owner.buy()
    assert owner.terminal.journal() == []
    owner.restore_timeouts()
    owner.terminal.fault()
    assert owner.buy().kind is ReportKind.FILLED
    assert [one["comment"] == "old" for one in owner.terminal.journal()] == [False]
