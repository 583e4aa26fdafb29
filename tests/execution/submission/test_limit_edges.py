"""Every limit of an entry, at its edge: the last value that is allowed, the first that is denied.

The two differ by the least that can be stored: 18 places of a number, a microsecond of a time, one
of what is counted. No I/O. Where the database counts, `test_flow_limits.py` and the cases of
`test_denial_figures.py` have the edges.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.types import OrderType
from common.reason_codes import Code
from connections.entry_limits import ENTRY_LIMITS
from execution.submission.outcomes import Decision, Deferred, Intent, Terminated
from execution.submission.risk import PortfolioExposure
from execution.submission.sizing import Denial
from tests.execution.submission.entry_inputs import NOW, decide, quote_row
from tests.execution.submission.test_denial_figures import AT_THE_EDGE

PAGE = Path(__file__).parents[3] / "docs" / "limits.md"
LEAST, MICROSECOND = D("1e-18"), timedelta(microseconds=1)
TICK = D("0.00001")
FRIDAY_EVENING = datetime(2026, 3, 6, 22, tzinfo=UTC)  # 17:00 in New York
SPAN = [int(NOW.timestamp()), int(NOW.timestamp()) + 3600]
HOURS = {"known": [[SPAN[0] - 9999, SPAN[1] + 9999]], "open": [SPAN]}
LIMIT, STOP = {"order_type": "LIMIT"}, {"order_type": "STOP"}
Case = dict[str, Any]


def preset(name: str, most: str, **fields: Any) -> tuple[str, Case, Case]:
    """Return an edge of a maximum of the preset or the subscription: at it, and just below it."""
    return (
        name,
        {**fields, "order": {**fields.get("order", {}), name: D(most)}},
        {**fields, "order": {**fields.get("order", {}), name: D(most) - LEAST}},
    )


def at(moment: datetime, **fields: Any) -> Case:
    """Decide at this market time about a signal of the same moment."""
    signal = {"published_at": moment, **fields.pop("signal", {})}
    return {"now": moment, "signal": signal, **fields}


SL = {"sl": D("1.09")}  # 100 lose 1 USD: 0.01 % of 10,000
EUR_GBP: Case = {"others": (quote_row("1.3", "1.3", symbol="GBP/USD"),)}
# Six slices of at least 20, so that each target has 10 of each.
HALVES = {
    "execution_style": "TWAP", "duration_seconds": 600, "slice_count": 6,
    "target_prices": [D("1.2"), D("1.3")], "target_fractions": [D("0.5"), D("0.5")],
}  # fmt: skip
# By code: what is limited, an entry that is allowed, and one that is denied.
EDGES: list[tuple[Code, str, Case, Case]] = [
    (Code.MAX_QUANTITY, *preset("max_quantity", "100")),
    (
        Code.MAX_OPEN_POSITIONS, "max_open_positions",
        {"order": {"max_open_positions": 2}, "exposure": {"positions": 1}},
        {"order": {"max_open_positions": 2}, "exposure": {"positions": 2}},
    ),
    (
        Code.MAX_OPEN_ORDERS, "max_open_orders",
        {"order": {"max_open_orders": 2}, "exposure": {"orders": 1}},
        {"order": {"max_open_orders": 2}, "exposure": {"orders": 2}},
    ),
    (Code.MAX_LEVERAGE, *preset("max_leverage", "0.021", exposure={"notional": D(100)})),
    (
        Code.SYMBOL_EXPOSURE,
        *preset("max_symbol_exposure_percent", "2.1",
                exposure={"notional_by_pair": {"EUR/USD": D(100), "GBP/USD": D(900)}}),
    ),
    (  # a margin of 110 / 20
        Code.MARGIN, *preset("free_margin", "7.5", order={"leverage": D(20)},
                             exposure={"margin_in_flight": D(2)}),
    ),
    (  # our own count of used margin: 9,000 / 20
        Code.MARGIN, *preset("equity", "455.5", order={"leverage": D(20)},
                             exposure={"notional": D(9000)}),
    ),
    (Code.MARGIN, *preset("free_margin", "330", margins={1: D("3.3")})),  # by its broker
    (Code.MARGIN, *preset("free_margin", "11", instrument={"margin_rate": D("0.1")})),
    (Code.TRADE_RISK, *preset("max_trade_risk_percent", "0.01", signal=SL)),
    (  # without a stop it risks its margin: 110 / 20
        Code.TRADE_RISK, *preset("max_trade_risk_percent", "0.055", order={"leverage": D(20)}),
    ),
    (
        Code.PORTFOLIO_RISK,
        *preset("max_portfolio_risk_percent", "0.05", signal=SL, exposure={"risk": D(4)}),
    ),
    (
        Code.SAME_TRADE, "same_trade_window_seconds",
        {"order": {"same_trade_window_seconds": 600}, "recent": {"same_trade_age": D(600)}},
        {"order": {"same_trade_window_seconds": 600},
         "recent": {"same_trade_age": D("599.999999")}},
    ),
    (
        Code.MAX_ORDERS_PER_MINUTE, "max_orders_per_minute",
        {"order": {"max_orders_per_minute": 2}, "recent": {"sent_in_minute": 1}},
        {"order": {"max_orders_per_minute": 2}, "recent": {"sent_in_minute": 2}},
    ),
    (  # the median is 40
        Code.SIZE_UNUSUAL,
        *preset("max_size_multiple", "2.5",
                recent={"last_quantities": [D(n) for n in (900, 40, 10, 50, 20)]}),
    ),
    (  # the median of an even number is 39.5
        Code.SIZE_UNUSUAL,
        *preset("max_size_multiple", "2.5",
                recent={"last_quantities": [D(n) for n in (1, 2, 39, 41, 50, 60)]}),
    ),
    (  # four entries have no usual size
        Code.SIZE_UNUSUAL, "how many there are",
        {"order": {"max_size_multiple": D(1)}, "recent": {"last_quantities": [D(10)] * 4}},
        {"order": {"max_size_multiple": D(1)}, "recent": {"last_quantities": [D(10)] * 5}},
    ),
    (Code.DAILY_NOTIONAL, *preset("max_daily_notional", "330", recent={"day_notional": D(220)})),
    (Code.DAILY_VOLUME, *preset("max_daily_volume", "300", recent={"day_volume": D(200)})),
    (
        Code.CURRENCY_EXPOSURE,
        *preset("max_currency_exposure_percent", "2.2", recent={"net_base": D(110)}),
    ),
    (  # what is sold of a quote currency: 100 at 0.85 GBP of 1.3 USD
        Code.CURRENCY_EXPOSURE,
        *preset("max_currency_exposure_percent", "1.205", order={"pair": "EUR/GBP"},
                quote=quote_row("0.85", "0.85", symbol="EUR/GBP"), **EUR_GBP,
                recent={"net_base": D(-500), "net_quote": D(-10)}),
    ),
    (
        Code.SIGNAL_NOTIONAL, "max_signal_notional",
        {"signal": {"max_signal_notional": D(110), "max_signal_currency": "USD"}},
        {"signal": {"max_signal_notional": D(110) - LEAST, "max_signal_currency": "USD"}},
    ),
    (Code.SPREAD_LIMIT, *preset("max_spread", "1")),
    (Code.SPREAD_LIMIT, *preset("own_max_spread", "1")),
    (Code.SPREAD_LIMIT, *preset("max_spread", "10", order={"max_spread_unit": "TICKS"})),
    (  # 0.0002 of 1.0 in the middle
        Code.SPREAD_LIMIT,
        *preset("max_spread", "2", order={"max_spread_unit": "BPS"},
                quote=quote_row("0.9999", "1.0001")),
    ),
    (
        Code.SPREAD_LIMIT,
        *preset("max_spread", "0.02", order={"max_spread_unit": "PERCENT"},
                quote=quote_row("0.9999", "1.0001")),
    ),
    (
        Code.SPREAD_LIMIT, "the quote",
        {"order": {"max_spread": D(1)}, "quote": quote_row("1.0999", "1.1")},
        {"order": {"max_spread": D(1)}, "quote": quote_row("1.0999", D("1.1") + LEAST)},
    ),
    (
        Code.PRICE_UNREASONABLE,
        *preset("max_price_deviation_percent", "1",
                order={**LIMIT, "limit_price": D("1.089")}),
    ),
    (
        Code.PRICE_UNREASONABLE,
        *preset("max_price_deviation_percent", "5", order={**STOP, "stop_price": D("1.155")}),
    ),
    (
        Code.SLIPPAGE_LIMIT,
        *preset("max_slippage_pips", "3", signal={"open_price": D("1.0997")}),
    ),
    (  # of the signal's price, not of the market's: 1000 basis points of 1 are 0.1
        Code.SLIPPAGE_LIMIT,
        *preset("max_slippage_pips", "1000", order={"slippage_unit": "BPS"},
                signal={"open_price": D(1)}),
    ),
    (
        Code.SLIPPAGE_LIMIT,
        *preset("max_slippage_pips", "10", order={"slippage_unit": "PERCENT"},
                signal={"open_price": D(1)}),
    ),
    (
        Code.SLIPPAGE_LIMIT,
        *preset("own_max_slippage", "3", signal={"open_price": D("1.1002")},
                order={"side": "SELL"}),
    ),
    (
        Code.STOP_TOO_NEAR, "stops_level",
        {"signal": SL, "instrument": {"stops_level": D("0.01")}},
        {"signal": SL, "instrument": {"stops_level": D("0.01") + LEAST}},
    ),
    (
        Code.QUANTITY_BELOW_MINIMUM, "quantity_min",
        {"instrument": {"quantity_min": D(100)}},
        {"instrument": {"quantity_min": D(100) + LEAST}},
    ),
    (
        Code.STOP_AT_ENTRY, "sl",
        {"signal": {"sl": D("1.1") - TICK}},
        {"signal": {"sl": D("1.1")}},
    ),
    (
        Code.TARGET_WRONG_SIDE, "target_prices",
        {"signal": {"target_prices": [D("1.1") + LEAST], "target_fractions": [D(1)]}},
        {"signal": {"target_prices": [D("1.1")], "target_fractions": [D(1)]}},
    ),
    (
        Code.PRICE_WRONG_SIDE, "limit_price",
        {"order": {**LIMIT, "limit_price": D("1.1") - TICK},
         "can": {"refuses_reached": {OrderType.LIMIT}}},
        {"order": {**LIMIT, "limit_price": D("1.1")},
         "can": {"refuses_reached": {OrderType.LIMIT}}},
    ),
    (
        Code.LIMIT_BEYOND_STOP, "limit_price",
        {"order": {"order_type": "STOP_LIMIT", "stop_price": D("1.2"),
                   "limit_price": D("1.2") - TICK}, "can": {"refuses_reached": {OrderType.LIMIT}}},
        {"order": {"order_type": "STOP_LIMIT", "stop_price": D("1.2"),
                   "limit_price": D("1.2")}, "can": {"refuses_reached": {OrderType.LIMIT}}},
    ),
    (
        Code.SLICE_PRICE_LIMIT, "price_limit",
        {"signal": {"price_limit": D("1.1")}}, {"signal": {"price_limit": D("1.1") - LEAST}},
    ),
    (
        Code.SLICES_TOO_FEW, "slice_count",
        {"order": {"fixed_quantity": D(60)}, "signal": HALVES},
        {"order": {"fixed_quantity": D(50)}, "signal": HALVES},
    ),
    (
        Code.ACTIVATION_REACHED, "activation_price",
        {"order": {"order_type": "TRAILING_STOP"},
         "signal": {"trail_distance": TICK, "activation_price": D("1.1") - LEAST}},
        {"order": {"order_type": "TRAILING_STOP"},
         "signal": {"trail_distance": TICK, "activation_price": D("1.1")}},
    ),
    (
        Code.DISTANCE_BELOW_TICK, "trail_distance",
        {"order": {"order_type": "TRAILING_STOP"}, "signal": {"trail_distance": TICK}},
        {"order": {"order_type": "TRAILING_STOP"}, "signal": {"trail_distance": TICK - LEAST}},
    ),
    (
        Code.TRAIL_TOO_WIDE, "trail_distance",
        {"order": {"order_type": "TRAILING_STOP"},
         "signal": {"trail_distance": D("1.1") - TICK}},
        {"order": {"order_type": "TRAILING_STOP"}, "signal": {"trail_distance": D("1.1")}},
    ),
    (
        Code.SYMBOL_NOT_ALLOWED, "allowed_symbols",
        {"order": {"allowed_symbols": ["EUR/USD"]}}, {"order": {"allowed_symbols": ["EUR/USDT"]}},
    ),
    (
        Code.SYMBOL_NOT_ALLOWED, "own_allowed_symbols",
        {"order": {"own_allowed_symbols": ["EUR/*"]}}, {"order": {"own_allowed_symbols": ["E/*"]}},
    ),
    (
        Code.OUTSIDE_SESSION, "its start",
        at(NOW, order={"trading_sessions": ["WED 12:00-13:00"]}),
        at(NOW - MICROSECOND, order={"trading_sessions": ["WED 12:00-13:00"]}),
    ),
    (
        Code.OUTSIDE_SESSION, "its end",
        at(NOW - MICROSECOND, order={"own_trading_sessions": ["WED 11:00-12:00"]}),
        at(NOW, order={"own_trading_sessions": ["WED 11:00-12:00"]}),
    ),
    (
        Code.OUTSIDE_MARKET_HOURS, "the week's end",
        at(FRIDAY_EVENING - MICROSECOND, order={"market_hours_only": True}),
        at(FRIDAY_EVENING, order={"market_hours_only": True}),
    ),
    (
        Code.OUTSIDE_MARKET_HOURS, "the opening",
        at(NOW, order={"market_hours_only": True}, instrument={"hours": HOURS}),
        at(NOW - MICROSECOND, order={"market_hours_only": True}, instrument={"hours": HOURS}),
    ),
    (
        Code.SIGNAL_TOO_OLD, "max_signal_age_seconds",  # in whole seconds
        {"signal": {"published_at": NOW - timedelta(seconds=601) + MICROSECOND}},
        {"signal": {"published_at": NOW - timedelta(seconds=601)}},
    ),
    (
        Code.SIGNAL_EXPIRED, "valid_until",
        {"signal": {"valid_until": NOW + MICROSECOND}}, {"signal": {"valid_until": NOW}},
    ),
    (
        Code.EXPIRY_TOO_NEAR, "shortest_gtd",
        {"order": {**LIMIT, "limit_price": D(1), "time_in_force": "GTD"},
         "signal": {"valid_until": NOW + timedelta(seconds=60)},
         "can": {"shortest_gtd": timedelta(seconds=60)}},
        {"order": {**LIMIT, "limit_price": D(1), "time_in_force": "GTD"},
         "signal": {"valid_until": NOW + timedelta(seconds=60) - MICROSECOND},
         "can": {"shortest_gtd": timedelta(seconds=60)}},
    ),
    (
        Code.ACCOUNT_DATA_STALE, "account_age",
        {"order": {"account_age": 900}}, {"order": {"account_age": 901}},
    ),
    (
        Code.QUOTE_STALE, "the quote's age",
        {"quote": quote_row(age=60)}, {"quote": quote_row(age=61)},
    ),
    (
        Code.CONVERSION_RATE_STALE, "the rate's age",
        {"order": {"currency": "CHF"}, "others": (quote_row(symbol="USD/CHF", age=60),)},
        {"order": {"currency": "CHF"}, "others": (quote_row(symbol="USD/CHF", age=61),)},
    ),
]  # fmt: skip
IDS = [f"{code} {name}" for code, name, *_ in EDGES]


def outcome(case: Case) -> tuple[Decision, Code | None]:
    """Decide a case, and return what was decided and its code; None: it is sent."""
    held = case.get("exposure", {})
    found = decide(**{**case, "exposure": PortfolioExposure(**held)})
    match found:
        case Intent():
            return found, None
        case Denial():
            return found, found.code
        case Terminated():
            return found, found.denial.code
        case Deferred():
            return found, None if found.trigger else found.code


@pytest.mark.parametrize(("code", "name", "allowed", "denied"), EDGES, ids=IDS)
def test_last_allowed_and_first_denied_value_of_a_limit(
    code: Code, name: str, allowed: Case, denied: Case
) -> None:
    assert outcome(allowed)[1] is None
    found, reason = outcome(denied)
    assert reason == code
    if isinstance(found, Denial) and found.value is not None and found.maximum is not None:
        if code in TOO_SMALL:  # what is denied never reads as if it were allowed
            assert found.value < found.maximum
        elif code in AS_LARGE:
            assert found.value == found.maximum
        else:
            assert found.value > found.maximum


TOO_SMALL = {
    Code.SAME_TRADE, Code.STOP_TOO_NEAR, Code.QUANTITY_BELOW_MINIMUM, Code.EXPIRY_TOO_NEAR,
    Code.SLICES_TOO_FEW, Code.DISTANCE_BELOW_TICK,
}  # fmt: skip
AS_LARGE = {
    Code.MAX_OPEN_POSITIONS, Code.MAX_OPEN_ORDERS, Code.MAX_ORDERS_PER_MINUTE, Code.STOP_AT_ENTRY,
    Code.TARGET_WRONG_SIDE, Code.PRICE_WRONG_SIDE, Code.LIMIT_BEYOND_STOP, Code.ACTIVATION_REACHED,
    Code.TRAIL_TOO_WIDE,
}  # fmt: skip


def test_every_documented_limit_has_its_edges() -> None:
    docs = PAGE.parent
    known = {code.value for code in Code}
    found = set()
    for page in ("limits.md", "sizing.md"):
        lines = (docs / page).read_text().splitlines()
        cells = [cell.strip(" `") for line in lines for cell in line.split("|")[1:3]]
        found |= known.intersection(cells)
    text = (docs / "sizing.md").read_text().partition("## 4.")[2].partition("## 5.")[0]
    found |= known.intersection(re.findall(r"`([A-Z_]+)`", text))
    assert found >= {"MAX_LEVERAGE", "CURRENCY_EXPOSURE", "SLIPPAGE_LIMIT"}
    without_a_value = {"NETTING_OPPOSITE", "SLIPPAGE_NOT_KEPT"}
    assert found - without_a_value <= {code.value for code, *_ in EDGES} | {*AT_THE_EDGE}


def test_table_of_the_documents_has_each_limit_and_its_code() -> None:
    rows = re.findall(r"^\| (`.*) \| `([A-Z_]+)` \|", PAGE.read_text(), re.MULTILINE)
    found = {(name, code) for cell, code in rows for name in re.findall(r"`(\w+)`", cell)}
    known = {(name, limit.code) for name, limit in ENTRY_LIMITS.items() if limit.code}
    elsewhere = {  # docs/sizing.md
        "max_trade_risk_percent", "max_quantity", "max_slippage_pips", "max_open_positions",
        "max_leverage", "max_portfolio_risk_percent",
    }  # fmt: skip
    assert {one for one in known if one[0] not in elsewhere} <= found
