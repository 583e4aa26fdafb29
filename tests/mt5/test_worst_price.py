"""The worst price of a market entry, by how the symbol is executed (SYMBOL_TRADE_EXEMODE)."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import OrderReport, ReportKind, Side, TimeInForce
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import order, outcome, submit

REQUEST, INSTANT, MARKET, EXCHANGE = 0, 1, 2, 3
FOK, IOC = 1, 2
DEAL, PENDING = 1, 5
NOW = {"bid": 1.10000, "ask": 1.10010}
WORST = D("1.10025")
BEYOND = {"name": "EURUSD", "bid": 1.10020, "ask": 1.10030}


def executed(venue: FakeTerminal, mode: int, filling: int = IOC, **values: Any) -> None:
    settings = {"filling_mode": filling, "trade_stops_level": 0, **values}
    venue.configure_symbol("EURUSD", trade_exemode=mode, **settings)


def prices(reports: list[OrderReport]) -> list[D]:
    return [fill.price for report in reports for fill in report.fills]


@pytest.mark.parametrize("mode", [REQUEST, INSTANT])
def test_the_server_refuses_beyond_the_deviation(
    venue: FakeTerminal, adapter: Mt5Adapter, mode: int
) -> None:
    executed(venue, mode)
    submit(adapter, order(worst_price=D("1.100257")))
    sent = venue.state()["accepted"][0]
    assert (sent["action"], sent["deviation"]) == (DEAL, 15)
    venue.quote("EURUSD", **NOW)
    venue.configure(gap=BEYOND)
    error = outcome(adapter, order("fcxother0000000000", worst_price=WORST))
    assert (type(error), error.code) == (Rejected, Code.REQUOTE)
    assert len(venue.state()["deals"]) == 1


@pytest.mark.parametrize("filling", [IOC, FOK, IOC | FOK])
def test_an_exchanges_symbol_takes_a_limit_order_at_the_worst_price(
    venue: FakeTerminal, adapter: Mt5Adapter, filling: int
) -> None:
    executed(venue, EXCHANGE, filling)
    venue.configure(gap={"name": "EURUSD", "bid": 1.10010, "ask": 1.10020})
    assert prices(submit(adapter, order(worst_price=WORST))) == [D("1.1002")]
    sent = venue.state()["accepted"][0]
    assert (sent["action"], sent["type"], sent["price"]) == (PENDING, 2, 1.10025)
    assert sent["type_filling"] == (0 if filling == FOK else 1)
    venue.configure(gap=BEYOND)
    reports = submit(adapter, order("fcxother0000000000", worst_price=WORST))
    assert (reports[-1].kind, reports[-1].code) == (
        ReportKind.CANCELLED,
        Code.NO_PRICE_WITHIN_LIMIT,
    )
    assert prices(reports) == []
    assert venue.state()["orders"] == []


def test_a_sale_is_bounded_from_below(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    executed(venue, EXCHANGE)
    venue.configure(gap={"name": "EURUSD", "bid": 1.09970, "ask": 1.09980})
    reports = submit(adapter, order(side=Side.SELL, worst_price=D("1.0998")))
    assert (reports[-1].kind, prices(reports)) == (ReportKind.CANCELLED, [])
    assert venue.state()["accepted"][0]["type"] == 3


@pytest.mark.parametrize(
    ("mode", "values"),
    [(MARKET, {}), (EXCHANGE, {"filling": 0}), (EXCHANGE, {"expiration_mode": 2})],
    ids=["market execution", "no filling at once", "no lasting limit orders"],
)
def test_elsewhere_the_price_is_checked_right_before_sending(
    venue: FakeTerminal, adapter: Mt5Adapter, mode: int, values: dict[str, Any]
) -> None:
    """What nothing bounds is filled at the price that the server has: it is known to be so."""
    executed(venue, mode, **{"filling": FOK, **values})
    venue.quote("EURUSD", bid=1.10020, ask=1.10030)
    lasts: dict[str, Any] = {"time_in_force": TimeInForce.GTC, "worst_price": WORST}
    error = outcome(adapter, order(**lasts))
    assert (type(error), error.code) == (Rejected, Code.SLIPPAGE_LIMIT)
    assert venue.accepted() == []
    venue.quote("EURUSD", **NOW)
    venue.configure(gap=BEYOND)
    reports = submit(adapter, order("fcxother0000000000", **lasts))
    assert prices(reports) == [D("1.1003")]
    assert venue.state()["accepted"][0]["action"] == DEAL


BUY_LEVELS: dict[str, Any] = {
    "side": Side.BUY,
    "stop_loss": D("1.0950"),
    "take_profit": D("1.1020"),
}
SELL_LEVELS: dict[str, Any] = {
    "side": Side.SELL,
    "stop_loss": D("1.1050"),
    "take_profit": D("1.0980"),
}


@pytest.mark.parametrize(
    ("levels", "worst", "least", "limit"),
    [
        (BUY_LEVELS, "1.1030", 0, 1.10199),
        (BUY_LEVELS, "1.1030", 20, 1.1018),
        (BUY_LEVELS, "1.1019", 10, 1.1019),
        (SELL_LEVELS, "1.0970", 0, 1.09801),
        (SELL_LEVELS, "1.0970", 20, 1.0982),
    ],
    ids=["buy", "buy, stops level", "buy, worst price is nearer", "sell", "sell, stops level"],
)
def test_target_before_the_worst_price_bounds_the_entry(
    venue: FakeTerminal,
    adapter: Mt5Adapter,
    levels: dict[str, Any],
    worst: str,
    least: int,
    limit: float,
) -> None:
    """The server judges levels by the limit price; both are held from the fill on."""
    executed(venue, EXCHANGE, trade_stops_level=least)
    reports = submit(adapter, order(worst_price=D(worst), **levels))
    is_buy = levels["side"] is Side.BUY
    assert prices(reports) == [D("1.1001") if is_buy else D("1.1000")]
    sent = venue.state()["accepted"][0]
    assert (sent["action"], sent["price"]) == (PENDING, limit)
    accepted = reports[-1]
    assert (accepted.stop_loss, accepted.take_profit) == (
        levels["stop_loss"],
        levels["take_profit"],
    )


def test_entry_beyond_its_target_is_not_filled(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    executed(venue, EXCHANGE)
    venue.configure(gap={"name": "EURUSD", "bid": 1.10240, "ask": 1.10250})
    reports = submit(adapter, order(worst_price=D("1.1030"), **BUY_LEVELS))
    assert (reports[-1].kind, prices(reports)) == (ReportKind.CANCELLED, [])


def test_target_too_near_to_the_price_is_refused_as_such(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    executed(venue, EXCHANGE, trade_stops_level=30)
    near = {**BUY_LEVELS, "take_profit": D("1.1003")}
    error = outcome(adapter, order(worst_price=D("1.1030"), **near))
    assert (type(error), error.code) == (Rejected, Code.STOPS_INVALID)
    assert venue.state()["orders"] == venue.state()["deals"] == []
