"""MetaTrader 5 by the same files: placing, closing, cancelling and moving levels."""

import json
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
from tests.dwx.factories import Owner, fills, raises_outcome, run


def test_an_entry_is_told_by_its_deals(owner5: Owner) -> None:
    entry = owner5.buy(stop_loss=D("1.09"), take_profit=D("1.12"))
    assert (entry.kind, entry.stop_loss, entry.take_profit) == (
        ReportKind.FILLED, D("1.09"), D("1.12"),
    )  # fmt: skip
    assert entry.broker_position_id == f"m{magic_of(entry.client_order_id)}"
    [fill] = entry.fills
    assert (fill.broker_fill_id, fill.quantity, fill.price) == ("1002", D(10000), D("1.1001"))
    assert (fill.commission, fill.commission_currency) == (D("0.35"), "USD")
    assert abs(fill.time - datetime.now(UTC)) < timedelta(seconds=30)
    owner5.restart()
    assert owner5.find(entry.client_order_id) == [entry]
    [position] = owner5.positions()
    assert position.broker_position_id == entry.broker_position_id
    assert fills(owner5) == [entry]


def test_executions_in_parts_have_their_own_numbers(owner5: Owner) -> None:
    owner5.terminal.fault(pieces=3)
    entry = owner5.buy("12000")
    assert [(one.broker_fill_id, one.quantity) for one in entry.fills] == [
        ("1002", D(4000)), ("1003", D(4000)), ("1004", D(4000)),
    ]  # fmt: skip
    [left] = owner5.submit(owner5.exit(entry.broker_position_id, "12000"))
    assert sum(one.quantity for one in left.fills) == 12000
    assert len(left.fills) == 3


def test_parts_are_closed_and_the_position_stays(owner5: Owner) -> None:
    entry = owner5.buy()
    requests = [owner5.exit(entry.broker_position_id, part) for part in ("4000", "1000", "5000")]
    told = [owner5.submit(request)[0] for request in requests[:2]]
    [left] = owner5.positions()
    assert (left.broker_position_id, left.quantity) == (entry.broker_position_id, D(5000))
    told += owner5.submit(requests[2])
    assert owner5.positions() == []
    assert [one.client_order_id for one in told] == [one.client_order_id for one in requests]
    assert [one.fills[0].quantity for one in told] == [D(4000), D(1000), D(5000)]
    owner5.restart()
    for request, report in zip(requests, told, strict=True):
        assert owner5.find(request.client_order_id) == [report]
    assert owner5.find(entry.client_order_id) == [
        OrderReport(
            ReportKind.FILLED, "c1", entry.client_order_id, entry.broker_order_id,
            entry.broker_position_id, entry.fills,
        )
    ]  # fmt: skip


def test_a_waiting_order_ends_without_a_word_in_the_history(owner5: Owner) -> None:
    first, second = (
        owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05")) for _ in range(2)
    )
    assert first.kind is ReportKind.ACCEPTED
    assert [one.kind for one in owner5.cancel(first)] == [ReportKind.CANCELLED]
    owner5.terminal.simulate("end", ticket=1002, mark="")  # its owner
    owner5.restart()
    for one in (first, second):
        assert [told.kind for told in owner5.find(one.client_order_id) or []] == [
            ReportKind.CANCELLED
        ]
    assert owner5.find(owner5.order().client_order_id) is None


