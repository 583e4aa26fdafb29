"""Orders that the broker rejects, and its record of them."""

import re
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.types import OrderType, ReportKind, Side, TimeInForce
from common.reason_codes import Code
from tests.paper.conftest import NOON, Trader


def assert_rejected(
    trader: Trader, code: Code, side: Side, quantity: str, **kwargs: Any
) -> Rejected:
    """The broker rejects the order, journals that, and reports it in a look-up."""
    request = trader.request(side, quantity, **kwargs)
    with pytest.raises(Rejected) as caught:
        trader.submit(request)
    assert caught.value.code is code
    [row] = [row for row in trader.journal() if row.client_order_id == request.client_order_id]
    assert (row.status, row.reason, row.accepted_at) == ("REJECTED", code, None)
    [looked_up] = trader.find(request.client_order_id) or []
    assert (looked_up.kind, looked_up.code, looked_up.fills) == (ReportKind.REJECTED, code, ())
    return caught.value


@pytest.mark.parametrize("quantity", ["999", "1500", "51000000"])
def test_quantity_outside_the_steps_is_rejected(trader: Trader, quantity: str) -> None:
    assert_rejected(trader, Code.VOLUME_INVALID, Side.BUY, quantity)


@pytest.mark.parametrize("quantity", ["0", "-1000", "NaN", "Infinity", "1E+30"])
def test_invalid_quantity_is_rejected_without_a_journal_row(trader: Trader, quantity: str) -> None:
    with pytest.raises(Rejected) as caught:
        trader.buy(quantity)
    assert caught.value.code is Code.VOLUME_INVALID
    assert trader.journal() == []


def test_smallest_and_largest_quantity_are_accepted(trader: Trader) -> None:
    trader.set(balance=D(10_000_000))
    assert trader.buy("1000")[0].fills[0].quantity == 1000
    assert trader.buy("50000000")[0].fills[0].quantity == 50_000_000


def test_unlisted_symbol_is_rejected(trader: Trader) -> None:
    assert_rejected(trader, Code.UNKNOWN_SYMBOL_AT_BROKER, Side.BUY, "1000", symbol="EURUSD.m")


def test_market_is_closed_without_a_fresh_price(trader: Trader) -> None:
    unquoted = assert_rejected(trader, Code.MARKET_CLOSED, Side.BUY, "1000", symbol="GBPUSD")
    assert unquoted.detail == "no price yet"
    trader.wait_until(trader.now + timedelta(seconds=600))
    assert trader.buy("1000")[0].kind is ReportKind.FILLED
    trader.wait_until(trader.now + timedelta(seconds=1))
    late = assert_rejected(trader, Code.MARKET_CLOSED, Side.BUY, "1000")
    assert re.fullmatch(r"last price 2014-\d\d-\d\d \d\d:\d\d:\d\d UTC", late.detail)
    trader.wait_until(NOON - timedelta(seconds=120))  # a price from the future of a replay
    assert_rejected(trader, Code.MARKET_CLOSED, Side.BUY, "1000")


def test_trading_may_be_disabled(trader: Trader) -> None:
    trader.set(trading_allowed=False)
    assert_rejected(trader, Code.TRADING_DISABLED, Side.BUY, "1000")
    assert not trader.state().trading_allowed


def test_limit_or_stop_order_without_price_is_rejected(trader: Trader) -> None:
    assert_rejected(trader, Code.PRICE_INVALID, Side.BUY, "1000", order_type=OrderType.LIMIT)
    assert_rejected(trader, Code.PRICE_INVALID, Side.BUY, "1000", order_type=OrderType.STOP)
    stop_limit = {"order_type": OrderType.STOP_LIMIT}
    assert_rejected(trader, Code.PRICE_INVALID, Side.BUY, "1000", stop_price="1.2", **stop_limit)
    assert_rejected(trader, Code.PRICE_INVALID, Side.BUY, "1000", limit_price="1.2", **stop_limit)


def test_good_till_date_order_without_a_future_expiry_is_rejected(trader: Trader) -> None:
    gtd: dict[str, Any] = {"time_in_force": TimeInForce.GTD}
    later = trader.now + timedelta(hours=1)
    code = Code.ORDER_TYPE_UNSUPPORTED
    assert_rejected(trader, code, Side.BUY, "1000", limit_price="1.05", **gtd)
    assert_rejected(trader, code, Side.BUY, "1000", limit_price="1.05", expires_at=NOON, **gtd)
    assert_rejected(trader, code, Side.BUY, "1000", expires_at=later, **gtd)  # at market


