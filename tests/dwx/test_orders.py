"""Placing, closing, cancelling, changing, when all goes well or the broker refuses."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent, Rejected
from brokers.dwx.parse import magic_of
from brokers.types import OrderRequest, OrderType, ReportKind, Side, TimeInForce
from common.clocks import machine_time
from common.reason_codes import Code
from tests.dwx.factories import Owner, raises_outcome, run
from tests.fakes.dwx.terminal import Terminal


def test_a_market_order_is_filled_with_its_levels_and_found_again(owner: Owner) -> None:
    request = owner.order("12000", stop_loss=D("1.09"), take_profit=D("1.12"))
    [told] = owner.submit(request)
    magic = magic_of(request.client_order_id)
    assert owner.terminal.commands()[1:] == [
        ["OPEN_ORDER", f"EURUSD,buy,0.12,0,1.09000,1.12000,{magic},{request.client_order_id},0"],
    ]
    [placed] = owner.terminal.journal()
    assert (placed["symbol"], placed["lots"], placed["type"]) == ("EURUSD", 0.12, "buy")
    assert (placed["sl"], placed["tp"]) == (1.09, 1.12)
    assert placed["comment"] == request.client_order_id
    assert told.kind is ReportKind.FILLED
    assert told.client_order_id == request.client_order_id
    assert told.broker_position_id == told.broker_order_id == "1001"
    [fill] = told.fills
    assert (fill.broker_fill_id, fill.quantity, fill.price) == ("1001:in", D(12000), D("1.1001"))
    assert abs(fill.time - datetime.now(UTC)) < timedelta(seconds=30)  # not the server's UTC+2
    assert owner.find(request.client_order_id) == [told]
    [position] = owner.positions()
    assert (position.broker_position_id, position.quantity) == ("1001", D(12000))
    assert (position.stop_loss, position.take_profit) == (D("1.09"), D("1.12"))
    assert position.client_order_id == request.client_order_id


@pytest.mark.parametrize(
    ("side", "order_type", "price", "word"),
    [
        (Side.BUY, OrderType.LIMIT, "1.05", "buylimit"),
        (Side.SELL, OrderType.LIMIT, "1.15", "selllimit"),
        (Side.BUY, OrderType.STOP, "1.15", "buystop"),
        (Side.SELL, OrderType.STOP, "1.05", "sellstop"),
    ],
)
def test_waiting_orders(
    owner: Owner, side: Side, order_type: OrderType, price: str, word: str
) -> None:
    name = "limit_price" if order_type is OrderType.LIMIT else "stop_price"
    said: dict[str, Any] = {name: D(price)}
    told = owner.buy(side=side, order_type=order_type, **said)
    assert (told.kind, told.fills) == (ReportKind.ACCEPTED, ())
    assert [one["type"] for one in owner.terminal.journal()] == [word]
    [waits] = run(owner.adapter.open_orders(owner.spec))
    assert (waits.side, waits.order_type, waits.quantity) == (side, order_type, D(10000))
    assert getattr(waits, name) == D(price)
    assert waits.client_order_id == told.client_order_id
    assert owner.positions() == []
    owner.terminal.simulate("trigger", ticket=1001)
    [filled] = owner.find(told.client_order_id) or []
    assert (filled.kind, filled.broker_order_id) == (ReportKind.FILLED, told.broker_order_id)


def test_a_waiting_order_is_cancelled_once(owner: Owner) -> None:
    told = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    [cancelled] = owner.cancel(told)
    assert cancelled.kind is ReportKind.CANCELLED
    assert owner.terminal.open_tickets() == {}
    assert [one.kind for one in owner.cancel(told)] == [ReportKind.CANCELLED]
    assert len(owner.terminal.journal("delete")) == 1


def test_a_cancel_that_the_broker_refuses(owner: Owner) -> None:
    told = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner.terminal.fault(error="market is closed")
    [refused] = owner.cancel(told)
    assert (refused.kind, refused.code) == (ReportKind.CANCEL_REFUSED, Code.MARKET_CLOSED)
    assert list(owner.terminal.open_tickets()) == ["1001"]


def test_a_cancel_that_comes_after_the_fill_closes_nothing(owner: Owner) -> None:
    told = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner.terminal.fault(filled_first=True)
    reports = owner.cancel(told)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    assert owner.terminal.open_tickets()["1001"]["lots"] == 0.1
    assert owner.terminal.journal("close") == []


def test_an_expired_order_is_told_as_such(owner: Owner) -> None:
    told = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner.terminal.simulate("end", ticket=1001, mark="[expiration]")
    owner.terminal.fault(rewrite_comment="")
    [ended] = owner.find(told.client_order_id) or []
    assert ended.kind is ReportKind.EXPIRED


def test_levels_are_moved_and_taken_away(owner: Owner) -> None:
    position = owner.buy().broker_position_id
    [moved] = owner.modify(position, "1.08", "1.13")
    assert (moved.kind, moved.stop_loss, moved.take_profit) == (
        ReportKind.LEVELS, D("1.08"), D("1.13"),
    )  # fmt: skip
    [same] = owner.modify(position, "1.08", "1.13")  # MT4 says "no error", and means no change
    assert same == moved
    [none] = owner.modify(position, None)
    assert (none.stop_loss, none.take_profit) == (None, None)
    assert owner.terminal.open_tickets()["1001"]["sl"] == 0


def test_levels_of_what_is_gone(owner: Owner) -> None:
    position = owner.buy().broker_position_id
    owner.terminal.simulate("end", ticket=1001, mark="[sl]")
    with raises_outcome(Rejected, Code.NO_POSITION):
        owner.modify(position, "1.08")


def test_closing_whole(owner: Owner) -> None:
    entry = owner.buy()
    request = owner.exit(entry.broker_position_id)
    [told] = owner.submit(request)
    assert (told.kind, told.client_order_id) == (ReportKind.FILLED, request.client_order_id)
    assert told.close_cause is None
    assert told.broker_position_id == entry.broker_position_id
    [fill] = told.fills
    assert (fill.broker_fill_id, fill.quantity, fill.price) == ("1001:out", D(10000), D("1.1"))
    assert fill.commission == D("0.70")
    assert owner.positions() == []
    assert owner.find(request.client_order_id) == [told]


@pytest.mark.parametrize("no_from", [False, True])
def test_parts_keep_the_position_whatever_ticket_is_left(owner: Owner, no_from: bool) -> None:
    owner.terminal.fault(no_from=no_from)
    entry = owner.buy("10000")
    first = owner.submit(owner.exit(entry.broker_position_id, "4000"))
    assert list(owner.terminal.open_tickets()) == ["1002"]
    [left] = owner.positions()
    assert (left.broker_position_id, left.quantity) == (entry.broker_position_id, D(6000))
    assert left.client_order_id == entry.client_order_id
    second = owner.submit(owner.exit(entry.broker_position_id, "1000"))
    owner.modify(entry.broker_position_id, "1.07")
    assert owner.terminal.open_tickets()["1003"]["sl"] == 1.07
    third = owner.submit(owner.exit(entry.broker_position_id, "5000"))
    out = [told.fills[0] for [told] in (first, second, third)]
    assert [(one.broker_fill_id, one.quantity) for one in out] == [
        ("1001:out", D(4000)), ("1002:out", D(1000)), ("1003:out", D(5000)),
    ]  # fmt: skip
    owner.restart()
    [whole] = owner.find(entry.client_order_id) or []
    assert (whole.fills[0].broker_fill_id, whole.fills[0].quantity) == ("1001:in", D(10000))


def test_a_part_is_traced_by_a_process_that_never_saw_the_first_ticket(owner: Owner) -> None:
    entry = owner.buy("10000")
    owner.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    owner.terminal.simulate("end", ticket=1002, mark="", lots=0.01)
    owner.restart()
    [left] = owner.positions()
    assert (left.broker_position_id, left.quantity) == (entry.broker_position_id, D(5000))


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
def test_refusals(owner: Owner, error: str, outcome: Any, code: Code) -> None:
    owner.terminal.fault(error=error)
    request = owner.order()
    with raises_outcome(outcome, code) as caught:
        owner.submit(request)
    assert error in caught[0].detail
    assert owner.find(request.client_order_id) is None
    assert owner.terminal.journal() == []


def test_a_refused_exit_leaves_the_position(owner: Owner) -> None:
    entry = owner.buy()
    owner.terminal.fault(error="market is closed")
    request = owner.exit(entry.broker_position_id)
    with raises_outcome(Rejected, Code.MARKET_CLOSED):
        owner.submit(request)
    assert owner.find(request.client_order_id) is None
    owner.terminal.fault()
    owner.terminal.simulate("end", ticket=1001, mark="")  # by hand: no exit of ours has done it
    assert owner.find(request.client_order_id) is None


def test_an_exit_that_comes_after_the_stop(owner: Owner) -> None:
    entry = owner.buy()
    owner.terminal.fault(stopped_first="[sl]")
    request = owner.exit(entry.broker_position_id)
    with raises_outcome(Rejected, Code.NO_POSITION):
        owner.submit(request)
    assert owner.find(request.client_order_id) is None
    assert len(owner.terminal.journal("close")) == 1


def test_limits_of_the_expert_advisor_say_how_to_raise_them(owner: Owner) -> None:
    owner.terminal.close()
    owner.terminal.set_inputs(MaximumOrders=1, MaximumLotSize=0.05)
    owner.terminal.start()
    with raises_outcome(Rejected, Code.TERMINAL_LIMIT) as caught:
        owner.buy("10000")
    assert "MaximumLotSize (0.05)" in caught[0].detail
    assert "MaximumLotSize" in caught[0].code.hint
    owner.buy("5000")
    with raises_outcome(Rejected, Code.TERMINAL_LIMIT):
        owner.buy("1000")


@pytest.mark.parametrize(
    ("said", "code"),
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
def test_what_cannot_be_placed(owner: Owner, said: dict[str, Any], code: Code) -> None:
    with raises_outcome(Rejected, code):
        owner.buy(**said)
    assert owner.terminal.journal() == []


@pytest.mark.parametrize(
    "said", [{"quantity": "20000"}, {"side": Side.BUY}, {"broker_position_id": "9"},
             {"order_type": OrderType.LIMIT, "limit_price": D(1)}],
)  # fmt: skip
def test_an_exit_never_opens(owner: Owner, said: dict[str, Any]) -> None:
    entry = owner.buy()
    with raises_outcome(Rejected):
        owner.submit(owner.exit(entry.broker_position_id, **said))
    assert len(owner.terminal.journal()) == 1
    assert owner.terminal.open_tickets()["1001"]["lots"] == 0.1


def test_the_guard_stands_right_before_the_write(owner: Owner) -> None:
    seen = []

    def guard(request: OrderRequest) -> None:
        ready = owner.terminal.folder.glob("fillcast/next-*.txt")
        seen.append([one.read_text().split(",")[7] for one in ready])
        raise NotSent(Code.KILL_SWITCH)

    request = owner.order()
    with raises_outcome(NotSent, Code.KILL_SWITCH):
        owner.submit(request, guard)
    assert seen == [[request.client_order_id]]  # all is ready: only the rename is left
    assert "OPEN_ORDER" not in [command for command, _ in owner.terminal.commands()]
    assert owner.find(request.client_order_id) is None


def test_what_a_call_that_was_given_up_left_behind_is_removed(owner: Owner) -> None:
    owner.buy()
    own = owner.terminal.folder / "fillcast"
    (own / "next-7.txt").write_text("<:7|OPEN_ORDER|half")  # its thread ended after it
    owner.buy()
    assert list(own.glob("next-*.txt")) == []
    assert len(owner.terminal.journal()) == 2


def test_what_is_past_its_deadline_does_not_leave(owner: Owner, terminal: Terminal) -> None:
    waiting = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    with raises_outcome(NotSent, Code.SEND_DEADLINE):
        owner.cancel(waiting, send_by=machine_time() - 1)
    with raises_outcome(NotSent, Code.SEND_DEADLINE):
        owner.modify(
            "", "1.01", client_order_id=waiting.client_order_id, send_by=machine_time() - 1
        )
    assert terminal.commands()[-1][0] == "OPEN_ORDER"
