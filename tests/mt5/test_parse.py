"""Orders, positions and deals of the terminal in our words, by themselves."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.mt5 import parse
from brokers.mt5.lots import Lots
from brokers.mt5.order_ids import OrderIds, magic_of
from brokers.mt5.reader import Reader
from brokers.types import CloseCause, ReportKind, Side
from common.reason_codes import Code
from tests.fakes.mt5.symbols import symbol
from tests.mt5.factories import CID, EXIT, D

K = ReportKind


def lots(**changes: Any) -> Lots:
    return Lots(SimpleNamespace(**symbol("EURUSD", 1.1, 1.1001, **changes)))


def read() -> Reader:
    return Reader(
        connection_id="c",
        lots=lambda _: lots(),
        utc=lambda seconds: datetime.fromtimestamp(seconds, UTC),
        order_ids=OrderIds(),
        currency="USD",
    )


def row(**changes: Any) -> SimpleNamespace:
    words: dict[str, Any] = {
        "ticket": 5, "type": 0, "state": 4, "magic": magic_of(CID), "comment": CID, "reason": 3,
        "position_id": 5, "volume_initial": 0.1, "volume_current": 0.0, "symbol": "EURUSD",
        "price_open": 1.1, "price_stoplimit": 0.0, "sl": 0.0, "tp": 0.0, "time_setup_msc": 0,
        "type_filling": 1,
    }  # fmt: skip
    return SimpleNamespace(**{**words, **changes})


def deal(**changes: Any) -> SimpleNamespace:
    words: dict[str, Any] = {
        "ticket": 9, "order": 5, "time_msc": 1000, "type": 0, "entry": 0, "magic": magic_of(CID),
        "position_id": 5, "reason": 3, "volume": 0.1, "price": 1.1, "commission": -0.3,
        "fee": -0.1, "swap": -1.7, "symbol": "EURUSD", "comment": CID,
    }  # fmt: skip
    return SimpleNamespace(**{**words, **changes})


@pytest.mark.parametrize(
    ("state", "left", "deals", "kinds"),
    [
        (4, 0.0, [deal()], [K.FILLED]),
        (4, 0.0, [], [K.ACCEPTED]),  # its deal is late
        (4, 0.0, [deal(volume=0.04)], [K.FILLED]),  # one of its deals is late
        (2, 0.1, [], [K.ACCEPTED, K.CANCELLED]),
        (2, 0.06, [deal(volume=0.04)], [K.FILLED, K.CANCELLED]),
        (3, 0.06, [deal(volume=0.04)], [K.FILLED, K.CANCELLED]),
        (2, 0.06, [], [K.ACCEPTED]),  # cancelled; its deals are not reported yet
        (6, 0.1, [], [K.ACCEPTED, K.EXPIRED]),
        (5, 0.1, [], [K.REJECTED]),
        (5, 0.06, [deal(volume=0.04)], [K.FILLED, K.REJECTED]),
        (4, 0.06, [deal(volume=0.04)], [K.FILLED, K.CANCELLED]),  # filled, and not completely
        (4, 0.04, [deal(volume=0.04)], [K.FILLED]),  # and one of its deals is late
        (4, 0.04, [], [K.ACCEPTED]),  # all of them are
        (4, 0.1, [], [K.ACCEPTED]),  # its volume is late, too
        (4, 0.1, [deal(volume=0.04)], [K.FILLED]),
        (4, 0.04, [deal()], [K.FILLED]),  # its volume is late, its deals are whole
        (4, 0.0, [deal(volume=0.0)], [K.ACCEPTED]),  # a correction, before its deal
        (4, 0.0, [deal(type=2), deal()], [K.FILLED]),  # a deal that is money and no trade
    ],
)
def test_ended_order(state: int, left: float, deals: list[Any], kinds: list[K]) -> None:
    ended = row(state=state, volume_current=left)
    reports = parse.order_reports(read(), CID, ended, deals, is_open=False)
    assert [report.kind for report in reports] == kinds
    assert {report.broker_position_id for report in reports} == {"5"}
    assert all(report.fills for report in reports if report.kind is K.FILLED)


def test_deal_of_the_server_is_no_fill_of_the_order_that_it_names() -> None:
    reopened = [deal(), deal(ticket=10, entry=1, type=1, reason=7), deal(ticket=11, reason=7)]
    (report,) = parse.order_reports(read(), CID, row(), reopened, is_open=False)
    assert [fill.broker_fill_id for fill in report.fills] == ["9"]


def test_working_order_that_is_partly_filled() -> None:
    waits = row(state=3, volume_current=0.06, position_id=0)
    reports = parse.order_reports(read(), CID, waits, [deal(volume=0.04)], is_open=True)
    assert [report.kind for report in reports] == [K.ACCEPTED, K.FILLED]
    reports = parse.order_reports(read(), CID, row(state=1, position_id=0), [], is_open=True)
    assert [(report.kind, report.broker_position_id) for report in reports] == [(K.ACCEPTED, "")]


@pytest.mark.parametrize("state", [2, 3, 4])
def test_rest_of_a_limit_order_that_fills_at_once_found_no_price(state: int) -> None:
    ended = row(type=2, state=state, volume_current=0.06)
    reports = parse.order_reports(read(), CID, ended, [deal(volume=0.04)], is_open=False)
    assert [(one.kind, one.code) for one in reports] == [
        (K.FILLED, None), (K.CANCELLED, Code.NO_PRICE_WITHIN_LIMIT),
    ]  # fmt: skip


def test_commission_is_a_cost_above_zero() -> None:
    report = parse.execution(read(), deal())
    assert (report.commission, report.broker_fill_id) == (D("0.4"), "9")
    assert report.time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "limit", "stop"),
    [(2, "1.1", None), (4, None, "1.1"), (6, "1.09", "1.1"), (0, None, None)],
)
def test_prices_of_resting_orders(kind: int, limit: str | None, stop: str | None) -> None:
    second = 1.09 if kind == 6 else 0.0
    found = parse.working_order(read(), row(type=kind, price_stoplimit=second, volume_current=0.06))
    assert found is not None
    assert found.limit_price == (D(limit) if limit else None)
    assert found.stop_price == (D(stop) if stop else None)
    assert (found.side, found.filled, found.broker_position_id) == (Side.BUY, D(4_000), "5")


def test_close_by_is_not_an_order() -> None:
    assert parse.working_order(read(), row(type=8)) is None


@pytest.mark.parametrize(
    ("changes", "is_it"),
    [
        ({}, True),
        ({"comment": "rewritten"}, True),
        ({"magic": 0}, True),
        ({"magic": 0, "comment": "rewritten"}, False),
        ({"magic": 4711}, False),
        ({"magic": magic_of(EXIT)}, False),
        *(({"reason": reason}, False) for reason in (0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11)),
    ],
)
def test_whose_order(changes: dict[str, Any], is_it: bool) -> None:
    assert parse.is_order_of(row(**changes), CID, magic_of(CID)) is is_it


def deal_outcomes(*deals: Any, entry: str = "") -> list[tuple[str, CloseCause | None, str]]:
    reports = parse.deal_reports(read(), deals, lambda _: entry)
    return [
        (report.client_order_id, report.close_cause, report.broker_order_id) for report in reports
    ]


def test_deals_of_one_order_are_one_report() -> None:
    nothing = [deal(type=2), deal(ticket=11, volume=0.0), deal(ticket=12, order=6, volume=0.0)]
    reports = parse.deal_reports(read(), [deal(), deal(ticket=10), *nothing], lambda _: "")
    assert [[fill.broker_fill_id for fill in report.fills] for report in reports] == [["9", "10"]]


def test_deals_of_others() -> None:
    out = {"entry": 1, "order": 6}
    assert deal_outcomes(deal(magic=0, comment="", reason=0)) == []  # they opened something
    assert deal_outcomes(deal(**out, reason=4), entry=CID) == [(CID, CloseCause.STOP_LOSS, "6")]
    assert deal_outcomes(deal(**out, reason=5), entry="") == [("", CloseCause.TAKE_PROFIT, "6")]
    assert deal_outcomes(deal(**out, magic=0, comment="", reason=1)) == [
        ("", CloseCause.EXTERNAL, "6")
    ]
    assert deal_outcomes(deal(entry=3, order=0, magic=0, reason=0)) == [
        ("", CloseCause.EXTERNAL, "")
    ]


def test_our_deal_without_an_id_is_not_attributed() -> None:
    assert deal_outcomes(deal(comment="cut", entry=1)) == []
    assert deal_outcomes(deal(comment="cut")) == []


def test_exit_of_ours_is_ours() -> None:
    exit_ = deal(entry=1, order=6, magic=magic_of(EXIT), comment=EXIT)
    assert deal_outcomes(exit_, entry=CID) == [(EXIT, None, "6")]
    bare = deal(entry=1, order=6, magic=0, comment=EXIT)
    assert deal_outcomes(bare, entry=CID) == [(EXIT, None, "6")]


def test_entry_of_a_position() -> None:
    opened, closed = deal(), deal(entry=1, magic=magic_of(EXIT), comment=EXIT)
    assert parse.entry_client_order_id(OrderIds(), [closed, opened]) == CID
    assert parse.entry_client_order_id(OrderIds(), [deal(reason=0, magic=0, comment="")]) == ""
    assert parse.entry_client_order_id(OrderIds(), [closed]) == ""
    assert parse.entry_client_order_id(OrderIds(), [deal(reason=7)]) == ""  # opened again
