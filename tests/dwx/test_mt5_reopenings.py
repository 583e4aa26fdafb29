"""MetaTrader 5 by files: what the server closes and opens again automatically."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, ReadFailed, Rejected
from brokers.types import CloseCause, OrderReport, OrderType
from common.reason_codes import Code
from tests.dwx.factories import Account, age_ledger, exits, fills, raises_outcome, run
from tests.dwx.waiting import event_after, is_exit
from tests.until import until, until_async

A_MINUTE = 61


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


@pytest.mark.parametrize("restarts", [False, True])
def test_close_waits_for_the_opening_that_may_belong_to_it(
    mt5_account: Account, *, restarts: bool
) -> None:
    """The files are read between the server's two deals: the position must not end."""
    entry = mt5_account.buy()
    mt5_account.terminal.simulate("take_away", ticket=1001)
    if restarts:
        mt5_account.restart()
    assert fills(mt5_account) == [replace(entry, levels=None)]
    mt5_account.terminal.simulate("open_again", ticket=1001)
    assert fills(mt5_account) == [entry]
    assert [one.quantity for one in mt5_account.positions()] == [D(10_000)]


def test_what_waits_for_a_reopening_states_why_and_since_when(mt5_account: Account) -> None:
    """Reads of positions, an exit and a change of levels: none may take it as closed."""
    entry, other = mt5_account.buy(), mt5_account.buy()
    began = datetime.now(UTC)
    mt5_account.terminal.simulate("take_away", ticket=1001)
    fills(mt5_account)
    position = entry.broker_position_id
    ours = mt5_account.exit(position)
    with raises_outcome(ReadFailed, Code.REOPENING_AWAITED):
        mt5_account.positions()
    with raises_outcome(NotSent, Code.REOPENING_AWAITED) as caught:
        mt5_account.submit(ours)
    with raises_outcome(NotSent, Code.REOPENING_AWAITED):
        mt5_account.modify(position, "1.05")
    [closed_at] = re.findall(r"closed at (\S+) UTC", caught[0].detail)
    passed = int((datetime.now(UTC) - began).total_seconds()) + 1
    seconds = (began + timedelta(seconds=n) for n in range(passed + 1))
    assert closed_at in {f"{one:%H:%M:%S}" for one in seconds}
    mt5_account.submit(mt5_account.exit(other.broker_position_id))  # another position's
    mt5_account.terminal.simulate("open_again", ticket=1001)
    mt5_account.modify(position, "1.05")
    assert [one.broker_position_id for one in mt5_account.positions()] == [position]
    [closed] = mt5_account.submit(ours)
    assert [one.quantity for one in closed.fills] == [D(10_000)]
    assert mt5_account.positions() == []


@pytest.mark.parametrize("half_written", [(), ("Messages",)])
def test_exit_that_the_server_overtakes_is_not_sent(
    mt5_account: Account, half_written: tuple[str, ...]
) -> None:
    """It closes the position after we have looked and before it carries the exit out. The message
    that states it may be read while the next one is written."""
    entry = mt5_account.buy()
    ours = mt5_account.exit(entry.broker_position_id)
    mt5_account.terminal.fault(taken_away_first=True, half=half_written, half_seconds=0.1)
    with raises_outcome(NotSent, Code.REOPENING_AWAITED):
        mt5_account.submit(ours)
    mt5_account.terminal.fault()
    mt5_account.terminal.simulate("open_again", ticket=1001)
    mt5_account.submit(ours)
    assert exits(mt5_account) == [(ours.client_order_id, D(10_000), None)]


@pytest.mark.parametrize("zone", ["UTC+1", "UTC+2", "UTC+3"])  # the server's is UTC+2
def test_close_is_reported_once_it_has_waited_in_any_zone(mt5_account: Account, zone: str) -> None:
    mt5_account.change_settings(server_zone=zone)
    entry = mt5_account.buy()
    mt5_account.terminal.simulate("take_away", ticket=1001)
    assert exits(mt5_account) == []
    mt5_account.change_settings(reopen_seconds=0.1)
    until(lambda: bool(exits(mt5_account)))
    assert exits(mt5_account) == [(entry.client_order_id, D(10000), CloseCause.EXTERNAL)]
    assert mt5_account.positions() == []
    with raises_outcome(Rejected, Code.NO_POSITION):
        mt5_account.submit(mt5_account.exit(entry.broker_position_id))


