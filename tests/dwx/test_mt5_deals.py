"""Parsing the files of MetaTrader 5, and assigning its deals to positions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.dwx import mt5_deals
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.mt5_deals import Deal, assign_deals, shows_netting
from brokers.dwx.parse import MalformedError, magic_of
from brokers.dwx.sent_commands import CLOSE, OPEN, SentCommand
from brokers.types import (
    Side,
)

CID, OTHER = "abc000000000000010", "abc000000000000020"


def deal(number: int, cid: str = "", entry: str = "entry_in", **fields: Any) -> Deal:
    values: dict[str, Any] = {
        "magic": magic_of(cid) if cid else 0, "symbol": "EURUSD", "lots": D("0.1"),
        "side": Side.BUY if entry == "entry_in" else Side.SELL, "at": datetime(2026, 11, 20),  # noqa: DTZ001
        "price": D("1.1"), "commission": D(0), "comment": cid if entry == "entry_in" else "",
    }  # fmt: skip
    return Deal(number=number, entry=entry, **{**values, **fields})


def exit_of(cid: str, number: int, lots: str = "0.1", **fields: Any) -> SentCommand:
    return SentCommand(
        number, float(number), CLOSE, f"x{number}", magic_of(cid), "EURUSD", D(lots), **fields
    )


def assigned_deals(
    deals: Sequence[Deal],
    open_positions: dict[str, str] | None = None,
    exits: Sequence[SentCommand] = (),
) -> dict[str, tuple[list[int], D]]:
    open_lots = {magic_of(cid): D(lots) for cid, lots in (open_positions or {}).items()}
    assigned = assign_deals(deals, {}, open_lots, exits)
    names = {magic_of(cid): cid for cid in (CID, OTHER)}
    return {
        names[magic]: ([deal.number for deal in position.closed], position.remaining_lots)
        for magic, position in assigned.items()
    }


OUT = "entry_out"


def test_closing_deals_are_assigned_to_their_position() -> None:
    assert assigned_deals([deal(1, CID)], {CID: "0.1"}) == {CID: ([], D(0))}
    assert assigned_deals([deal(1, CID), deal(2, entry=OUT)]) == {CID: ([2], D(0))}
    assert assigned_deals([deal(1, CID), deal(2, entry=OUT, lots=D("0.04"))], {CID: "0.06"}) == {
        CID: ([2], D(0))
    }


def test_volume_without_closing_deal_remains() -> None:
    assert assigned_deals([deal(1, CID)]) == {CID: ([], D("0.1"))}
    assert assigned_deals([deal(1, CID)], {CID: "0.3"})[CID][1] < 0


def test_deals_of_others_are_not_assigned() -> None:
    entry = deal(5, CID)
    others = [
        deal(1, entry=OUT), deal(6, entry=OUT, symbol="DAX"), deal(7, entry=OUT, magic=12345),
        deal(8, entry=OUT, side=Side.BUY), deal(9, entry="state"), deal(10, magic=7, comment="x"),
    ]  # fmt: skip
    assert assigned_deals([*others, entry], {CID: "0.1"}) == {CID: ([], D(0))}
    by_hand = deal(11, entry=OUT)
    ambiguous = [by_hand, deal(12, entry=OUT)]
    assert assigned_deals([entry, *ambiguous]) == {CID: ([], D("0.1"))}


def test_closing_deals_are_assigned_in_order_of_exits() -> None:
    deals = [deal(1, CID), deal(2, OTHER), deal(3, OTHER, OUT), deal(4, OTHER, OUT)]
    exits = [exit_of(OTHER, 8), exit_of(CID, 7), exit_of("unknown", 6)]
    assert assigned_deals(deals, exits=exits) == {CID: ([3], D(0)), OTHER: ([4], D(0))}


def test_close_that_was_known_before_an_exit_was_sent_is_not_its_own() -> None:
    """The first position was closed by hand; then the exit of the second one was executed."""
    deals = [deal(1, CID), deal(2, OTHER), deal(3, entry=OUT), deal(4, CID, OUT)]
    exits = [exit_of(OTHER, 8, after=3)]
    assert assigned_deals(deals, exits=exits) == {CID: ([3], D(0)), OTHER: ([4], D(0))}


def test_close_belongs_to_the_newest_exit_that_may_have_made_it() -> None:
    """That of the first position had no effect; much later the owner closes the position."""
    deals = [deal(1, CID), deal(2, OTHER), deal(3, OTHER, OUT), deal(5, entry=OUT)]
    exits = [exit_of(CID, 7, after=2), exit_of(OTHER, 8, after=2)]
    assert assigned_deals(deals[:3], {CID: "0.1"}, exits) == {CID: ([], D(0)), OTHER: ([3], D(0))}
    assert assigned_deals(deals, exits=exits) == {CID: ([5], D(0)), OTHER: ([3], D(0))}


def test_close_that_the_ledger_has_stays_with_its_position() -> None:
    """The first position was closed by hand while the exit of the second one was on its way."""
    deals = [deal(1, CID), deal(2, OTHER), deal(3, entry=OUT), deal(4, CID, OUT)]
    entry = replace(exit_of(CID, 6), action=OPEN, deals=(3,))
    exits = [entry, exit_of(OTHER, 8, after=2)]
    assert assigned_deals(deals, exits=exits) == {CID: ([3], D(0)), OTHER: ([4], D(0))}


def test_level_comment_identifies_position() -> None:
    deals = [
        deal(1, CID), deal(2, OTHER), deal(3, OTHER, OUT, comment="[sl 1.1]"), deal(4, entry=OUT),
    ]  # fmt: skip
    assert assigned_deals(deals) == {CID: ([4], D(0)), OTHER: ([3], D(0))}
    foreign = deal(3, entry=OUT, magic=magic_of("gone"), comment="[sl 1.1]")
    assert assigned_deals([deal(1, CID), foreign], {CID: "0.1"}) == {CID: ([], D(0))}


def test_netting_is_detected_from_deals() -> None:
    assert not shows_netting([deal(1, CID), deal(2, CID, OUT, comment=CID)])
    assert shows_netting([deal(1, CID), deal(2, OTHER, OUT, comment=OTHER)])
    assert shows_netting([deal(1, entry="in_out")])


@pytest.mark.parametrize(
    "raw",
    [b"[]", b'{"1": 5}', b'{"1": {"type": "buy"}}', b'{"1": {"type": "buy", "deal_price": "x"}}'],
)
def test_malformed_history_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        mt5_deals.history(TerminalHistory(), raw)


def test_deal_without_volume_executed_nothing() -> None:
    def raw(lots: str) -> bytes:
        fields = (
            f'"magic": 5, "symbol": "EURUSD", "lots": {lots}, "type": "buy", "entry": "entry_in", '
            '"deal_time": "2026.11.20 17:57:12", "deal_price": 1.1, "commission": 0.00, '
            '"swap": 0.00, "comment": ""'
        )
        return f'{{"1": {{{fields}}}}}'.encode()

    assert [one.lots for one in mt5_deals.history(TerminalHistory(), raw("0.01"))] == [D("0.01")]
    assert mt5_deals.history(TerminalHistory(), raw("0.00")) == ()


ACCOUNT = {
    "name": "Z", "number": 4711, "currency": "USD", "leverage": 100, "free_margin": 1.5,
    "balance": 2.0, "equity": 3.0,
}  # fmt: skip

LINE = {
    "magic": 5, "symbol": "EURUSD", "lots": 0.1, "type": "buy", "open_price": 1.1, "SL": 0.0,
    "open_time": "2026.11.20 17:57:12", "TP": 0.0, "pnl": 0.0, "swap": 0.0, "comment": "",
}  # fmt: skip


def test_open_tickets_are_parsed() -> None:
    lines = [
        {"5": LINE}, {"5": {**LINE, "type": "buylimit"}}, {"6": {**LINE, "open_price": 0.0}},
        {"7": {**LINE, "type": "unknown"}},
    ]  # fmt: skip
    text = ", ".join(json.dumps(one)[1:-1] for one in lines)
    raw = f'{{"account_info": {json.dumps(ACCOUNT)}, "orders": {{{text}}}}}'.encode()
    snapshot = mt5_deals.snapshot(raw)
    assert [(one.number, one.is_position) for one in snapshot.tickets] == [(5, True), (5, False)]
    assert snapshot.account.number == "4711"
    for malformed in (b"{}", b'{"account_info": {}}', raw.replace(b'"swap"', b'"commission"')):
        with pytest.raises(MalformedError):
            mt5_deals.snapshot(malformed)