def test_a_waiting_order_of_a_lost_ledger_is_cancelled(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.restart()
    (owner5.terminal.folder / "fillcast/ledger.jsonl").unlink()
    assert [one.kind for one in owner5.cancel(told)] == [ReportKind.CANCELLED]


def test_a_cancel_after_the_fill_closes_nothing(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.fault(filled_first=True)
    reports = owner5.cancel(told)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    assert [one.quantity for one in owner5.positions()] == [D(10000)]


def test_an_order_that_was_filled_in_part_is_both(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.simulate("trigger", ticket=1001, lots=0.04)
    [part] = owner5.find(told.client_order_id) or []
    assert (part.kind, part.fills[0].quantity) == (ReportKind.FILLED, D(4000))
    [waits] = run(owner5.adapter.open_orders(owner5.spec))
    assert (waits.quantity, waits.client_order_id) == (D(6000), told.client_order_id)
    [held] = owner5.positions()
    assert held.quantity == 4000
    [closed] = owner5.submit(owner5.exit(held.broker_position_id, "4000"))
    assert closed.fills[0].quantity == 4000


def test_a_filled_order_that_is_in_no_file_yet_is_not_called_cancelled(owner5: Owner) -> None:
    """The orders file is written after the order went and before its position and deal came."""
    found, cancelled = (
        owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05")) for _ in range(2)
    )
    owner5.terminal.fault(unlisted=True)
    owner5.terminal.simulate("time_zone", hours=2.0)  # changes nothing: the fault is seen by then
    owner5.terminal.simulate("trigger", ticket=1001)
    told = owner5.find(found.client_order_id) or []
    assert [one.kind for one in told] == [ReportKind.FILLED]
    owner5.terminal.fault(unlisted=True, filled_first=True)
    told = owner5.cancel(cancelled)
    assert [one.kind for one in told] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    heard = run(owner5.adapter.events(100))
    assert ReportKind.CANCELLED not in [one.kind for one in heard]
    owner5.terminal.fault()
    assert [one.quantity for one in owner5.positions()] == [D(10000), D(10000)]


def test_a_filled_order_of_a_lost_ledger_is_not_called_cancelled(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.restart()
    (owner5.terminal.folder / "fillcast/ledger.jsonl").unlink()
    owner5.terminal.fault(unlisted=True, filled_first=True)
    reports = owner5.cancel(told)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]


def test_what_is_gone_is_looked_for_twice_once(owner5: Owner) -> None:
    waits = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.simulate("end", ticket=1001, mark="")
    told = owner5.find(waits.client_order_id)
    assert [one.kind for one in told or []] == [ReportKind.CANCELLED]
    before = len(owner5.terminal.commands())
    owner5.restart()
    assert owner5.find(waits.client_order_id) == told
    assert len(owner5.terminal.commands()) == before + 2  # the new owner's own look, and this one


def test_an_order_from_before_the_history_is_not_called_cancelled(owner5: Owner) -> None:
    waits = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.restart()
    owner5.change_settings(history_days=1)
    ledger = owner5.terminal.folder / "fillcast/ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines() if line]
    for line in lines:
        line["at"] = line.get("at", 0) - 30 * 86_400 if "what" in line else 0
    ledger.write_text("\n".join(map(json.dumps, lines)))
    owner5.terminal.simulate("end", ticket=1001, mark="")
    with raises_outcome(ReadFailed):
        owner5.find(waits.client_order_id)


def test_the_rest_of_an_order_is_out_of_reach_while_its_position_is_open(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.simulate("trigger", ticket=1001, lots=0.04)
    part, refused = owner5.cancel(told)
    assert (part.kind, part.fills[0].quantity) == (ReportKind.FILLED, D(4000))
    assert (refused.kind, refused.code) == (
        ReportKind.CANCEL_REFUSED,
        Code.REMAINDER_NOT_CANCELLABLE,
    )
    assert "CLOSE_ORDER" not in [command for command, _ in owner5.terminal.commands()]
    owner5.submit(owner5.exit(part.broker_position_id, "4000"))
    ended = owner5.cancel(told)
    assert [one.kind for one in ended] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert ended[0].fills == part.fills
    assert owner5.terminal.open_tickets() == {}


def test_the_rest_that_its_owner_deletes_is_cancelled(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.simulate("trigger", ticket=1001, lots=0.04)
    assert [one.kind for one in owner5.find(told.client_order_id) or []] == [ReportKind.FILLED]
    owner5.terminal.simulate("delete", ticket=1001)
    ended = owner5.find(told.client_order_id) or []
    assert [one.kind for one in ended] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert [one.quantity for one in owner5.positions()] == [D(4000)]


def test_an_order_that_is_filled_in_part_while_its_cancel_is_on_its_way(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.fault(filled_first=0.04)
    reports = owner5.cancel(told)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    assert reports[1].code is Code.REMAINDER_NOT_CANCELLABLE
    owner5.terminal.fault()
    assert [one.quantity for one in owner5.positions()] == [D(4000)]


def test_levels_are_moved(owner5: Owner) -> None:
    entry = owner5.buy()
    [moved] = owner5.modify(entry.broker_position_id, "1.08", "1.13")
    assert (moved.stop_loss, moved.take_profit) == (D("1.08"), D("1.13"))
    assert moved.broker_position_id == entry.broker_position_id


@pytest.mark.parametrize(("stop", "target"), [("1.2", None), (None, "1.0")])
def test_levels_on_the_wrong_side_do_not_leave(
    owner5: Owner, stop: str | None, target: str | None
) -> None:
    run(owner5.adapter.connect(owner5.spec))
    levels: dict[str, Any] = {"stop_loss": stop and D(stop), "take_profit": target and D(target)}
    with raises_outcome(Rejected, Code.STOPS_INVALID):
        owner5.buy(**levels)
    position = owner5.buy().broker_position_id
    with raises_outcome(Rejected, Code.STOPS_INVALID):
        owner5.modify(position, stop, target)
    assert "MODIFY_ORDER" not in [command for command, _ in owner5.terminal.commands()]
