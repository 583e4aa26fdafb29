"""Late replies, repeated requests and lost journals: nothing is executed twice or guessed."""

import asyncio
import threading
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.types import OrderType, ReportKind
from tests.dwx.factories import Account, allow, fills, raises_outcome, run
from tests.until import until_async


def test_late_rejection_is_not_attributed_to_next_order(account: Account) -> None:
    account.change_settings(answer_seconds=0.3)
    account.terminal.fault(slow_trade=60, error="not enough money")
    first, second = account.order(), account.order()
    with raises_outcome(OutcomeUnknown):
        account.submit(first)
    # The terminal still waits for its broker.
    account.change_settings(answer_seconds=30, stale_seconds=30)
    rejection = threading.Timer(0.4, account.terminal.fault)
    rejection.start()
    [report] = account.submit(second)
    rejection.join()
    assert report.client_order_id == second.client_order_id
    assert [one["comment"] for one in account.terminal.journal()] == [second.client_order_id]


def test_executed_order_is_not_placed_again(account: Account) -> None:
    request = account.order()
    assert account.submit(request) == account.submit(request)
    assert len(account.terminal.journal()) == 1


@pytest.mark.parametrize("quantity", ["10000", "4000"])
def test_resubmitted_exit_closes_once(account: Account, quantity: str) -> None:
    entry = account.buy()
    account.change_settings(answer_seconds=0.4)
    account.terminal.fault(slow_trade=60)
    request = account.exit(entry.broker_position_id, quantity)
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    account.change_settings(answer_seconds=60)
    account.terminal.fault()
    [report] = account.submit(request)
    assert report.fills[0].quantity == D(quantity)
    assert account.find(request.client_order_id) == [report]
    assert len(account.terminal.journal("close")) == 1


def test_lost_exit_is_absent_once_its_ticket_closed_otherwise(
    account: Account,
) -> None:
    entry = account.buy()
    account.terminal.fault(error="trade timeout")
    request = account.exit(entry.broker_position_id)
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    account.change_settings(settle_seconds=60)
    # The ticket is open, so nothing has closed it: a repetition could close no more than it.
    assert account.find(request.client_order_id) is None
    account.terminal.fault()
    account.terminal.simulate("end", ticket=1001, mark="[tp]")
    assert account.find(request.client_order_id) is None


def test_exit_and_cancel_are_unknown_while_history_is_hidden(account: Account) -> None:
    entry = account.buy()
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    account.terminal.fault(hide_history=True)
    request = account.exit(entry.broker_position_id)
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    with raises_outcome(ReadFailed) as caught:
        account.find(request.client_order_id)
    assert "not in sight" in caught[0].detail
    with raises_outcome(OutcomeUnknown):
        account.cancel(order)
    with raises_outcome(OutcomeUnknown):  # it is no longer open; the history does not show why
        account.cancel(order)
    account.terminal.fault()
    [report] = account.find(request.client_order_id) or []
    assert report.client_order_id == request.client_order_id
    assert [one.kind for one in account.cancel(order)] == [ReportKind.CANCELLED]


def test_lost_journal_loses_only_client_order_ids_of_exits(account: Account) -> None:
    entry = account.buy()
    account.submit(account.exit(entry.broker_position_id, "4000"))
    account.restart()
    (account.terminal.folder / "fillcast/ledger.jsonl").unlink()
    [position] = account.positions()
    assert position.quantity == 6000
    assert position.broker_position_id == entry.broker_position_id
    [entry_report] = account.find(entry.client_order_id) or []
    assert entry_report.fills == entry.fills
    [exit_report] = [one for one in fills(account) if one.close_cause]
    assert exit_report.broker_position_id == entry.broker_position_id
    assert account.buy().kind is ReportKind.FILLED  # with a new command number


def test_order_is_found_after_our_process_died_during_send(account: Account) -> None:
    account.buy()
    account.terminal.fault(slow_trade=60)
    request = account.order()

    async def die() -> None:
        sending = asyncio.ensure_future(account.adapter.submit(account.spec, request, allow))
        await until_async(
            lambda: [name for name, _ in account.terminal.commands()].count("OPEN_ORDER") == 2
        )
        sending.cancel()
        await sending

    with pytest.raises(asyncio.CancelledError):
        run(die())
    account.terminal.fault()
    account.restart()
    [report] = account.find(request.client_order_id) or []
    assert report.kind is ReportKind.FILLED
    assert len(account.terminal.journal()) == 2


def test_command_left_by_dead_process_is_not_overtaken(account: Account) -> None:
    account.terminal.fault(ignore_commands=True)
    slot = account.terminal.folder / "DWX_Commands_0.txt"
    slot.write_text("<:5|OPEN_ORDER|EURUSD,buy,0.50,0,0,0,7,old,0:>")
    account.shorten_timeouts()
    with raises_outcome(NotSent):
        account.buy()
    assert account.terminal.journal() == []
    account.restore_timeouts()
    account.terminal.fault()
    assert account.buy().kind is ReportKind.FILLED
    assert [one["comment"] == "old" for one in account.terminal.journal()] == [False]
