"""Nobody there, one who hangs, one who dies: what has left is unknown, the rest never left."""

import time

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.dwx.factories import MINIMAL_TIMEOUTS, Owner, raises_outcome, run
from tests.dwx.waiting import meanwhile, wait_until_absent
from tests.fakes.dwx.terminal import until


def test_nobody_there(owner: Owner) -> None:
    owner.buy()
    owner.terminal.kill()
    owner.minimize_timeouts()
    orders = owner.terminal.folder / "DWX_Orders.txt"
    until(lambda: time.time() - orders.stat().st_mtime > MINIMAL_TIMEOUTS["stale_seconds"])
    with raises_outcome(NotSent, Code.NOT_CONNECTED):
        owner.buy()
    for read in (owner.adapter.account, owner.adapter.positions, owner.adapter.open_orders):
        with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
            run(read(owner.spec))
    with raises_outcome(ReadFailed):
        owner.find("abc")
    assert not (owner.terminal.folder / "DWX_Commands_0.txt").exists()
    owner.terminal.start()
    owner.restore_timeouts()
    assert len(owner.positions()) == 1
    assert owner.buy().broker_order_id == "1002"


def test_a_command_that_nobody_takes_is_withdrawn(owner: Owner) -> None:
    entry = owner.buy()
    withdrawn = owner.terminal.folder / "fillcast/withdrawn.txt"

    def wake() -> None:
        until(withdrawn.exists)
        owner.terminal.fault()

    owner.terminal.fault(ignore_commands=True)
    owner.shorten_timeouts("take_seconds")
    thread = meanwhile(wake)
    request = owner.order()
    with raises_outcome(NotSent, Code.NOT_CONNECTED):
        owner.submit(request)
    thread.join()
    assert [one["comment"] for one in owner.terminal.journal()] == [entry.client_order_id]
    assert owner.find(request.client_order_id) is None  # at once: it is proven
    assert owner.submit(request)[0].kind is ReportKind.FILLED


def test_a_command_that_was_read_before_it_was_withdrawn_is_not_sent_again(owner: Owner) -> None:
    owner.buy()
    withdrawn = owner.terminal.folder / "fillcast/withdrawn.txt"

    def wake() -> None:
        until(withdrawn.exists)
        owner.terminal.fault()

    owner.terminal.fault(read_then_wait=60)  # longer than take_seconds
    owner.change_settings(take_seconds=0.2, stale_seconds=1)
    thread = meanwhile(wake)
    request = owner.order()
    [told] = owner.submit(request)
    thread.join()
    assert told.kind is ReportKind.FILLED
    ours = [one for one in owner.terminal.journal() if one["comment"] == request.client_order_id]
    assert len(ours) == 1


def test_a_command_that_was_read_by_one_who_hangs_is_unknown(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(read_then_wait=60)
    owner.shorten_timeouts()
    request = owner.order()
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    owner.minimize_timeouts()
    with raises_outcome(NotSent):  # the next one waits until the first has ended
        owner.buy()
    with raises_outcome(ReadFailed):
        owner.find(request.client_order_id)
    owner.terminal.fault()
    until(lambda: len(owner.terminal.journal()) == 2)
    owner.restore_timeouts()
    [told] = owner.find(request.client_order_id) or []
    assert told.kind is ReportKind.FILLED


def test_one_who_hangs_before_reading(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(hang=True)
    owner.shorten_timeouts()
    request = owner.order()
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST):
        owner.submit(request)
    owner.terminal.fault()
    owner.restore_timeouts()
    wait_until_absent(owner, request.client_order_id)
    assert len(owner.terminal.journal()) == 1


def test_killed_between_taking_and_the_broker(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(slow_trade=60)
    owner.change_settings(answer_seconds=0.8, stale_seconds=0.8)

    def kill() -> None:
        until(lambda: len([c for c, _ in owner.terminal.commands() if c == "OPEN_ORDER"]) == 2)
        owner.terminal.kill()

    thread = meanwhile(kill)
    request = owner.order()
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    thread.join()
    owner.restore_timeouts()
    owner.terminal.fault()
    owner.terminal.start()
    wait_until_absent(owner, request.client_order_id)
    assert len(owner.positions()) == 1


def test_a_start_deletes_commands_and_that_proves_nothing(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(ignore_commands=True)
    slot = owner.terminal.folder / "DWX_Commands_0.txt"

    def restart() -> None:
        until(slot.exists)
        owner.terminal.close()  # empties its folder
        owner.terminal.fault()
        owner.terminal.start()

    owner.change_settings(answer_seconds=0.8)
    thread = meanwhile(restart)
    request = owner.order()
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    thread.join()
    wait_until_absent(owner, request.client_order_id)
