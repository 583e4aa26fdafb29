"""What a denial by a limit states: value, bound, their name and unit, detail. No I/O."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType, TimeInForce
from common.clocks import market_now
from common.figure_names import BASE_UNIT, Limit
from common.reason_codes import Code
from execution.submission import flow_limits, triggers
from execution.submission.outcomes import Atr, Intent, MovedTrail, Trigger
from execution.submission.recent import NOTHING_SENT, BundleFlow, NewEntry
from execution.submission.sizing import Denial
from tests.execution.submission.entry_inputs import (
    NOW,
    capabilities,
    decide,
    instrument_row,
    order_row,
    quote_row,
    signal_row,
)
from tests.execution.submission.test_limit_edges import HOURS, at

TRAILING: dict[str, Any] = {"order_type": "TRAILING_STOP"}
NEVER_AGAIN = {"known": HOURS["known"], "open": []}
OF_EUR = Limit("Exposure to EUR", "% of equity")
NO_COST: dict[str, Any] = {"margins": {1: D(0)}}


@pytest.mark.parametrize(
    ("case", "denial"),
    [
        (
            {"order": {"trading_sessions": ["MON 08:00-09:00", "FRI 08:00-09:00"],
                       "trading_day_zone": "Europe/Berlin"}},
            Denial(Code.OUTSIDE_SESSION,
                   detail="Wed 13:00 Europe/Berlin, not in MON 08:00-09:00, FRI 08:00-09:00",
                   text_value="Wed 13:00 Europe/Berlin",
                   allowed="MON 08:00-09:00, FRI 08:00-09:00"),
        ),
        (
            {"now": datetime(2026, 3, 7, 12, tzinfo=UTC), "order": {"market_hours_only": True},
             "signal": {"published_at": datetime(2026, 3, 7, 12, tzinfo=UTC)}},
            Denial(Code.OUTSIDE_MARKET_HOURS, detail="EUR/USD",
                   text_value="Sat 2026-03-07 12:00 UTC"),
        ),
        (
            {"order": {"market_hours_only": True}, "instrument": {"hours": NEVER_AGAIN}},
            Denial(Code.OUTSIDE_MARKET_HOURS, detail="EUR/USD: closed",
                   text_value="Wed 2026-03-04 12:00 UTC"),
        ),
        (
            at(NOW - timedelta(minutes=1), order={"market_hours_only": True},
               instrument={"hours": HOURS}),
            Denial(Code.OUTSIDE_MARKET_HOURS,
                   detail="EUR/USD: closed until Wed 2026-03-04 12:00 UTC",
                   text_value="Wed 2026-03-04 11:59 UTC", allowed="Wed 2026-03-04 12:00 UTC"),
        ),
        (
            {"order": {"allowed_symbols": ["GBP/*", "XAU/USD"]}},
            Denial(Code.SYMBOL_NOT_ALLOWED, detail="EUR/USD", text_value="EUR/USD",
                   allowed="GBP/*, XAU/USD"),
        ),
        (  # 200 characters are shown
            {"order": {"allowed_symbols": ["X" * 99, "Y" * 99]}},
            Denial(Code.SYMBOL_NOT_ALLOWED, detail="EUR/USD", text_value="EUR/USD",
                   allowed=f"{'X' * 99}, {'Y' * 99}"),
        ),
        (
            {"order": {"allowed_symbols": ["X" * 99, "Y" * 100]}},
            Denial(Code.SYMBOL_NOT_ALLOWED, detail="EUR/USD", text_value="EUR/USD",
                   allowed=f"{'X' * 99}, {'Y' * 99} …"),
        ),
        (
            {"order": {"order_type": "LIMIT", "limit_price": D("0.99"),
                       "max_price_deviation_percent": D(5)}},
            Denial(Code.PRICE_UNREASONABLE, D(10), D(5),
                   "open_price 0.99, and the market is at 1.1"),
        ),
        (
            {"order": {"order_type": "LIMIT", "limit_price": D("0.98765"),
                       "max_price_deviation_percent": D(5)}},
            Denial(Code.PRICE_UNREASONABLE, D("10.213636"), D(5),
                   "open_price 0.98765, and the market is at 1.1"),
        ),
        (
            {"order": {"max_level_deviation_percent": D(5)}, "signal": {"sl": D("0.98765")}},
            Denial(Code.PRICE_UNREASONABLE, D("11.375487"), D(5),
                   "sl 0.98765, and the market is at 1.1"),
        ),
        (
            {"order": {"max_spread": D("0.9")}, "quote": quote_row("1.09987654321", "1.1")},
            Denial(Code.SPREAD_LIMIT, D("1.234568"), D("0.9"), "pips",
                   limit=Limit("Spread", "pips")),
        ),
        (
            {"signal": {"max_signal_notional": D(50), "max_signal_currency": "USD"}},
            Denial(Code.SIGNAL_NOTIONAL, D(110), D(50),
                   "USD, together with the other accounts of the feed",
                   limit=Limit("This account's notional", "USD")),
        ),
        (
            {"order": TRAILING, "signal": {"trail_distance": D("0.005"),
                                           "activation_price": D("1.2")}},
            Denial(Code.ACTIVATION_REACHED, D("1.1"), D("1.2"),
                   "activation_price 1.2, and the market is at 1.1"),
        ),
        (  # whole seconds
            {"order": {"same_trade_window_seconds": 600}, "recent": {"same_trade_age": D("12.35")}},
            Denial(Code.SAME_TRADE, D(12), D(600), "BUY EUR/USD"),
        ),
        (
            {"order": {"max_orders_per_minute": 3}, "recent": {"sent_in_minute": 4}},
            Denial(Code.MAX_ORDERS_PER_MINUTE, D(4), D(3)),
        ),
        (
            {"order": {"max_size_multiple": D("2.5")}, "recent": {"last_quantities": [D(30)] * 5}},
            Denial(Code.SIZE_UNUSUAL, D("3.33"), D("2.5"), "100, and the median is 30"),
        ),
        (
            {"order": {"max_daily_notional": D(50)}, "recent": {"day_notional": D("0.125")}},
            Denial(Code.DAILY_NOTIONAL, D("110.12"), D(50), "USD"),
        ),
        (
            {"order": {"max_daily_volume": D(99)}},
            Denial(Code.DAILY_VOLUME, D(100), D(99), "EUR/USD",
                   limit=Limit("Volume of the day in EUR/USD", BASE_UNIT)),
        ),
        (  # 2.2049 reads as 2.2 with two digits, and that is the maximum
            {"order": {"max_currency_exposure_percent": D("2.2")},
             "recent": {"net_base": D("110.49")}},
            Denial(Code.CURRENCY_EXPOSURE, D("2.205"), D("2.2"), "EUR", limit=OF_EUR),
        ),
        (
            {"order": {"max_currency_exposure_percent": D(5), "equity": D(1)}, **NO_COST},
            Denial(Code.CURRENCY_EXPOSURE, D(11_000), D(5), "EUR", limit=OF_EUR),
        ),
        (  # without equity any exposure is beyond every limit
            {"order": {"max_currency_exposure_percent": D(5), "equity": D(0)}, **NO_COST},
            Denial(Code.CURRENCY_EXPOSURE, D(10) ** 9, D(5), "EUR", limit=OF_EUR),
        ),
        (  # a held order is sent as a market order, which the account takes for no FOK
            {"order": {"order_type": "IF_TOUCHED", "time_in_force": "FOK", "stop_price": D(1)},
             "can": {"times_in_force": frozenset({TimeInForce.GTC})}},
            Denial(Code.ORDER_TYPE_UNSUPPORTED, detail="FOK"),
        ),
    ],
)  # fmt: skip
def test_denial_states_what_broke_which_limit(case: dict[str, Any], denial: Denial) -> None:
    assert decide(**case) == denial


def test_day_of_an_account_without_a_known_currency_names_none() -> None:
    row = order_row(max_daily_notional=D(50), currency=None)
    entry = NewEntry("EUR/USD", 1, D(100), D(110), 7)
    denial = flow_limits.daily_sums(row, entry, NOTHING_SENT, BundleFlow())
    assert denial == Denial(Code.DAILY_NOTIONAL, D(110), D(50))


def test_exposure_that_only_changes_its_side_is_not_larger() -> None:
    case: dict[str, Any] = {"order": {"max_currency_exposure_percent": D("0.5")}}
    assert isinstance(decide(**case, recent={"net_base": D(-55)}), Intent)  # +55 with this
    assert isinstance(decide(**case, recent={"net_base": D("-54.99")}), Denial)


def test_known_hours_give_no_warning() -> None:
    case: dict[str, Any] = {"order": {"market_hours_only": True}, "instrument": {"hours": HOURS}}
    found = decide(**case)
    assert isinstance(found, Intent)
    assert (found.warning, found.detail) == ("", "100 at 1.1")


def test_price_that_a_trailing_stop_begins_at_is_no_mistyped_one() -> None:
    case: dict[str, Any] = {"order": {**TRAILING, "max_price_deviation_percent": D(1)}}
    assert isinstance(decide(**case, signal={"trail_distance": D("0.1")}), Intent)


# ---- triggers -----------------------------------------------------------------------------------
def trigger(**signal: Any) -> Trigger:
    found = triggers.trigger_of(
        order_row(**TRAILING, data_connection_id=None), signal_row(**TRAILING, **signal),
        instrument_row(), quote_row(),
    )  # fmt: skip
    assert isinstance(found, Trigger)
    return found


def test_trigger_without_a_source_has_none() -> None:
    assert trigger(trail_distance=D("0.005")).source_id == 0


def test_trailing_stop_is_sent_in_whole_ticks_away_from_the_market() -> None:
    exact = replace(trigger(trail_distance=D("0.0050031")), level=D("1.1050031"))
    sent = triggers.at_broker(exact, instrument_row())
    assert (sent.distance, sent.level, sent.is_held) == (D("0.00501"), D("1.10501"), False)


@pytest.mark.parametrize(
    ("order", "signal", "atr", "denial"),
    [
        (
            {}, {"trail_distance": D("0.000004")}, None,
            Denial(Code.DISTANCE_BELOW_TICK, D("0.000004"), D("0.00001"),
                   "0.000004, and its tick is 0.00001"),
        ),
        (
            {}, {"trail_distance": D("1.1")}, None,
            Denial(Code.TRAIL_TOO_WIDE, D("1.1"), D("1.1"), "1.1 from 1.1"),
        ),
        ({}, {}, None, Denial(Code.TRAIL_TOO_WIDE, None, D("1.1"), "TRAILING_STOP")),
        (
            {}, {"trail_distance": D("0.01"), "activation_price": D("1.11")}, None,
            Denial(Code.ACTIVATION_REACHED, D("1.1"), D("1.11"),
                   "activation_price 1.11, and the market is at 1.1"),
        ),
        (
            {"max_level_deviation_percent": D(5)},
            {"trail_distance": D("0.01"), "activation_price": D("1.0")}, None,
            Denial(Code.PRICE_UNREASONABLE, D(10), D(5),
                   "activation_price 1, and the market is at 1.1"),
        ),
        ({}, {"trail_atr": D(2)}, None, Denial(Code.ATR_UNKNOWN, detail="EUR/USD")),
        (
            {}, {"trail_atr": D(2)}, Atr(None, 3, 60),
            Denial(Code.ATR_UNKNOWN, detail="EUR/USD: 3 of 15 candles of 60 min"),
        ),
    ],
    ids=["below a tick", "as wide as the price", "without", "reached", "far", "no bars", "few"],
)  # fmt: skip
def test_trailing_stop_that_cannot_be_armed_states_why(
    order: dict[str, Any], signal: dict[str, Any], atr: Atr | None, denial: Denial
) -> None:
    found = triggers.trigger_of(
        order_row(**TRAILING, **order), signal_row(**TRAILING, **signal), instrument_row(),
        quote_row(), atr,
    )  # fmt: skip
    assert found == denial


@pytest.mark.parametrize(
    ("tick", "distance"), [(D("0.001"), "0.002"), (D("0.00001"), "0.00186"), (D(0), "0.00186")]
)
def test_distance_in_atr_is_in_ticks_or_tenths_of_a_pip(tick: D, distance: str) -> None:
    found = triggers.trigger_of(
        order_row(**TRAILING), signal_row(**TRAILING, trail_atr=D("1.5")),
        instrument_row(tick=tick), quote_row(), Atr(D("0.001234"), 14, 60),
    )  # fmt: skip
    assert isinstance(found, Trigger)
    assert found.distance == D(distance)


@pytest.mark.parametrize(("distance", "level"), [("1.1", None), ("1.09", "2.19")])
def test_trailing_stop_follows_another_source_if_its_distance_is_below_the_price(
    distance: str, level: str | None
) -> None:
    """A buy; it begins again from the ask of 1.1."""
    trail = MovedTrail(D(distance), None, is_active=True)
    row = order_row(**TRAILING, data_connection_id=None)
    found = triggers.on_other_source(row, trail, quote_row())
    assert (found and (found.level, found.source_id)) == (level and (D(level), 0))


def test_level_of_a_stop_that_is_not_active_yet_is_not_passed() -> None:
    inactive = trigger(trail_distance=D("0.005"), activation_price=D("1.05"))
    assert inactive.level is None
    assert not triggers.has_level_at_start(signal_row(sl=D("1.2")), inactive)


@pytest.mark.parametrize(
    ("left", "least", "most"),
    [(None, 3600, 3600), (10_000, 3600, 3600), (-5, 0.2, 0.2), (0.05, 0.2, 0.2), (10, 9.9, 10.1)],
)
def test_held_order_is_looked_at_when_it_expires(
    left: float | None, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = market_now()
    monkeypatch.setattr("common.clocks.market_now", lambda: now)
    end = None if left is None else now + timedelta(seconds=left)
    assert least <= triggers.seconds_until_looked_at(end) <= most
    if left == 10:
        assert triggers.seconds_until_looked_at(end) > 10  # just after its end


def test_type_that_is_held_is_sent_only_if_the_account_takes_it() -> None:
    takes_limits = capabilities(order_types=frozenset({OrderType.LIMIT}))
    assert triggers.is_emulated("STOP_LIMIT", takes_limits)
    assert not triggers.is_emulated("STOP", takes_limits)
    assert not triggers.is_emulated("MARKET", takes_limits)
    assert not triggers.is_emulated("LIMIT", takes_limits)
    assert triggers.is_emulated("LIMIT", takes_limits, always=True)
