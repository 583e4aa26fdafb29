"""Filling types: the data of a symbol are not always what its server accepts (10030)."""

from typing import Any

import pytest

from brokers.mt5.adapter import Mt5Adapter, create
from brokers.types import ReportKind, Side, TimeInForce
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import EXIT, LIMIT, D, bought, order, outcome, run, submit

FOK, IOC, RETURN = 0, 1, 2


def tried(venue: FakeTerminal) -> list[int]:
    """The filling types that were sent, in their order."""
    return [sent["type_filling"] for sent in venue.state()["sent"]]


@pytest.mark.parametrize("accepted", [FOK, IOC])
def test_other_filling_is_sent_when_the_server_refuses_one(
    venue: FakeTerminal, adapter: Mt5Adapter, accepted: int
) -> None:
    venue.configure(accepted_fillings=[accepted])
    number = bought(adapter)
    closing = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number)
    assert submit(adapter, closing)[0].kind is ReportKind.FILLED
    assert len(venue.accepted()) == 2
    assert tried(venue).count(accepted) == 2


def test_accepted_filling_is_remembered_for_the_symbol(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.configure(accepted_fillings=[FOK])
    number = bought(adapter)
    before = len(tried(venue))
    closing = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number)
    submit(adapter, closing)
    assert tried(venue)[before:] == [FOK]


def test_instant_execution_tries_what_the_server_takes(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.configure(accepted_fillings=[IOC])
    report = submit(adapter, order(symbol="USDJPY", quantity=D(1_000)))[0]
    assert report.kind is ReportKind.FILLED


def test_fill_or_kill_is_never_sent_otherwise(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure(accepted_fillings=[IOC, RETURN])
    refused = outcome(adapter, order(time_in_force=TimeInForce.FOK))
    assert refused.code is Code.ORDER_TYPE_UNSUPPORTED
    assert venue.accepted() == []


def test_refusal_of_every_filling_has_the_servers_number(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.configure(accepted_fillings=[])
    refused = outcome(adapter, order())
    assert refused.code is Code.ORDER_TYPE_UNSUPPORTED
    assert refused.detail.startswith("10030")


def test_pending_order_tries_the_symbols_fillings(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure(accepted_fillings=[FOK])
    (report,) = submit(adapter, order(**LIMIT))
    assert report.kind is ReportKind.ACCEPTED


@pytest.mark.parametrize(("side", "price"), [(Side.SELL, "bid"), (Side.BUY, "ask")])
def test_exit_goes_with_the_one_price_that_it_needs(
    venue: FakeTerminal, adapter: Mt5Adapter, side: Side, price: str
) -> None:
    """A thin market has one side: a sale needs a bid, a purchase an ask."""
    number = bought(adapter, side=side.opposite)
    one_sided: dict[str, Any] = {"bid": 0.0, "ask": 0.0, price: 1.1}
    venue.configure_symbol("EURUSD", **one_sided)
    closing = order(EXIT, side=side, reduce_only=True, broker_position_id=number)
    assert submit(adapter, closing)[0].kind is ReportKind.FILLED

    waits = outcome(adapter, order("fcxother0000000000", side=side.opposite))
    assert waits.code is Code.MARKET_CLOSED
    assert "no " in waits.detail


@pytest.mark.parametrize(("mode", "accepted"), [(2, IOC), (2, FOK), (3, RETURN), (3, IOC)])
@pytest.mark.parametrize("is_exit", [True, False])
def test_symbol_that_states_no_filling_is_tried_with_each(
    venue: FakeTerminal, adapter: Mt5Adapter, mode: int, accepted: int, is_exit: bool
) -> None:
    """The server decides; what the symbol's data lack refuses neither an exit nor an entry."""
    number = bought(adapter) if is_exit else ""
    run(adapter.disconnect())
    adapter = create()  # which has not read the symbol yet
    venue.configure_symbol("EURUSD", filling_mode=0, trade_exemode=mode)
    venue.configure(accepted_fillings=[accepted])
    closing = {"side": Side.SELL, "reduce_only": True, "broker_position_id": number}
    request = order(EXIT, time_in_force=TimeInForce.GTC, **(closing if is_exit else {}))
    try:
        assert submit(adapter, request)[0].kind is ReportKind.FILLED
    finally:
        run(adapter.disconnect())
