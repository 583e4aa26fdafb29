"""MetaTrader 5 by files: external exits, and the assignment of deals to positions."""

import asyncio
import json
from decimal import Decimal as D

import pytest

from brokers.base import OutcomeUnknown, ReadFailed, Rejected
from brokers.types import (
    CloseCause,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
)
from common.reason_codes import Code
from tests.dwx.factories import Account, age_ledger, exits, fills, raises_outcome, run
from tests.until import until


@pytest.mark.parametrize(
    ("mark", "cause"),
    [("[sl 1.09000]", CloseCause.STOP_LOSS), ("[tp 1.12000]", CloseCause.TAKE_PROFIT),
     ("", CloseCause.EXTERNAL), ("so 48%", CloseCause.STOP_OUT)],
)  # fmt: skip
def test_external_exits_are_reported(mt5_account: Account, mark: str, cause: CloseCause) -> None:
    entry = mt5_account.buy()
    mt5_account.terminal.simulate("end", ticket=1001, mark=mark)
    assert exits(mt5_account) == [(entry.client_order_id, D(10000), cause)]


def test_equal_positions_are_distinguished(mt5_account: Account) -> None:
    """A close by the expert advisor has the magic number of another position."""
    first, second, third = (mt5_account.buy() for _ in range(3))  # tickets 1001, 1003, 1005
    ours = mt5_account.exit(first.broker_position_id)
    mt5_account.submit(ours)
    mt5_account.terminal.simulate("end", ticket=1005, mark="[tp 1.1]")
    assert sorted(exits(mt5_account), key=str) == sorted(
        [(ours.client_order_id, D(10000), None),
         (third.client_order_id, D(10000), CloseCause.TAKE_PROFIT)], key=str,
    )  # fmt: skip
    mt5_account.terminal.simulate("end", ticket=1003, mark="")
    mt5_account.restart()
    assert (second.client_order_id, D(10000), CloseCause.EXTERNAL) in exits(mt5_account)


def test_ambiguous_deals_are_not_reported(mt5_account: Account) -> None:
    first, second = mt5_account.buy(), mt5_account.buy()
    for ticket, bid in ((1001, 1.2), (1003, 1.3)):
        mt5_account.terminal.simulate("price", symbol="EURUSD", bid=bid, ask=bid)
        mt5_account.terminal.simulate("end", ticket=ticket, mark="")
    with raises_outcome(ReadFailed) as caught:
        fills(mt5_account)
    assert "which deals" in caught[0].detail
    for one in (first, second):  # their entries are not in doubt
        assert mt5_account.find(one.client_order_id)


def test_exit_after_stop_is_rejected(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    mt5_account.terminal.fault(stopped_first="[sl 1.1]")
    request = mt5_account.exit(entry.broker_position_id)
    with raises_outcome(Rejected, Code.NO_POSITION):
        mt5_account.submit(request)
    assert mt5_account.find(request.client_order_id) is None


def test_exit_without_reply_is_found(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    mt5_account.change_settings(answer_seconds=0.4)
    mt5_account.terminal.fault(slow_trade=60)
    request = mt5_account.exit(entry.broker_position_id)
    with raises_outcome(OutcomeUnknown):
        mt5_account.submit(request)
    mt5_account.restore_timeouts()
    mt5_account.terminal.fault()
    [report] = mt5_account.submit(request)
    assert report.fills[0].quantity == 10000
    assert len(mt5_account.terminal.journal("close")) == 1


def test_stop_is_reported_by_event(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    working_order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))

    async def listen() -> list[OrderReport]:
        await mt5_account.adapter.connect(mt5_account.spec)
        watched = mt5_account.adapter._watch._watched["c1"]
        await asyncio.to_thread(until, lambda: watched.mark is not None)
        await asyncio.to_thread(mt5_account.terminal.simulate, "end", ticket=1001, mark="[sl 1.1]")
        await asyncio.to_thread(mt5_account.terminal.simulate, "end", ticket=1003, mark="")
        async with asyncio.timeout(120):
            async for _ in mt5_account.adapter.stream_events():
                reports = await mt5_account.adapter.events(100)
                if {ReportKind.CANCELLED} <= {one.kind for one in reports} and any(
                    one.close_cause for one in reports
                ):
                    return reports
        return []

    reports = run(listen())
    [exit_report] = [one for one in reports if one.close_cause]
    assert (exit_report.client_order_id, exit_report.close_cause) == (
        entry.client_order_id, CloseCause.STOP_LOSS,
    )  # fmt: skip
    [ended] = [one for one in reports if one.kind is ReportKind.CANCELLED]
    assert ended.client_order_id == working_order.client_order_id


@pytest.mark.parametrize("restarts", [False, True])
def test_exit_after_closes_by_hand_of_its_volume_is_reported(
    mt5_account: Account, *, restarts: bool
) -> None:
    entry = mt5_account.buy("8000")
    for _ in range(2):
        mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=0.02)
    by_hand = (entry.client_order_id, D(2000), CloseCause.EXTERNAL)
    assert exits(mt5_account) == [by_hand, by_hand]
    if restarts:
        mt5_account.restart()
    request = mt5_account.exit(entry.broker_position_id, "4000")
    [report] = mt5_account.submit(request)
    assert [one.quantity for one in report.fills] == [D(4000)]
    ledger = (mt5_account.terminal.folder / "fillcast/ledger.jsonl").read_text().splitlines()
    known = [json.loads(line)["after"] for line in ledger if '"after"' in line]
    assert known == [int(report.fills[0].broker_fill_id) - 1]
    mt5_account.restart()
    assert mt5_account.find(request.client_order_id) == [report]
    ours = (request.client_order_id, D(4000), None)
    assert sorted(exits(mt5_account), key=str) == sorted([by_hand, by_hand, ours], key=str)


