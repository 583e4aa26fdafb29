"""MetaTrader 5 by files: placing, closing, cancelling and changing levels."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import ReadFailed, Rejected
from brokers.dwx.parse import magic_of
from brokers.types import (
    OrderReport,
    OrderType,
    ReportKind,
)
from common.reason_codes import Code
from tests.dwx.factories import Account, age_ledger, fills, raises_outcome, run


def test_entry_is_reported_from_its_deals(mt5_account: Account) -> None:
    entry = mt5_account.buy(stop_loss=D("1.09"), take_profit=D("1.12"))
    assert (entry.kind, entry.stop_loss, entry.take_profit) == (
        ReportKind.FILLED, D("1.09"), D("1.12"),
    )  # fmt: skip
    assert entry.broker_position_id == f"m{magic_of(entry.client_order_id)}"
    [fill] = entry.fills
    assert (fill.broker_fill_id, fill.quantity, fill.price) == ("1002", D(10000), D("1.1001"))
    assert (fill.commission, fill.commission_currency) == (D("0.35"), "USD")
    assert abs(fill.time - datetime.now(UTC)) < timedelta(minutes=20)
    mt5_account.restart()
    assert mt5_account.find(entry.client_order_id) == [entry]
    [position] = mt5_account.positions()
    assert position.broker_position_id == entry.broker_position_id
    assert fills(mt5_account) == [entry]


def test_partial_fills_have_separate_ids(mt5_account: Account) -> None:
    mt5_account.terminal.fault(pieces=3)
    entry = mt5_account.buy("12000")
    assert [(fill.broker_fill_id, fill.quantity) for fill in entry.fills] == [
        ("1002", D(4000)), ("1003", D(4000)), ("1004", D(4000)),
    ]  # fmt: skip
    [exit_report] = mt5_account.submit(mt5_account.exit(entry.broker_position_id, "12000"))
    assert sum(fill.quantity for fill in exit_report.fills) == 12000
    assert len(exit_report.fills) == 3


@pytest.mark.parametrize("swap", [-1.37, 0.2])
def test_exit_reports_the_swap_that_was_booked(mt5_account: Account, swap: float) -> None:
    entry = mt5_account.buy()
    assert entry.fills[0].swap == 0
    mt5_account.terminal.fault(swap=swap)
    [report] = mt5_account.submit(mt5_account.exit(entry.broker_position_id))
    assert report.fills[0].swap == D(str(swap))
    mt5_account.restart()
    assert [fill.swap for one in fills(mt5_account) for fill in one.fills] == [D(0), D(str(swap))]


def test_partial_exits_keep_the_position(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    requests = [
        mt5_account.exit(entry.broker_position_id, part) for part in ("4000", "1000", "5000")
    ]
    reports = [mt5_account.submit(request)[0] for request in requests[:2]]
    [position] = mt5_account.positions()
    assert (position.broker_position_id, position.quantity) == (entry.broker_position_id, D(5000))
    reports += mt5_account.submit(requests[2])
    assert mt5_account.positions() == []
    assert [one.client_order_id for one in reports] == [one.client_order_id for one in requests]
    assert [one.fills[0].quantity for one in reports] == [D(4000), D(1000), D(5000)]
    mt5_account.restart()
    for request, report in zip(requests, reports, strict=True):
        assert mt5_account.find(request.client_order_id) == [report]
    assert mt5_account.find(entry.client_order_id) == [
        OrderReport(
            ReportKind.FILLED, "c1", entry.client_order_id, entry.broker_order_id,
            entry.broker_position_id, entry.fills,
        )
    ]  # fmt: skip


def test_end_of_working_order_is_reported_without_history(mt5_account: Account) -> None:
    first, second = (
        mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05")) for _ in range(2)
    )
    assert first.kind is ReportKind.ACCEPTED
    assert [order.kind for order in mt5_account.cancel(first)] == [ReportKind.CANCELLED]
    mt5_account.terminal.simulate("end", ticket=1002, mark="")  # by hand
    mt5_account.restart()
    for order in (first, second):
        assert [report.kind for report in mt5_account.find(order.client_order_id) or []] == [
            ReportKind.CANCELLED
        ]
    assert mt5_account.find(mt5_account.order().client_order_id) is None


def test_working_order_is_cancelled_after_journal_loss(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.restart()
    (mt5_account.terminal.folder / "fillcast/ledger.jsonl").unlink()
    assert [one.kind for one in mt5_account.cancel(order)] == [ReportKind.CANCELLED]


def test_cancel_after_fill_closes_nothing(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.fault(filled_first=True)
    reports = mt5_account.cancel(order)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    assert [one.quantity for one in mt5_account.positions()] == [D(10000)]


def test_partly_filled_order_is_position_and_working_order(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.simulate("trigger", ticket=1001, lots=0.04)
    [part] = mt5_account.find(order.client_order_id) or []
    assert (part.kind, part.fills[0].quantity) == (ReportKind.FILLED, D(4000))
    [remainder] = run(mt5_account.adapter.open_orders(mt5_account.spec))
    assert (remainder.quantity, remainder.client_order_id) == (D(6000), order.client_order_id)
    [position] = mt5_account.positions()
    assert position.quantity == 4000
    [closed] = mt5_account.submit(mt5_account.exit(position.broker_position_id, "4000"))
    assert closed.fills[0].quantity == 4000


def test_filled_order_not_yet_in_files_is_not_cancelled(mt5_account: Account) -> None:
    """The orders file is written after the order ended, before its position and deal appear."""
    looked_up, cancelled = (
        mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05")) for _ in range(2)
    )
    mt5_account.terminal.fault(unlisted=True)
    mt5_account.terminal.simulate("time_zone", hours=2.0)  # no change: now the fault is active
    mt5_account.terminal.simulate("trigger", ticket=1001)
    reports = mt5_account.find(looked_up.client_order_id) or []
    assert [one.kind for one in reports] == [ReportKind.FILLED]
    mt5_account.terminal.fault(unlisted=True, filled_first=True)
    reports = mt5_account.cancel(cancelled)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    events = run(mt5_account.adapter.events(100))
    assert ReportKind.CANCELLED not in [one.kind for one in events]
    mt5_account.terminal.fault()
    assert [one.quantity for one in mt5_account.positions()] == [D(10000), D(10000)]


def test_filled_order_is_not_cancelled_after_journal_loss(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.restart()
    (mt5_account.terminal.folder / "fillcast/ledger.jsonl").unlink()
    mt5_account.terminal.fault(unlisted=True, filled_first=True)
    reports = mt5_account.cancel(order)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]


def test_absent_order_is_looked_up_twice_only_once(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.simulate("end", ticket=1001, mark="")
    reports = mt5_account.find(order.client_order_id)
    assert [one.kind for one in reports or []] == [ReportKind.CANCELLED]
    before = len(mt5_account.terminal.commands())
    mt5_account.restart()
    assert mt5_account.find(order.client_order_id) == reports
    # One command of the new process's first poll, one of this look-up.
    assert len(mt5_account.terminal.commands()) == before + 2


def test_order_older_than_history_is_not_cancelled(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.restart()
    mt5_account.change_settings(history_days=1)
    age_ledger(mt5_account, 30)
    mt5_account.terminal.simulate("end", ticket=1001, mark="")
    with raises_outcome(ReadFailed):
        mt5_account.find(order.client_order_id)


def test_remainder_is_not_cancellable_while_position_is_open(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.simulate("trigger", ticket=1001, lots=0.04)
    part, refused = mt5_account.cancel(order)
    assert (part.kind, part.fills[0].quantity) == (ReportKind.FILLED, D(4000))
    assert (refused.kind, refused.code) == (
        ReportKind.CANCEL_REFUSED,
        Code.REMAINDER_NOT_CANCELLABLE,
    )
    assert "CLOSE_ORDER" not in [command for command, _ in mt5_account.terminal.commands()]
    mt5_account.submit(mt5_account.exit(part.broker_position_id, "4000"))
    ended = mt5_account.cancel(order)
    assert [one.kind for one in ended] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert ended[0].fills == part.fills
    assert mt5_account.terminal.open_tickets() == {}


def test_remainder_deleted_by_hand_is_cancelled(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.simulate("trigger", ticket=1001, lots=0.04)
    assert [one.kind for one in mt5_account.find(order.client_order_id) or []] == [
        ReportKind.FILLED
    ]
    mt5_account.terminal.simulate("delete", ticket=1001)
    ended = mt5_account.find(order.client_order_id) or []
    assert [one.kind for one in ended] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert [one.quantity for one in mt5_account.positions()] == [D(4000)]


def test_partial_fill_during_cancel_keeps_remainder(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    mt5_account.terminal.fault(filled_first=0.04)
    reports = mt5_account.cancel(order)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    assert reports[1].code is Code.REMAINDER_NOT_CANCELLABLE
    mt5_account.terminal.fault()
    assert [one.quantity for one in mt5_account.positions()] == [D(4000)]


def test_levels_are_changed(mt5_account: Account) -> None:
    entry = mt5_account.buy()
    [moved] = mt5_account.modify(entry.broker_position_id, "1.08", "1.13")
    assert (moved.stop_loss, moved.take_profit) == (D("1.08"), D("1.13"))
    assert moved.broker_position_id == entry.broker_position_id


@pytest.mark.parametrize(("stop", "target"), [("1.2", None), (None, "1.0")])
def test_levels_on_wrong_side_are_not_sent(
    mt5_account: Account, stop: str | None, target: str | None
) -> None:
    run(mt5_account.adapter.connect(mt5_account.spec))
    levels: dict[str, Any] = {"stop_loss": stop and D(stop), "take_profit": target and D(target)}
    with raises_outcome(Rejected, Code.STOPS_INVALID):
        mt5_account.buy(**levels)
    position = mt5_account.buy().broker_position_id
    with raises_outcome(Rejected, Code.STOPS_INVALID):
        mt5_account.modify(position, stop, target)
    assert "MODIFY_ORDER" not in [command for command, _ in mt5_account.terminal.commands()]
