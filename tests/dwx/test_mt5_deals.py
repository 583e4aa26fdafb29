"""MetaTrader 5's files into our words, and which position a deal closed, without a terminal."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.dwx import mt5_deals
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.mt5_deals import Deal, assign_deals, deals_by_exit, shows_netting
from brokers.dwx.parse import MalformedError, magic_of
from brokers.dwx.sent_commands import CLOSE, SentCommand
from brokers.types import (
    Side,
)

CID, OTHER = "abc000000000000010", "abc000000000000020"


def deal(number: int, cid: str = "", entry: str = "entry_in", **said: Any) -> Deal:
    values: dict[str, Any] = {
        "magic": magic_of(cid) if cid else 0, "symbol": "EURUSD", "lots": D("0.1"),
        "side": Side.BUY if entry == "entry_in" else Side.SELL, "at": datetime(2026, 11, 20),  # noqa: DTZ001
        "price": D("1.1"), "commission": D(0), "comment": cid if entry == "entry_in" else "",
    }  # fmt: skip
    return Deal(number=number, entry=entry, **{**values, **said})


def exit_of(cid: str, number: int, lots: str = "0.1") -> SentCommand:
    return SentCommand(number, float(number), CLOSE, f"x{number}", magic_of(cid), "EURUSD", D(lots))


def owned(
    told: Sequence[Deal], still: dict[str, str] | None = None, exits: Sequence[SentCommand] = ()
) -> dict[str, tuple[list[int], D]]:
    open_lots = {magic_of(cid): D(lots) for cid, lots in (still or {}).items()}
    found = assign_deals(told, {}, open_lots, exits)
    names = {magic_of(cid): cid for cid in (CID, OTHER)}
    return {
        names[magic]: ([one.number for one in held.closed], held.remaining_lots)
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
    held = assign_deals(told, {}, {}, [])[magic_of(CID)]
    assert [one.number for one in deals_by_exit(held, [exit_of(CID, 9)])[9]] == [2, 3]
    assert deals_by_exit(held, [exit_of(CID, 9, "0.07")]) == {}
    assert [one.number for one in deals_by_exit(held, [exit_of(CID, 9, "0.05")])[9]] == [2]


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
        mt5_deals.history(TerminalHistory(), raw)


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
    found = mt5_deals.snapshot(raw)
    assert [(one.number, one.is_position) for one in found.tickets] == [(5, True), (5, False)]
    assert found.account.number == "4711"
    for wrong in (b"{}", b'{"account_info": {}}', raw.replace(b'"swap"', b'"commission"')):
        with pytest.raises(MalformedError):
            mt5_deals.snapshot(wrong)
