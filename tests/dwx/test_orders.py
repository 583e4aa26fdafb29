"""Placing, closing, cancelling and changing orders: successes and rejections."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent, Rejected
from brokers.dwx.parse import magic_of
from brokers.types import OrderRequest, OrderType, ReportKind, Side, TimeInForce
from common.clocks import machine_time
from common.reason_codes import Code
from tests.dwx.factories import Account, fills, raises_outcome, run
from tests.fakes.dwx.terminal import Terminal


def test_market_order_is_filled_with_levels_and_found(account: Account) -> None:
    request = account.order("12000", stop_loss=D("1.09"), take_profit=D("1.12"))
    [report] = account.submit(request)
    magic = magic_of(request.client_order_id)
    assert account.terminal.commands()[1:] == [
        ["OPEN_ORDER", f"EURUSD,buy,0.12,0,1.09000,1.12000,{magic},{request.client_order_id},0"],
    ]
    [placed] = account.terminal.journal()
    assert (placed["symbol"], placed["lots"], placed["type"]) == ("EURUSD", 0.12, "buy")
    assert (placed["sl"], placed["tp"]) == (1.09, 1.12)
    assert placed["comment"] == request.client_order_id
    assert report.kind is ReportKind.FILLED
    assert report.client_order_id == request.client_order_id
    assert report.broker_position_id == report.broker_order_id == "1001"
    [fill] = report.fills
    assert (fill.broker_fill_id, fill.quantity, fill.price) == ("1001:in", D(12000), D("1.1001"))
    assert abs(fill.time - datetime.now(UTC)) < timedelta(minutes=20)  # not the server's UTC+2
    assert account.find(request.client_order_id) == [report]
    [position] = account.positions()
    assert (position.broker_position_id, position.quantity) == ("1001", D(12000))
    assert (position.stop_loss, position.take_profit) == (D("1.09"), D("1.12"))
    assert position.client_order_id == request.client_order_id


def test_market_order_that_is_filled_in_part(account: Account) -> None:
    """An ECN had no more: the ticket is smaller than the order, and the rest was taken away."""
    account.terminal.fault(fill_share=0.3)
    request = account.order()
    filled, rest = account.submit(request)
    assert (filled.kind, filled.fills[0].quantity) == (ReportKind.FILLED, D(3000))
    assert (rest.kind, rest.broker_order_id) == (ReportKind.CANCELLED, filled.broker_order_id)
    account.restart()
    assert account.find(request.client_order_id) == [filled, rest]
    assert fills(account) == [filled]
    [held] = account.positions()
    assert (held.broker_position_id, held.quantity) == (filled.broker_position_id, D(3000))


def test_position_of_an_order_filled_in_part_is_closed_in_parts(account: Account) -> None:
    account.terminal.fault(fill_share=0.3)
    entry, rest = account.submit(account.order())
    account.terminal.fault()
    exits = [account.exit(entry.broker_position_id, part) for part in ("1000", "2000")]
    closed = [account.submit(request)[0].fills[0].quantity for request in exits]
    assert closed == [D(1000), D(2000)]
    assert account.positions() == []
    account.restart()
    found = account.find(entry.client_order_id) or []
    assert [one.kind for one in found] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert found[0].fills == entry.fills
    assert found[1] == rest


@pytest.mark.parametrize(
    ("side", "order_type", "price", "ticket_type"),
    [
        (Side.BUY, OrderType.LIMIT, "1.05", "buylimit"),
        (Side.SELL, OrderType.LIMIT, "1.15", "selllimit"),
        (Side.BUY, OrderType.STOP, "1.15", "buystop"),
        (Side.SELL, OrderType.STOP, "1.05", "sellstop"),
    ],
)
def test_working_orders_are_accepted_and_filled(
    account: Account, side: Side, order_type: OrderType, price: str, ticket_type: str
) -> None:
    name = "limit_price" if order_type is OrderType.LIMIT else "stop_price"
    fields: dict[str, Any] = {name: D(price)}
    order = account.buy(side=side, order_type=order_type, **fields)
    assert (order.kind, order.fills) == (ReportKind.ACCEPTED, ())
    assert [one["type"] for one in account.terminal.journal()] == [ticket_type]
    [open_order] = run(account.adapter.open_orders(account.spec))
    assert (open_order.side, open_order.order_type, open_order.quantity) == (
        side,
        order_type,
        D(10000),
    )
    assert getattr(open_order, name) == D(price)
    assert open_order.client_order_id == order.client_order_id
    assert account.positions() == []
    account.terminal.simulate("trigger", ticket=1001)
    [filled] = account.find(order.client_order_id) or []
    assert (filled.kind, filled.broker_order_id) == (ReportKind.FILLED, order.broker_order_id)


def test_working_order_is_cancelled_once(account: Account) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    [cancelled] = account.cancel(order)
    assert cancelled.kind is ReportKind.CANCELLED
    assert account.terminal.open_tickets() == {}
    assert [one.kind for one in account.cancel(order)] == [ReportKind.CANCELLED]
    assert len(account.terminal.journal("delete")) == 1


def test_cancel_refused_by_broker_is_reported(account: Account) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    account.terminal.fault(error="market is closed")
    [refused] = account.cancel(order)
    assert (refused.kind, refused.code) == (ReportKind.CANCEL_REFUSED, Code.MARKET_CLOSED)
    assert list(account.terminal.open_tickets()) == ["1001"]


def test_cancel_after_fill_closes_nothing(account: Account) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    account.terminal.fault(filled_first=True)
    reports = account.cancel(order)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    assert account.terminal.open_tickets()["1001"]["lots"] == 0.1
    assert account.terminal.journal("close") == []


def test_expired_order_is_reported(account: Account) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    account.terminal.simulate("end", ticket=1001, mark="[expiration]")
    account.terminal.fault(rewrite_comment="")
    [ended] = account.find(order.client_order_id) or []
    assert ended.kind is ReportKind.EXPIRED


def test_levels_are_changed_and_removed(account: Account) -> None:
    position = account.buy().broker_position_id
    [moved] = account.modify(position, "1.08", "1.13")
    assert (moved.kind, moved.stop_loss, moved.take_profit) == (
        ReportKind.LEVELS, D("1.08"), D("1.13"),
    )  # fmt: skip
    [same] = account.modify(position, "1.08", "1.13")  # MT4 reports "no error" if nothing changes
    assert same == moved
    [none] = account.modify(position, None)
    assert (none.stop_loss, none.take_profit) == (None, None)
    assert account.terminal.open_tickets()["1001"]["sl"] == 0


def test_level_change_of_closed_position_is_rejected(account: Account) -> None:
    position = account.buy().broker_position_id
    account.terminal.simulate("end", ticket=1001, mark="[sl]")
    with raises_outcome(Rejected, Code.NO_POSITION):
        account.modify(position, "1.08")


def test_exit_closes_whole_position(account: Account) -> None:
    entry = account.buy()
    request = account.exit(entry.broker_position_id)
    [report] = account.submit(request)
    assert (report.kind, report.client_order_id) == (ReportKind.FILLED, request.client_order_id)
    assert report.close_cause is None
    assert report.broker_position_id == entry.broker_position_id
    [fill] = report.fills
    assert (fill.broker_fill_id, fill.quantity, fill.price) == ("1001:out", D(10000), D("1.1"))
    assert fill.commission == D("0.70")
    assert account.positions() == []
    assert account.find(request.client_order_id) == [report]


@pytest.mark.parametrize("swap", [-1.37, 0.2])
def test_exit_reports_the_swap_that_was_booked(account: Account, swap: float) -> None:
    entry = account.buy()
    assert entry.fills[0].swap == 0
    account.terminal.fault(swap=swap)
    [report] = account.submit(account.exit(entry.broker_position_id))
    assert report.fills[0].swap == D(str(swap))
    account.restart()
    assert [fill.swap for one in fills(account) for fill in one.fills] == [D(0), D(str(swap))]


@pytest.mark.parametrize("no_from", [False, True])
def test_partial_exits_keep_position_id(account: Account, no_from: bool) -> None:
    account.terminal.fault(no_from=no_from)
    entry = account.buy("10000")
    first = account.submit(account.exit(entry.broker_position_id, "4000"))
    assert list(account.terminal.open_tickets()) == ["1002"]
    [position] = account.positions()
    assert (position.broker_position_id, position.quantity) == (entry.broker_position_id, D(6000))
    assert position.client_order_id == entry.client_order_id
    second = account.submit(account.exit(entry.broker_position_id, "1000"))
    account.modify(entry.broker_position_id, "1.07")
    assert account.terminal.open_tickets()["1003"]["sl"] == 1.07
    third = account.submit(account.exit(entry.broker_position_id, "5000"))
    exit_fills = [report.fills[0] for [report] in (first, second, third)]
    assert [(one.broker_fill_id, one.quantity) for one in exit_fills] == [
        ("1001:out", D(4000)), ("1002:out", D(1000)), ("1003:out", D(5000)),
    ]  # fmt: skip
    account.restart()
    [found_entry] = account.find(entry.client_order_id) or []
    assert (found_entry.fills[0].broker_fill_id, found_entry.fills[0].quantity) == (
        "1001:in",
        D(10000),
    )


def test_new_process_traces_remainder_to_first_ticket(account: Account) -> None:
    entry = account.buy("10000")
    account.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    account.terminal.simulate("end", ticket=1002, mark="", lots=0.01)
    account.restart()
    [position] = account.positions()
    assert (position.broker_position_id, position.quantity) == (entry.broker_position_id, D(5000))


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        ("not enough money", Rejected, Code.NO_MONEY),
        ("market is closed", Rejected, Code.MARKET_CLOSED),
        ("requote", Rejected, Code.REQUOTE),
        ("trade is not allowed in the expert properties", NotSent, Code.TRADING_DISABLED),
        ("account disabled", Rejected, Code.TRADING_DISABLED),
        ("trade is disabled", Rejected, Code.SYMBOL_TRADING_DISABLED),
        ("long positions only allowed", Rejected, Code.SIDE_NOT_ALLOWED),
        ("shorts are not allowed in the expert properties", Rejected, Code.SIDE_NOT_ALLOWED),
        ("longs are not allowed in the expert properties", Rejected, Code.SIDE_NOT_ALLOWED),
    ],
)
def test_broker_errors_have_outcome_and_code(
    account: Account, error: str, outcome: Any, code: Code
) -> None:
    account.terminal.fault(error=error)
    request = account.order()
    with raises_outcome(outcome, code) as caught:
        account.submit(request)
    assert error in caught[0].detail
    assert account.find(request.client_order_id) is None
    assert account.terminal.journal() == []


def test_rejected_exit_leaves_the_position(account: Account) -> None:
    entry = account.buy()
    account.terminal.fault(error="market is closed")
    request = account.exit(entry.broker_position_id)
    with raises_outcome(Rejected, Code.MARKET_CLOSED):
        account.submit(request)
    assert account.find(request.client_order_id) is None
    account.terminal.fault()
    account.terminal.simulate("end", ticket=1001, mark="")  # by hand, not by our exit
    assert account.find(request.client_order_id) is None


def test_exit_between_the_set_lot_steps_is_sent(account: Account) -> None:
    """`lot_step` is what its owner has entered, or what the broker had then."""
    entry = account.buy()
    account.change_settings(symbols={"EURUSD": {"lot_step": "0.1"}})
    account.submit(account.exit(entry.broker_position_id, "3000"))
    assert [one.quantity for one in account.positions()] == [7000]


def test_exit_after_stop_is_rejected(account: Account) -> None:
    entry = account.buy()
    account.terminal.fault(stopped_first="[sl]")
    request = account.exit(entry.broker_position_id)
    with raises_outcome(Rejected, Code.NO_POSITION):
        account.submit(request)
    assert account.find(request.client_order_id) is None
    assert len(account.terminal.journal("close")) == 1


def test_limits_of_expert_advisor_have_a_hint(account: Account) -> None:
    account.terminal.close()
    account.terminal.set_inputs(MaximumOrders=1, MaximumLotSize=0.05)
    account.terminal.start()
    with raises_outcome(Rejected, Code.TERMINAL_LIMIT) as caught:
        account.buy("10000")
    assert "MaximumLotSize (0.05)" in caught[0].detail
    assert "MaximumLotSize" in caught[0].code.hint
    account.buy("5000")
    with raises_outcome(Rejected, Code.TERMINAL_LIMIT):
        account.buy("1000")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"quantity": "10500"}, Code.VOLUME_INVALID),
        ({"symbol": "DAX"}, Code.UNKNOWN_SYMBOL_AT_BROKER),
        ({"symbol": "GBPUSD"}, Code.UNKNOWN_SYMBOL_AT_BROKER),
        ({"symbol": "EUR,USD"}, Code.UNKNOWN_SYMBOL_AT_BROKER),
        ({"time_in_force": TimeInForce.IOC}, Code.ORDER_TYPE_UNSUPPORTED),
        ({"order_type": OrderType.LIMIT}, Code.PRICE_INVALID),
        ({"stop_loss": D(-1)}, Code.PRICE_INVALID),
        ({"stop_loss": D("1.2")}, Code.STOPS_INVALID),
        ({"client_order_id": "a,b"}, Code.REJECTED_BY_BROKER),
    ],
)
def test_invalid_orders_are_rejected(account: Account, fields: dict[str, Any], code: Code) -> None:
    with raises_outcome(Rejected, code):
        account.buy(**fields)
    assert account.terminal.journal() == []


@pytest.mark.parametrize(
    "fields", [{"quantity": "20000"}, {"side": Side.BUY}, {"broker_position_id": "9"},
             {"order_type": OrderType.LIMIT, "limit_price": D(1)}],
)  # fmt: skip
def test_invalid_exit_never_opens_a_position(account: Account, fields: dict[str, Any]) -> None:
    entry = account.buy()
    with raises_outcome(Rejected):
        account.submit(account.exit(entry.broker_position_id, **fields))
    assert len(account.terminal.journal()) == 1
    assert account.terminal.open_tickets()["1001"]["lots"] == 0.1


def test_guard_runs_right_before_the_write(account: Account) -> None:
    prepared = []

    def guard(request: OrderRequest) -> None:
        paths = account.terminal.folder.glob("fillcast/next-*.txt")
        prepared.append([one.read_text().split(",")[7] for one in paths])
        raise NotSent(Code.KILL_SWITCH)

    request = account.order()
    with raises_outcome(NotSent, Code.KILL_SWITCH):
        account.submit(request, guard)
    assert prepared == [[request.client_order_id]]  # the file is ready: only the rename remains
    assert "OPEN_ORDER" not in [command for command, _ in account.terminal.commands()]
    assert account.find(request.client_order_id) is None


def test_file_of_abandoned_call_is_removed(account: Account) -> None:
    account.buy()
    folder = account.terminal.folder / "fillcast"
    (folder / "next-7.txt").write_text("<:7|OPEN_ORDER|half")  # of a call whose thread ended
    account.buy()
    assert list(folder.glob("next-*.txt")) == []
    assert len(account.terminal.journal()) == 2


def test_call_after_its_deadline_is_not_sent(account: Account, terminal: Terminal) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    with raises_outcome(NotSent, Code.SEND_DEADLINE):
        account.cancel(order, send_by=machine_time() - 1)
    with raises_outcome(NotSent, Code.SEND_DEADLINE):
        account.modify(
            "", "1.01", client_order_id=order.client_order_id, send_by=machine_time() - 1
        )
    assert terminal.commands()[-1][0] == "OPEN_ORDER"