def test_close_that_waited_is_reported_after_a_restart(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    mt5_account.terminal.simulate("take_away", ticket=1001)
    assert exits(mt5_account) == []
    mt5_account.terminal.simulate("age", seconds=A_MINUTE)
    mt5_account.restart()
    assert exits(mt5_account) == [(entry.client_order_id, D(10000), CloseCause.EXTERNAL)]


def test_old_close_that_a_terminal_lists_late_does_not_wait(mt5_account: Account) -> None:
    """A terminal that has just started reads its history from the server by and by."""
    mt5_account.buy()
    mt5_account.terminal.simulate("take_away", ticket=1001)
    mt5_account.terminal.simulate("age", seconds=10 * 86_400)
    mt5_account.restart()
    mt5_account.terminal.fault(oldest_deal=2000)
    for _ in range(2):
        fills(mt5_account)
        assert mt5_account.positions() == []
        mt5_account.terminal.fault()


def test_close_that_waited_is_in_reads_from_later_than_it(mt5_account: Account) -> None:
    """A poll reads on from the one before, in which it waited."""
    entry = mt5_account.buy()
    mt5_account.terminal.simulate("take_away", ticket=1001)
    mt5_account.terminal.simulate("age", seconds=5)
    polled_at = datetime.now(UTC)
    assert exits(mt5_account) == []
    mt5_account.change_settings(reopen_seconds=0.5)

    def found() -> list[OrderReport]:
        return run(mt5_account.adapter.fills_since(mt5_account.spec, polled_at))

    until(lambda: bool(found()))
    [report] = found()
    assert (report.client_order_id, report.close_cause) == (
        entry.client_order_id, CloseCause.EXTERNAL,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mark", "cause"),
    [("[sl 1.1]", CloseCause.STOP_LOSS), ("so 48%", CloseCause.STOP_OUT),
     ("[so 48%]", CloseCause.STOP_OUT), ("", CloseCause.EXTERNAL)],
)  # fmt: skip
def test_what_others_closed_does_not_wait(
    mt5_account: Account, mark: str, cause: CloseCause
) -> None:
    """A close by hand has no magic number, and that of a level or a stop-out has a mark."""
    first, second = mt5_account.buy(), mt5_account.buy()
    ours = mt5_account.exit(first.broker_position_id)
    [closed] = mt5_account.submit(ours)
    assert closed.client_order_id == ours.client_order_id
    mt5_account.terminal.simulate("end", ticket=1003, mark=mark)
    assert exits(mt5_account) == [
        (ours.client_order_id, D(10000), None), (second.client_order_id, D(10000), cause),
    ]  # fmt: skip
    assert mt5_account.positions() == []


@pytest.mark.parametrize("zone", ["UTC+2", "UTC+3"])
def test_event_reports_a_close_once_it_has_waited(mt5_account: Account, zone: str) -> None:
    """Nothing else changes in the files by then."""
    mt5_account.change_settings(reopen_seconds=0.3, server_zone=zone)
    entry = mt5_account.buy()
    terminal = mt5_account.terminal
    event = event_after(mt5_account, lambda: terminal.simulate("take_away", ticket=1001), is_exit)
    assert (event.client_order_id, event.close_cause) == (
        entry.client_order_id, CloseCause.EXTERNAL,
    )  # fmt: skip


def test_no_event_reports_a_close_that_was_opened_again(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    adapter, terminal = mt5_account.adapter, mt5_account.terminal

    async def listen() -> list[OrderReport]:
        await adapter.connect(mt5_account.spec)
        watched = adapter._watch._watched["c1"]
        await until_async(lambda: watched.mark is not None)
        await asyncio.to_thread(terminal.simulate, "take_away", ticket=1001)
        await until_async(lambda: bool(watched.mark and watched.mark.waiting))
        await asyncio.to_thread(terminal.simulate, "open_again", ticket=1001)
        await until_async(lambda: bool(watched.mark and watched.mark.open))
        assert watched.mark is not None
        assert not watched.mark.waiting
        return await adapter.events(100)

    reports = run(listen())
    assert not [one for one in reports if one.close_cause]
    assert {fill for one in reports for fill in one.fills} <= set(entry.fills)


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
