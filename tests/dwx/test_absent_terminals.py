"""Terminals that do not run, hang or die: a sent order is unknown, any other was not sent."""

import time
from decimal import Decimal as D

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.dwx.factories import MINIMAL_TIMEOUTS, Account, raises_outcome, run
from tests.dwx.waiting import start_thread, wait_until_absent
from tests.until import until


def test_stopped_terminal_fails_calls_until_it_starts_again(account: Account) -> None:
    account.buy()
    account.terminal.kill()
    account.minimize_timeouts()
    orders = account.terminal.folder / "DWX_Orders.txt"
    until(lambda: time.time() - orders.stat().st_mtime > MINIMAL_TIMEOUTS["stale_seconds"])
    with raises_outcome(NotSent, Code.NOT_CONNECTED):
        account.buy()
    for read in (account.adapter.account, account.adapter.positions, account.adapter.open_orders):
        with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
            run(read(account.spec))
    with raises_outcome(ReadFailed):
        account.find("abc")
    assert not (account.terminal.folder / "DWX_Commands_0.txt").exists()
    account.terminal.start()
    account.restore_timeouts()
    assert len(account.positions()) == 1
    assert account.buy().broker_order_id == "1002"


def test_command_that_is_not_taken_is_withdrawn(account: Account) -> None:
    entry = account.buy()
    withdrawn = account.terminal.folder / "fillcast/withdrawn.txt"

    def resume() -> None:
        until(withdrawn.exists)
        account.terminal.fault()

    account.terminal.fault(ignore_commands=True)
    account.shorten_timeouts("take_seconds")
    thread = start_thread(resume)
    request = account.order()
    with raises_outcome(NotSent, Code.NOT_CONNECTED):
        account.submit(request)
    thread.join()
    assert [one["comment"] for one in account.terminal.journal()] == [entry.client_order_id]
    assert account.find(request.client_order_id) is None  # at once: the withdrawal proves it
    assert account.submit(request)[0].kind is ReportKind.FILLED


def test_command_read_before_withdrawal_is_not_sent_again(account: Account) -> None:
    account.buy()
    withdrawn = account.terminal.folder / "fillcast/withdrawn.txt"

    def resume() -> None:
        until(withdrawn.exists)
        account.terminal.fault()

    account.terminal.fault(read_then_wait=60)  # longer than take_seconds
    account.change_settings(take_seconds=0.2, stale_seconds=4)
    thread = start_thread(resume)
    request = account.order()
    [report] = account.submit(request)
    thread.join()
    assert report.kind is ReportKind.FILLED
    executed = [
        one for one in account.terminal.journal() if one["comment"] == request.client_order_id
    ]
    assert len(executed) == 1


def test_command_read_by_hanging_terminal_is_unknown(account: Account) -> None:
    account.buy()
    account.terminal.fault(read_then_wait=60)
    account.shorten_timeouts()
    request = account.order()
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    account.minimize_timeouts()
    with raises_outcome(NotSent):  # the next command waits until the first has ended
        account.buy()
    with raises_outcome(ReadFailed):
        account.find(request.client_order_id)
    account.terminal.fault()
    until(lambda: len(account.terminal.journal()) == 2)
    account.restore_timeouts()
    [report] = account.find(request.client_order_id) or []
    assert report.kind is ReportKind.FILLED


def test_command_not_read_by_hanging_terminal_is_unknown_then_absent(account: Account) -> None:
    account.buy()
    account.terminal.fault(hang=True)
    account.shorten_timeouts()
    request = account.order()
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST):
        account.submit(request)
    account.terminal.fault()
    account.restore_timeouts()
    wait_until_absent(account, request.client_order_id)
    assert len(account.terminal.journal()) == 1


def test_order_of_terminal_killed_before_its_send_is_unknown_then_absent(account: Account) -> None:
    account.buy()
    account.terminal.fault(slow_trade=60)
    account.change_settings(answer_seconds=0.8, stale_seconds=0.8)

    def kill() -> None:
        until(lambda: len([c for c, _ in account.terminal.commands() if c == "OPEN_ORDER"]) == 2)
        account.terminal.kill()

    thread = start_thread(kill)
    request = account.order()
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    thread.join()
    account.restore_timeouts()
    account.terminal.fault()
    account.terminal.start()
    wait_until_absent(account, request.client_order_id)
    assert len(account.positions()) == 1


def test_command_deleted_by_terminal_start_is_unknown_then_absent(account: Account) -> None:
    account.buy()
    account.terminal.fault(ignore_commands=True)
    slot = account.terminal.folder / "DWX_Commands_0.txt"

    def restart() -> None:
        until(slot.exists)
        account.terminal.close()  # empties its folder
        account.terminal.fault()
        account.terminal.start()

    account.change_settings(answer_seconds=0.8)
    thread = start_thread(restart)
    request = account.order()
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    thread.join()
    wait_until_absent(account, request.client_order_id)


def test_exit_withdrawn_from_a_hanging_terminal_is_absent_as_soon_as_that_answers(
    account: Account,
) -> None:
    """The terminal can be asked, and a repetition that names its ticket closes no more than it: no
    wait for the time within which an order may still arrive."""
    entry = account.buy()
    account.terminal.fault(hang=True)
    account.shorten_timeouts()
    leaving = account.exit(entry.broker_position_id, "4000")
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST):
        account.submit(leaving)
    account.terminal.fault()
    account.restore_timeouts()
    account.change_settings(settle_seconds=600)
    assert account.find(leaving.client_order_id) is None
    [report] = account.submit(leaving)
    assert (report.kind, report.fills[0].quantity) == (ReportKind.FILLED, D(4_000))
    [rest] = account.positions()
    assert rest.quantity == 6_000