def test_levels_of_a_stop_limit_order_are_measured_from_its_limit(trader: Trader) -> None:
    prices = {"stop_price": "1.12000", "limit_price": "1.11000"}
    [report] = trader.buy("1000", **prices, stop_loss="1.10900", take_profit="1.11100")
    assert report.kind is ReportKind.ACCEPTED
    assert_rejected(trader, Code.STOPS_INVALID, Side.BUY, "1000", **prices, stop_loss="1.115")


@pytest.mark.parametrize(
    ("side", "stop", "target"),
    [
        (Side.BUY, "1.10000", None),  # at the bid, where it would be closed
        (Side.BUY, None, "1.10000"),
        (Side.BUY, "1.09996", None),  # 4 points away, the minimum is 5
        (Side.BUY, None, "1.10004"),
        (Side.SELL, "1.10002", None),
        (Side.SELL, "1.10006", None),
        (Side.SELL, None, "1.09998"),
        (Side.BUY, "1.11000", "1.12000"),
    ],
)
def test_levels_too_near_or_on_the_wrong_side_are_rejected(
    trader: Trader, side: Side, stop: str | None, target: str | None
) -> None:
    trader.set_instrument("EURUSD", stops_level=D("0.00005"))
    assert_rejected(trader, Code.STOPS_INVALID, side, "1000", stop_loss=stop, take_profit=target)


def test_levels_at_minimum_distance_are_accepted(trader: Trader) -> None:
    trader.set_instrument("EURUSD", stops_level=D("0.00005"))
    [report] = trader.buy("1000", stop_loss="1.09995", take_profit="1.10005")
    assert (report.stop_loss, report.take_profit) == (D("1.09995"), D("1.10005"))


def test_levels_of_working_order_are_measured_from_its_price(trader: Trader) -> None:
    [report] = trader.buy("1000", limit_price="1.05000", stop_loss="1.04000")
    assert report.kind is ReportKind.ACCEPTED
    assert_rejected(
        trader, Code.STOPS_INVALID, Side.BUY, "1000", limit_price="1.05", stop_loss="1.06"
    )


def test_account_without_native_stops_rejects_levels(trader: Trader) -> None:
    trader.set(native_stops=False)
    assert_rejected(trader, Code.STOPS_INVALID, Side.BUY, "1000", stop_loss="1.09000")
    assert trader.buy("1000")[0].kind is ReportKind.FILLED


def test_margin_is_required_and_used(trader: Trader) -> None:
    """10,000 USD at 1:30 carry 272,000 EUR at the mid of 1.10001 (9,973 USD), not 273,000."""
    assert_rejected(trader, Code.NO_MONEY, Side.BUY, "273000")
    assert trader.buy("272000")[0].kind is ReportKind.FILLED
    state = trader.state()
    assert state.margin_used == D("9973.42")
    assert state.equity == D("9994.56")  # the spread of 2 points
    assert state.free_margin == state.equity - state.margin_used
    assert_rejected(trader, Code.NO_MONEY, Side.BUY, "1000")
    assert trader.sell("1000")[0].kind is ReportKind.FILLED  # hedged: the larger side counts


def test_working_order_is_rejected_when_margin_is_missing_at_its_price(trader: Trader) -> None:
    [resting] = trader.buy("200000", limit_price="1.09000")
    trader.buy("200000")
    assert trader.price("1.08900") == 1
    [report] = trader.new_events()
    assert (report.kind, report.code) == (ReportKind.REJECTED, Code.NO_MONEY)
    assert report.client_order_id == resting.client_order_id


def test_unconvertible_symbol_is_rejected(trader: Trader) -> None:
    trader.account("CHF1", currency="SEK")
    with pytest.raises(Rejected) as caught:
        trader.buy("1000", "CHF1")
    assert caught.value.code is Code.REJECTED_BY_BROKER


def test_unknown_account_is_rejected(trader: Trader) -> None:
    with pytest.raises(Rejected) as caught:
        trader.buy("1000", "missing")
    assert caught.value.code is Code.UNKNOWN_ACCOUNT