def unanswered_exit(account: Account, position: str, quantity: str) -> OrderRequest:
    """Send an exit that has no effect, which its message does not show."""
    account.terminal.fault(error="trade timeout")
    request = account.exit(position, quantity)
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    account.terminal.fault()
    return request


def test_stop_after_an_exit_whose_reply_was_lost_may_be_absent(mt5_account: Account) -> None:
    """What the first has executed meanwhile is known before the second is sent."""
    entry = mt5_account.buy()
    first = unanswered_exit(mt5_account, entry.broker_position_id, "2000")
    mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=0.02)  # its deal
    second = unanswered_exit(mt5_account, entry.broker_position_id, "8000")
    mt5_account.restart()
    age_ledger(mt5_account, 0.01)
    assert mt5_account.find(first.client_order_id)
    with raises_outcome(ReadFailed):  # it subscribes to prices
        mt5_account.find(second.client_order_id)
    mt5_account.terminal.simulate("price", symbol="EURUSD", bid=1.2, ask=1.2)
    assert mt5_account.find(second.client_order_id) is None


def test_close_by_hand_is_not_of_an_exit_that_was_sent_again(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    request = unanswered_exit(mt5_account, entry.broker_position_id, "4000")
    age_ledger(mt5_account, 0.01)
    mt5_account.restart()
    with raises_outcome(ReadFailed):  # it subscribes to prices
        mt5_account.find(request.client_order_id)
    mt5_account.terminal.simulate("price", symbol="EURUSD", bid=1.2, ask=1.2)
    assert mt5_account.find(request.client_order_id) is None
    [_] = mt5_account.submit(request)
    age_ledger(mt5_account, 2)
    mt5_account.restart()
    mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    expected = [
        (entry.client_order_id, D(4000), CloseCause.EXTERNAL),
        (request.client_order_id, D(4000), None),
    ]
    assert sorted(exits(mt5_account), key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("is_unexplained", [False, True])
def test_exit_is_sent_though_the_terminal_cannot_write_its_history(
    mt5_account: Account, *, is_unexplained: bool
) -> None:
    """Deals of an earlier exit, which may be in it, delay the next exit, but not for long."""
    positions = [mt5_account.buy() for _ in range(3)]
    mt5_account.submit(mt5_account.exit(positions[0].broker_position_id, "2000"))
    if is_unexplained:
        unanswered_exit(mt5_account, positions[0].broker_position_id, "4000")
    before = len(mt5_account.terminal.journal("close"))
    mt5_account.shorten_timeouts("answer_seconds")
    mt5_account.terminal.fault(ignore_history_requests=True)
    for number, entry in enumerate(positions[1:], 1):
        with raises_outcome(OutcomeUnknown):
            mt5_account.submit(mt5_account.exit(entry.broker_position_id))
        assert len(mt5_account.terminal.journal("close")) == before + number


def sent_again(account: Account, position: str) -> OrderRequest:
    """An exit of 4000 that was not carried out, was found absent, and was sent again."""
    request = unanswered_exit(account, position, "4000")
    account.restart()
    age_ledger(account, 0.01)
    with raises_outcome(ReadFailed):  # it subscribes to prices
        account.find(request.client_order_id)
    account.terminal.simulate("price", symbol="EURUSD", bid=1.2, ask=1.2)
    assert account.find(request.client_order_id) is None
    assert account.submit(request)[0].fills[0].quantity == 4000
    return request


def test_closes_by_hand_after_an_exit_was_sent_again_are_not_mistaken(
    mt5_account: Account,
) -> None:
    """Two of equal volume, of two positions, are ambiguous: neither is reported as the other."""
    first, _ = mt5_account.buy(), mt5_account.buy()  # tickets 1001, 1003
    sent_again(mt5_account, first.broker_position_id)
    for ticket, bid in ((1003, 1.2), (1001, 1.3)):
        mt5_account.terminal.simulate("price", symbol="EURUSD", bid=bid, ask=bid)
        mt5_account.terminal.simulate("end", ticket=ticket, mark="", lots=0.04)
    mt5_account.restart()
    with raises_outcome(ReadFailed):
        fills(mt5_account)


def test_exit_after_one_without_effect_has_its_own_deal(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    unanswered_exit(mt5_account, entry.broker_position_id, "4000")
    request = mt5_account.exit(entry.broker_position_id, "4000")
    [report] = mt5_account.submit(request)
    assert report.client_order_id == request.client_order_id
    mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=0.02)
    mt5_account.restart()
    assert mt5_account.find(request.client_order_id) == [report]


def test_exit_is_complete_though_the_files_are_read_between_its_parts(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    request = unanswered_exit(mt5_account, entry.broker_position_id, "6000")
    mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    assert exits(mt5_account) == []
    mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=0.02)
    for _ in range(2):
        [report] = mt5_account.find(request.client_order_id) or []
        assert [one.quantity for one in report.fills] == [D(4000), D(2000)]
        assert exits(mt5_account) == [(request.client_order_id, D(4000), None)]
        mt5_account.restart()


def test_exit_that_may_have_been_executed_in_part_is_not_absent(mt5_account: Account) -> None:
    """Another part that comes late does not take back what was reported as closed by others."""
    entry = mt5_account.buy()
    request = unanswered_exit(mt5_account, entry.broker_position_id, "6000")
    mt5_account.restart()
    age_ledger(mt5_account, 0.01)
    with raises_outcome(ReadFailed):  # it subscribes to prices
        mt5_account.find(request.client_order_id)
    mt5_account.terminal.simulate("price", symbol="EURUSD", bid=1.2, ask=1.2)
    assert mt5_account.find(request.client_order_id) is None
    for lots, quantities in ((0.04, [D(4000)]), (0.02, [D(4000), D(2000)])):
        mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=lots)
        assert [one[:2] for one in exits(mt5_account)] == [
            (entry.client_order_id, quantity) for quantity in quantities
        ]
        with raises_outcome(ReadFailed) as caught:
            mt5_account.find(request.client_order_id)
        assert "A part of its position was closed" in caught[0].detail


def test_exit_of_a_position_that_the_history_does_not_explain_is_not_absent(
    mt5_account: Account,
) -> None:
    """A part of it was closed, which may have been a part of another position as well."""
    entry, other = mt5_account.buy(), mt5_account.buy()  # tickets 1001, 1003
    request = unanswered_exit(mt5_account, entry.broker_position_id, "6000")
    mt5_account.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    mt5_account.terminal.simulate("end", ticket=1003, mark="", lots=0.04)
    mt5_account.restart()
    age_ledger(mt5_account, 0.01)
    with raises_outcome(ReadFailed) as caught:
        mt5_account.find(request.client_order_id)
    assert "which deals" in caught[0].detail
    assert mt5_account.find(other.client_order_id)


@pytest.mark.parametrize("quantity", ["4000", "10000"])
def test_exit_after_working_order_is_reported(mt5_account: Account, quantity: str) -> None:
    entry = mt5_account.buy()
    # The exit gets the magic number of this order.
    mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    request = mt5_account.exit(entry.broker_position_id, quantity)
    [report] = mt5_account.submit(request)
    assert report.client_order_id == request.client_order_id
    assert report.fills[0].quantity == D(quantity)
    assert mt5_account.find(request.client_order_id) == [report]
