"""An entry's limits that depend on the symbol, its quote and the time, not on the size. Pure.

Each check returns a denial with the value and the maximum, or None. docs/limits.md
"""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from brokers.trading_hours import is_closed, is_known, opens_at
from brokers.types import OrderType
from common.figure_names import Limit
from common.money import plain, rounded_apart
from common.reason_codes import Code
from common.units import size_of
from connections.market_hours import is_market_open
from connections.symbol_filter import is_allowed
from connections.trading_sessions import is_open
from execution.submission.rows import InstrumentRow, OrderRow, QuoteRow, SignalRow
from execution.submission.sizing import HUNDRED, Denial
from signals.checks.price_guard import deviation_percent
from signals.symbols import slippage_unit

_PLACES = 6
_LIST_MAX = 200  # characters of a list of symbols that a denial states


def symbol_denial(row: OrderRow) -> Denial | None:
    """Deny a pair that the preset or the subscription does not allow."""
    for patterns in (row.terms.limits.allowed_symbols, row.terms.own_allowed_symbols):
        if patterns and not is_allowed(row.pair, patterns):
            allowed = ", ".join(patterns)
            return Denial(
                Code.SYMBOL_NOT_ALLOWED,
                detail=row.pair,
                text_value=row.pair,
                allowed=allowed if len(allowed) <= _LIST_MAX else f"{allowed[:_LIST_MAX]} …",
            )
    return None


def hours_denial(row: OrderRow, now: datetime) -> Denial | None:
    """Deny outside of the trading sessions, or while the market is closed. now: market time."""
    for sessions in (row.terms.limits.trading_sessions, row.terms.own_trading_sessions):
        if sessions and not is_open(sessions, now, row.terms.trading_day_zone):
            local = now.astimezone(ZoneInfo(row.terms.trading_day_zone))
            at, allowed = f"{local:%a %H:%M} {row.terms.trading_day_zone}", ", ".join(sessions)
            detail = f"{at}, not in {allowed}"
            return Denial(Code.OUTSIDE_SESSION, detail=detail, text_value=at, allowed=allowed)
    if row.terms.limits.market_hours_only and not is_market_open(row.pair, now):
        return Denial(Code.OUTSIDE_MARKET_HOURS, detail=row.pair, text_value=_minute(now))
    return None


def market_hours_denial(row: OrderRow, instrument: InstrumentRow, now: datetime) -> Denial | None:
    """Deny while the instrument's market is closed, by the hours that are known of it."""
    hours = instrument.hours
    if not row.terms.limits.market_hours_only or not hours or not is_closed(hours, now):
        return None
    opens = opens_at(hours, now)
    until = f" until {_minute(opens)}" if opens else ""
    return Denial(
        Code.OUTSIDE_MARKET_HOURS,
        detail=f"{row.pair}: closed{until}",
        text_value=_minute(now),
        allowed=_minute(opens) if opens else "",
    )


def _minute(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M} UTC"


def hours_warning(row: OrderRow, instrument: InstrumentRow, now: datetime) -> str:
    """Return a warning if the instrument's hours have no data for now; empty: no warning.

    Without any hours there is none: nothing is ever known of that market.
    """
    if (
        not row.terms.limits.market_hours_only
        or not instrument.hours
        or is_known(instrument.hours, now)
    ):
        return ""
    return f"market hours of {instrument.symbol} unknown today, not checked"


def deviation_denial(row: OrderRow, signal: SignalRow, touch: Decimal) -> Denial | None:
    """Deny an entry whose own price is too far from the market, as after a typing error.

    touch: the best price in the market now. Value, maximum: percent of it.
    """
    maximum = row.terms.limits.max_price_deviation_percent
    if maximum is None:
        return None
    own = signal.open_price if row.limit_price is None else row.limit_price  # it may be changed
    is_trailing = row.order_type == OrderType.TRAILING_STOP  # its stop price comes from the market
    stop = None if is_trailing else row.stop_price
    for name, price in (("open_price", own), ("stop_price", stop)):
        if price is not None and abs(price - touch) * HUNDRED > maximum * touch:
            deviation = rounded_apart(abs(price - touch) * HUNDRED / touch, maximum, _PLACES)
            detail = f"{name} {plain(price)}, and the market is at {plain(touch)}"
            return Denial(Code.PRICE_UNREASONABLE, deviation, maximum, detail)
    return None


def level_deviation_denial(row: OrderRow, signal: SignalRow, touch: Decimal) -> Denial | None:
    """Deny an entry with a level so far from the market that a digit of it must be wrong.

    Levels may lie far away, and a price limit counts like them. touch: the best price in the market
    now. Current, maximum: percent of the smaller of both prices.
    """
    targets = (("targets", price) for price in signal.target_prices)
    levels = (("sl", signal.sl), *targets, ("price_limit", signal.price_limit))
    denials = (
        _unlikely(name, price, touch, row.terms.limits.max_level_deviation_percent)
        for name, price in levels
    )
    return next((denial for denial in denials if denial is not None), None)


def activation_denial(row: OrderRow, activation: Decimal | None, touch: Decimal) -> Denial | None:
    """Deny a trailing stop whose activation price is that far from the market, when it is armed."""
    return _unlikely(
        "activation_price", activation, touch, row.terms.limits.max_level_deviation_percent
    )


def _unlikely(
    name: str, price: Decimal | None, touch: Decimal, maximum: Decimal | None
) -> Denial | None:
    if price is None or maximum is None or deviation_percent(price, touch) <= maximum:
        return None
    detail = f"{name} {plain(price)}, and the market is at {plain(touch)}"
    deviation = rounded_apart(deviation_percent(price, touch), maximum, _PLACES)
    return Denial(Code.PRICE_UNREASONABLE, deviation, maximum, detail)


def spread_denial(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, quote: QuoteRow
) -> Denial | None:
    """Deny a spread above the tightest limit of signal, preset and subscription.

    Basis points and percent are those of the middle of bid and ask. Value, maximum: in the unit
    of the broken limit, which the detail names.
    """
    if (
        signal.max_spread is None
        and row.terms.limits.max_spread is None
        and row.terms.own_max_spread is None
    ):
        return None
    spread, middle = quote.ask - quote.bid, (quote.ask + quote.bid) / 2
    limits = []
    for maximum, unit_name in (
        (signal.max_spread, signal.max_spread_unit),
        (row.terms.limits.max_spread, row.terms.limits.max_spread_unit),
        (row.terms.own_max_spread, row.terms.own_max_spread_unit),
    ):
        if maximum is not None:
            unit = slippage_unit(row.pair, unit_name or "")
            size = size_of(unit, price=middle, pip=instrument.pip, tick=instrument.tick)
            limits.append((maximum * size, maximum, size, unit))
    distance, maximum, size, unit = min(limits)
    if spread <= distance:
        return None
    value = rounded_apart(spread / size, maximum, _PLACES)
    return Denial(Code.SPREAD_LIMIT, value, maximum, unit.word, limit=Limit("Spread", unit.word))
