"""MetaTrader 5 by the same files: deals instead of tickets, and hedging accounts only."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.dwx import deals
from brokers.dwx.adapter import create
from brokers.dwx.deals import Deal, assigned, by_exit, shows_netting
from brokers.dwx.ledger import CLOSE, Intent
from brokers.dwx.parse import MalformedError, magic_of
from brokers.messages import (
    Check,
    CheckResult,
    CloseCause,
    OrderReport,
    OrderType,
    ReportKind,
    Side,
)
from brokers.registry import adapter_for, capabilities_of, form_of
from common.codes import Code
from common.errors import InvalidInputError
from tests.doubles.dwx.terminal import Terminal, until
from tests.dwx.cast import Owner, failing, run

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


def fills(owner: Owner) -> list[OrderReport]:
    return run(owner.adapter.fills_since(owner.spec, AN_HOUR_AGO))


def exits(owner: Owner) -> list[tuple[str, D, CloseCause | None]]:
    told = [one for one in fills(owner) if one.broker_order_id.endswith(":close")]
    return [(one.client_order_id, one.fills[0].quantity, one.close_cause) for one in told]


def checks(owner: Owner) -> dict[str, Check]:
    return {one.name: one for one in run(owner.adapter.test(owner.spec))}


# ---- placing and closing --------------------------------------------------------------------
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
    owner5.terminal.wish("end", ticket=1002, mark="")  # its owner
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
    owner5.terminal.wish("trigger", ticket=1001, lots=0.04)
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
    owner5.terminal.fault(torn=True)
    owner5.terminal.wish("trigger", ticket=1001)
    told = owner5.find(found.client_order_id) or []
    assert [one.kind for one in told] == [ReportKind.FILLED]
    owner5.terminal.fault(torn=True, filled_first=True)
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
    owner5.terminal.fault(torn=True, filled_first=True)
    reports = owner5.cancel(told)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]


def test_what_is_gone_is_looked_for_twice_once(owner5: Owner) -> None:
    waits = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.wish("end", ticket=1001, mark="")
    told = owner5.find(waits.client_order_id)
    assert [one.kind for one in told or []] == [ReportKind.CANCELLED]
    before = len(owner5.terminal.commands())
    owner5.restart()
    assert owner5.find(waits.client_order_id) == told
    assert len(owner5.terminal.commands()) == before + 2  # the new owner's own look, and this one


def test_an_order_from_before_the_history_is_not_called_cancelled(owner5: Owner) -> None:
    waits = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.restart()
    owner5.says(history_days=1)
    ledger = owner5.terminal.folder / "fillcast/ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines() if line]
    for line in lines:
        line["at"] = line.get("at", 0) - 30 * 86_400 if "what" in line else 0
    ledger.write_text("\n".join(map(json.dumps, lines)))
    owner5.terminal.wish("end", ticket=1001, mark="")
    with failing(ReadFailed):
        owner5.find(waits.client_order_id)


def test_the_rest_of_an_order_is_out_of_reach_while_its_position_is_open(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.wish("trigger", ticket=1001, lots=0.04)
    part, refused = owner5.cancel(told)
    assert (part.kind, part.fills[0].quantity) == (ReportKind.FILLED, D(4000))
    assert (refused.kind, refused.code) == (ReportKind.CANCEL_REFUSED, Code.REST_OUT_OF_REACH)
    assert "CLOSE_ORDER" not in [command for command, _ in owner5.terminal.commands()]
    owner5.submit(owner5.exit(part.broker_position_id, "4000"))
    ended = owner5.cancel(told)
    assert [one.kind for one in ended] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert ended[0].fills == part.fills
    assert owner5.terminal.open_tickets() == {}


def test_the_rest_that_its_owner_deletes_is_cancelled(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.wish("trigger", ticket=1001, lots=0.04)
    assert [one.kind for one in owner5.find(told.client_order_id) or []] == [ReportKind.FILLED]
    owner5.terminal.wish("delete", ticket=1001)
    ended = owner5.find(told.client_order_id) or []
    assert [one.kind for one in ended] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert [one.quantity for one in owner5.positions()] == [D(4000)]


def test_an_order_that_is_filled_in_part_while_its_cancel_is_on_its_way(owner5: Owner) -> None:
    told = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner5.terminal.fault(filled_first=0.04)
    reports = owner5.cancel(told)
    assert [one.kind for one in reports] == [ReportKind.FILLED, ReportKind.CANCEL_REFUSED]
    assert reports[1].code is Code.REST_OUT_OF_REACH
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
    with failing(Rejected, Code.STOPS_INVALID):
        owner5.buy(**levels)
    position = owner5.buy().broker_position_id
    with failing(Rejected, Code.STOPS_INVALID):
        owner5.modify(position, stop, target)
    assert "MODIFY_ORDER" not in [command for command, _ in owner5.terminal.commands()]


# ---- what others close ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mark", "cause"),
    [("[sl 1.09000]", CloseCause.STOP_LOSS), ("[tp 1.12000]", CloseCause.TAKE_PROFIT),
     ("", CloseCause.EXTERNAL), ("so 48%", CloseCause.EXTERNAL)],
)  # fmt: skip
def test_exits_that_others_made(owner5: Owner, mark: str, cause: CloseCause) -> None:
    entry = owner5.buy()
    owner5.terminal.wish("end", ticket=1001, mark=mark)
    assert exits(owner5) == [(entry.client_order_id, D(10000), cause)]


def test_positions_that_look_alike_are_told_apart(owner5: Owner) -> None:
    """What the expert advisor closes has the magic number of another position."""
    first, second, third = (owner5.buy() for _ in range(3))  # tickets 1001, 1003, 1005
    ours = owner5.exit(first.broker_position_id)
    owner5.submit(ours)
    owner5.terminal.wish("end", ticket=1005, mark="[tp 1.1]")
    assert sorted(exits(owner5), key=str) == sorted(
        [(ours.client_order_id, D(10000), None),
         (third.client_order_id, D(10000), CloseCause.TAKE_PROFIT)], key=str,
    )  # fmt: skip
    owner5.terminal.wish("end", ticket=1003, mark="")
    owner5.restart()
    assert (second.client_order_id, D(10000), CloseCause.EXTERNAL) in exits(owner5)


def test_what_cannot_be_told_apart_is_not_told(owner5: Owner) -> None:
    first, second = owner5.buy(), owner5.buy()
    for ticket, bid in ((1001, 1.2), (1003, 1.3)):
        owner5.terminal.wish("price", symbol="EURUSD", bid=bid, ask=bid)
        owner5.terminal.wish("end", ticket=ticket, mark="")
    with failing(ReadFailed) as caught:
        fills(owner5)
    assert "which deals" in caught[0].detail
    for one in (first, second):  # their entries are not in doubt
        assert owner5.find(one.client_order_id)


def test_an_exit_that_comes_after_the_stop(owner5: Owner) -> None:
    entry = owner5.buy()
    owner5.terminal.fault(stopped_first="[sl 1.1]")
    request = owner5.exit(entry.broker_position_id)
    with failing(Rejected, Code.NO_POSITION):
        owner5.submit(request)
    assert owner5.find(request.client_order_id) is None


def test_an_exit_without_an_answer_is_found(owner5: Owner) -> None:
    entry = owner5.buy()
    owner5.says(answer_seconds=0.4)
    owner5.terminal.fault(slow_trade=1.0)
    request = owner5.exit(entry.broker_position_id)
    with failing(OutcomeUnknown):
        owner5.submit(request)
    owner5.calms()
    owner5.terminal.fault()
    [told] = owner5.submit(request)
    assert told.fills[0].quantity == 10000
    assert len(owner5.terminal.journal("close")) == 1


def test_a_stop_is_heard(owner5: Owner) -> None:
    entry = owner5.buy()
    waits = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))

    async def listen() -> list[OrderReport]:
        await owner5.adapter.connect(owner5.spec)
        watched = owner5.adapter._watch._watched["c1"]
        await asyncio.to_thread(until, lambda: watched.mark is not None)
        await asyncio.to_thread(owner5.terminal.wish, "end", ticket=1001, mark="[sl 1.1]")
        await asyncio.to_thread(owner5.terminal.wish, "end", ticket=1003, mark="")
        async with asyncio.timeout(10):
            async for _ in owner5.adapter.stream_events():
                told = await owner5.adapter.events(100)
                if {ReportKind.CANCELLED} <= {one.kind for one in told} and any(
                    one.close_cause for one in told
                ):
                    return told
        return []

    told = run(listen())
    [left] = [one for one in told if one.close_cause]
    assert (left.client_order_id, left.close_cause) == (
        entry.client_order_id, CloseCause.STOP_LOSS,
    )  # fmt: skip
    [ended] = [one for one in told if one.kind is ReportKind.CANCELLED]
    assert ended.client_order_id == waits.client_order_id


# ---- refusals -------------------------------------------------------------------------------
def test_a_refusal_is_one_number_for_all_and_so_unknown_until_absent(owner5: Owner) -> None:
    owner5.terminal.fault(error="not enough money")
    request = owner5.order()
    with failing(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner5.submit(request)
    assert "4756" in caught[0].detail
    owner5.terminal.fault()

    def is_certain() -> bool:
        price = datetime.now(UTC).timestamp() % 1000 / 1e5
        owner5.terminal.wish("price", symbol="EURUSD", bid=1 + price, ask=1 + price)
        try:
            return owner5.find(request.client_order_id) is None
        except ReadFailed:
            return False

    until(is_certain, 20)


def test_a_terminal_that_may_not_trade(owner5: Owner) -> None:
    owner5.terminal.fault(error="ErrorCode: 4752")
    with failing(NotSent, Code.TRADING_DISABLED):
        owner5.buy()
    assert checks(owner5)["trading"].result is CheckResult.FAIL


# ---- hedging only ---------------------------------------------------------------------------
def test_an_account_of_which_nobody_says_that_it_hedges(owner5: Owner) -> None:
    for said in ({"hedging": False}, {"hedging": None}):
        owner5.says(**said)
        with failing(Rejected, Code.HEDGING_NEEDED):
            owner5.buy()
        assert checks(owner5)["position mode"].result is CheckResult.FAIL
    assert owner5.terminal.journal() == []
    form = form_of("mt5-dwx")
    for value in (False, None):
        with pytest.raises(InvalidInputError):
            form.validate({**owner5.spec.settings, "hedging": value})
    assert form.validate({**owner5.spec.settings, "hedging": "yes"})["hedging"] is True


def test_a_netting_account_is_refused_once_it_is_seen(owner5: Owner) -> None:
    (owner5.terminal.place / "nets").touch()
    owner5.terminal.close()
    owner5.terminal.start()
    owner5.buy()
    with failing(OutcomeUnknown) as caught:
        owner5.buy("4000", side=Side.SELL)
    assert "nets" in caught[0].detail
    with failing(Rejected, Code.HEDGING_NEEDED):
        owner5.buy()
    with failing(ReadFailed, Code.HEDGING_NEEDED):
        fills(owner5)
    assert checks(owner5)["position mode"].result is CheckResult.FAIL
    owner5.restart()
    assert checks(owner5)["commands"].result is CheckResult.FAIL
    assert len(owner5.terminal.journal()) == 2


def test_lots_that_were_added_to_anothers_are_not_told(owner5: Owner) -> None:
    (owner5.terminal.place / "nets").touch()
    owner5.terminal.close()
    owner5.terminal.start()
    owner5.buy()
    owner5.buy("4000")
    with failing(ReadFailed):
        fills(owner5)


# ---- whose files ----------------------------------------------------------------------------
def test_each_kind_refuses_the_other_metatrader(owner5: Owner, terminal5: Terminal) -> None:
    owner5.buy()
    owner5.hurries("stale_seconds")
    run(owner5.adapter.disconnect())
    owner5.adapter = create(str(owner5.root))
    with failing(NotSent) as caught:
        owner5.buy()
    assert "MetaTrader 5" in caught[0].detail
    assert len(terminal5.journal()) == 1


def test_a_metatrader_4_under_the_name_of_5(owner: Owner) -> None:
    owner.buy()
    other = Owner(owner.terminal, owner.root, hedging=True, stale_seconds=0.3)
    run(owner.adapter.disconnect())
    with failing(NotSent) as caught:
        other.buy()
    assert "MetaTrader 4" in caught[0].detail
    owner.terminal.wish("end", ticket=1001, mark="")
    with failing(NotSent) as caught:
        other.buy()
    assert "MetaTrader 4" in caught[0].detail
    assert len(owner.terminal.journal()) == 1


@pytest.mark.parametrize("shown", [{}, {"no_deposit": True}])
def test_a_metatrader_4_that_has_never_traded(owner: Owner, shown: dict[str, bool]) -> None:
    owner.terminal.fault(**shown)
    other = Owner(owner.terminal, owner.root, hedging=True)
    with failing(NotSent):
        other.buy()
    assert checks(other)["commands"].result is CheckResult.FAIL
    assert owner.terminal.journal() == []
    run(other.adapter.disconnect())


def test_it_is_a_kind_of_its_own(owner5: Owner) -> None:
    assert adapter_for("mt5-dwx").kind == "mt5-dwx"
    assert owner5.adapter.instrument_book(owner5.spec) == "mt5-dwx:alice"
    assert capabilities_of("mt5-dwx", owner5.spec) == owner5.adapter.capabilities(owner5.spec)
    assert checks(owner5)["position mode"].detail == "HEDGING"


# ---- deals, without a terminal --------------------------------------------------------------
CID, OTHER = "abc000000000000010", "abc000000000000020"


def deal(number: int, cid: str = "", entry: str = "entry_in", **said: Any) -> Deal:
    values: dict[str, Any] = {
        "magic": magic_of(cid) if cid else 0, "symbol": "EURUSD", "lots": D("0.1"),
        "side": Side.BUY if entry == "entry_in" else Side.SELL, "at": datetime(2026, 11, 20),  # noqa: DTZ001
        "price": D("1.1"), "commission": D(0), "comment": cid if entry == "entry_in" else "",
    }  # fmt: skip
    return Deal(number=number, entry=entry, **{**values, **said})


def exit_of(cid: str, number: int, lots: str = "0.1") -> Intent:
    return Intent(number, float(number), CLOSE, f"x{number}", magic_of(cid), "EURUSD", D(lots))


def owned(
    told: Sequence[Deal], still: dict[str, str] | None = None, exits: Sequence[Intent] = ()
) -> dict[str, tuple[list[int], D]]:
    open_lots = {magic_of(cid): D(lots) for cid, lots in (still or {}).items()}
    found = assigned(told, {}, open_lots, exits)
    names = {magic_of(cid): cid for cid in (CID, OTHER)}
    return {
        names[magic]: ([one.number for one in held.closed], held.left)
        for magic, held in found.items()
    }


OUT = "entry_out"


def test_one_position_owns_what_closed_it() -> None:
    assert owned([deal(1, CID)], {CID: "0.1"}) == {CID: ([], D(0))}
    assert owned([deal(1, CID), deal(2, entry=OUT)]) == {CID: ([2], D(0))}
    assert owned([deal(1, CID), deal(2, entry=OUT, lots=D("0.04"))], {CID: "0.06"}) == {
        CID: ([2], D(0))
    }


def test_volume_that_no_deal_explains_is_left() -> None:
    assert owned([deal(1, CID)]) == {CID: ([], D("0.1"))}
    assert owned([deal(1, CID)], {CID: "0.3"})[CID][1] < 0


def test_what_is_somebody_elses_is_left_alone() -> None:
    entry = deal(5, CID)
    others = [
        deal(1, entry=OUT), deal(6, entry=OUT, symbol="DAX"), deal(7, entry=OUT, magic=12345),
        deal(8, entry=OUT, side=Side.BUY), deal(9, entry="state"), deal(10, magic=7, comment="x"),
    ]  # fmt: skip
    assert owned([*others, entry], {CID: "0.1"}) == {CID: ([], D(0))}
    by_hand = deal(11, entry=OUT)
    assert owned([entry, by_hand, deal(12, entry=OUT)]) == {CID: ([], D("0.1"))}  # which one?


def test_exits_come_in_the_order_in_which_they_left() -> None:
    told = [deal(1, CID), deal(2, OTHER), deal(3, OTHER, OUT), deal(4, OTHER, OUT)]
    exits = [exit_of(OTHER, 8), exit_of(CID, 7), exit_of("unknown", 6)]
    assert owned(told, exits=exits) == {CID: ([3], D(0)), OTHER: ([4], D(0))}


def test_a_mark_names_its_position() -> None:
    told = [
        deal(1, CID), deal(2, OTHER), deal(3, OTHER, OUT, comment="[sl 1.1]"), deal(4, entry=OUT),
    ]  # fmt: skip
    assert owned(told) == {CID: ([4], D(0)), OTHER: ([3], D(0))}
    foreign = deal(3, entry=OUT, magic=magic_of("gone"), comment="[sl 1.1]")
    assert owned([deal(1, CID), foreign], {CID: "0.1"}) == {CID: ([], D(0))}


def test_an_exit_in_parts() -> None:
    told = [deal(1, CID), *(deal(n, entry=OUT, lots=D("0.05")) for n in (2, 3))]
    held = assigned(told, {}, {}, [])[magic_of(CID)]
    assert [one.number for one in by_exit(held, [exit_of(CID, 9)])[9]] == [2, 3]
    assert by_exit(held, [exit_of(CID, 9, "0.07")]) == {}
    assert [one.number for one in by_exit(held, [exit_of(CID, 9, "0.05")])[9]] == [2]


def test_signs_of_netting() -> None:
    assert not shows_netting([deal(1, CID), deal(2, CID, OUT, comment=CID)])
    assert shows_netting([deal(1, CID), deal(2, OTHER, OUT, comment=OTHER)])
    assert shows_netting([deal(1, entry="in_out")])


@pytest.mark.parametrize(
    "raw",
    [b"[]", b'{"1": 5}', b'{"1": {"type": "buy"}}', b'{"1": {"type": "buy", "deal_price": "x"}}'],
)
def test_what_is_no_history(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        deals.history(raw)


ACCOUNT = {
    "name": "Z", "number": 4711, "currency": "USD", "leverage": 100, "free_margin": 1.5,
    "balance": 2.0, "equity": 3.0,
}  # fmt: skip
LINE = {
    "magic": 5, "symbol": "EURUSD", "lots": 0.1, "type": "buy", "open_price": 1.1, "SL": 0.0,
    "open_time": "2026.11.20 17:57:12", "TP": 0.0, "pnl": 0.0, "swap": 0.0, "comment": "",
}  # fmt: skip


def test_what_is_open() -> None:
    lines = [
        {"5": LINE}, {"5": {**LINE, "type": "buylimit"}}, {"6": {**LINE, "open_price": 0.0}},
        {"7": {**LINE, "type": "unknown"}},
    ]  # fmt: skip
    text = ", ".join(json.dumps(one)[1:-1] for one in lines)
    raw = f'{{"account_info": {json.dumps(ACCOUNT)}, "orders": {{{text}}}}}'.encode()
    found = deals.snapshot(raw)
    assert [(one.number, one.is_position) for one in found.tickets] == [(5, True), (5, False)]
    assert found.account.number == "4711"
    for wrong in (b"{}", b'{"account_info": {}}', raw.replace(b'"swap"', b'"commission"')):
        with pytest.raises(MalformedError):
            deals.snapshot(wrong)
