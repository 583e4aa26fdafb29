"""The prices of an entry, and whether the market allows them now. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from brokers import price_rounding
from brokers.account_capabilities import Capabilities
from brokers.types import OrderType, Side
from brokers.worst_price import can_limit_price
from common.figure_names import Limit
from common.money import plain, rounded_apart
from common.reason_codes import Code
from common.units import Unit, size_of
from execution.submission.outcomes import ORDER_TYPES, SIDES, touch_price
from execution.submission.rows import InstrumentRow, OrderRow, QuoteRow, SignalRow
from execution.submission.sizing import Denial
from signals.symbols import slippage_unit


class EntryMarket(NamedTuple):
    """The market of an entry. rate: account currency for one of the pair's quote currency."""

    instrument: InstrumentRow
    quote: QuoteRow
    rate: Decimal


class EntryPrices(NamedTuple):
    """An entry's prices, the order's own rounded to the instrument's ticks.

    touch: best price in the market now. entry: expected fill price; of a stop-limit order its
    limit, the worst that it may be filled at. worst: the limit of a market order's fill price.
    """

    side: Side
    touch: Decimal
    entry: Decimal
    limit: Decimal | None
    stop: Decimal | None
    sl: Decimal | None
    worst: Decimal | None


class PricedEntry(NamedTuple):
    """An entry with its market and its prices: what the limits of a price are checked by.

    at_market: a limit order that is sent as a market order (`_at_market`); its row says so already.
    """

    row: OrderRow
    signal: SignalRow
    market: EntryMarket
    capabilities: Capabilities
    at: EntryPrices
    at_market: bool = False


def price_entry(
    row: OrderRow, signal: SignalRow, market: EntryMarket, capabilities: Capabilities
) -> PricedEntry:
    """Return an entry with its prices by the market now."""
    side, tick = SIDES[row.side], market.instrument.grid
    limit = row.limit_price and price_rounding.round_entry_price(
        row.limit_price, tick, side, OrderType.LIMIT
    )
    stop = row.stop_price and price_rounding.round_entry_price(
        row.stop_price, tick, side, OrderType.STOP
    )
    sl = signal.sl and price_rounding.round_level_price(signal.sl, tick, side)
    touch = touch_price(market.quote, side)
    bounds = list[Decimal]()
    at_market = limit is not None and _at_market(
        row, signal, (limit - touch) * side.sign, capabilities
    )
    if limit is not None and at_market:
        bounds.append(limit)
        row, limit = row._replace(order_type=OrderType.MARKET.value, limit_price=None), None
    worst = _worst_price(row, signal, market.instrument, touch, side)
    if signal.price_limit is not None and can_limit_price(capabilities):
        bounds.append(
            price_rounding.round_entry_price(signal.price_limit, tick, side, OrderType.LIMIT)
        )
    for bound in bounds:
        worst = bound if worst is None else min(worst * side.sign, bound * side.sign) * side.sign
    at = EntryPrices(side, touch, limit or stop or touch, limit, stop, sl, worst)
    return PricedEntry(row, signal, market, capabilities, at, at_market)


def _at_market(
    row: OrderRow, signal: SignalRow, beyond: Decimal, capabilities: Capabilities
) -> bool:
    """Return whether a limit order that the engine held goes out as a market order.

    Its trigger fires when the market is at its limit, or the market is there soon after. Brokers
    that refuse a limit order which could be filled at once get a market order in its place, never
    filled beyond the limit. beyond: by how much the limit is better than the market, for the order.
    """
    is_fired = row.oco_fired or signal.order_type == OrderType.STOP_LIMIT
    return (
        beyond >= 0
        and is_fired
        and row.order_type == OrderType.LIMIT
        and OrderType.LIMIT in capabilities.refuses_reached
        and capabilities.keeps_worst_price
    )


def _worst_price(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, touch: Decimal, side: Side
) -> Decimal | None:
    """Return the worst price of a market order: the slippage limit from the signal's price.

    A signal without a price counts from the touch. None: no limit, or not a market order.
    """
    if row.order_type != OrderType.MARKET:
        return None
    limit = _max_slippage(row, signal, instrument, touch)
    if limit is None:
        return None
    worst = (_provider_price(row, signal) or touch) + limit.distance * side.sign
    return price_rounding.round_entry_price(worst, instrument.grid, side, OrderType.LIMIT)


def _provider_price(row: OrderRow, signal: SignalRow) -> Decimal | None:
    """Return the price that the provider saw; an order that was triggered has none."""
    return signal.open_price if signal.order_type == row.order_type else None


@dataclass(frozen=True, slots=True)
class _Slippage:
    """How far a price may move. maximum: in `unit`; distance, size of one unit: quote currency."""

    distance: Decimal
    maximum: Decimal
    unit: Unit
    size: Decimal


def _max_slippage(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, touch: Decimal
) -> _Slippage | None:
    """Return the tightest slippage limit of signal, preset and subscription, if any."""
    limits = []
    for value, unit_name in (
        (signal.max_slippage_pips, signal.max_slippage_unit),
        (row.terms.limits.max_slippage_pips, row.terms.limits.slippage_unit),
        (row.terms.own_max_slippage, row.terms.own_slippage_unit),
    ):
        if value is not None:
            unit = slippage_unit(row.pair, unit_name or "")
            price, tick = signal.open_price or touch, instrument.tick
            size = size_of(unit, price=price, pip=instrument.pip, tick=tick)
            limits.append(_Slippage(value * size, value, unit, size))
    return min(limits, key=lambda limit: limit.distance, default=None)


def slippage_not_kept(entry: PricedEntry) -> Denial | None:
    """Deny a worst price that the account's orders cannot carry."""
    if entry.at.worst is None or can_limit_price(entry.capabilities):
        return None
    return Denial(Code.SLIPPAGE_NOT_KEPT, entry.at.touch, entry.at.worst)


def plan_limit_passed(entry: PricedEntry) -> Denial | None:
    """Deny a slice while the market is beyond the price limit of its plan."""
    limit, at = entry.signal.price_limit, entry.at
    if limit is None or (at.touch - limit) * at.side.sign <= 0:
        return None
    return Denial(Code.SLICE_PRICE_LIMIT, at.touch, limit)


def slippage_denial(entry: PricedEntry) -> Denial | None:
    """Deny a market order if the market has moved beyond the slippage limit."""
    row, signal, at = entry.row, entry.signal, entry.at
    seen = _provider_price(row, signal)
    if row.order_type != OrderType.MARKET or not seen:
        return None
    limit = _max_slippage(row, signal, entry.market.instrument, at.touch)
    if limit is None:
        return None
    moved = (at.touch - seen) * at.side.sign
    if moved <= limit.distance:
        return None
    return Denial(
        Code.SLIPPAGE_LIMIT,
        rounded_apart(moved / limit.size, limit.maximum),
        limit.maximum,
        limit.unit.word,
        limit=Limit("Slippage", limit.unit.word),
    )


def level_reached(entry: PricedEntry) -> Denial | None:
    """Deny a target that the market has passed already, or a level too near to the entry."""
    at, nearest = entry.at, entry.market.instrument.stops_level
    for target in entry.signal.target_prices:
        if (target - at.entry) * at.side.sign <= 0:
            return Denial(Code.TARGET_WRONG_SIDE, target, at.entry)
    for level in (at.sl, *entry.signal.target_prices):
        if level is not None and abs(at.entry - level) < nearest:
            return Denial(Code.STOP_TOO_NEAR, abs(at.entry - level), nearest)
    return None


def stop_passed(entry: PricedEntry) -> Denial | None:
    """Deny a stop loss on the wrong side of the entry, or of a stop-limit order's trigger."""
    at, sign = entry.at, entry.at.side.sign
    if at.sl is None:
        return None
    for price in (at.entry, at.stop):
        if price is not None and (price - at.sl) * sign <= 0:
            return Denial(Code.STOP_AT_ENTRY, price, at.sl)
    return None


def price_reached(entry: PricedEntry) -> Denial | None:
    """Deny if the market has reached the order's own price and the broker refuses such orders."""
    row, at, refused = entry.row, entry.at, entry.capabilities.refuses_reached
    order_type = ORDER_TYPES.get(row.order_type)
    if order_type is OrderType.STOP_LIMIT and (denial := _limit_beyond_stop(entry)):
        return denial
    if order_type is None:  # the engine holds it, and its broker never gets it
        return None
    own = at.stop if order_type.has_stop_price else at.limit
    if own is None or order_type not in refused:
        return None
    # A buy waits below the market with a limit, above it with a stop.
    beyond = (own - at.touch) * at.side.sign * (1 if order_type is OrderType.LIMIT else -1)
    if beyond < 0:
        return None
    detail = f"{row.side} {order_type} {plain(own)}, and the market is at {plain(at.touch)}"
    return Denial(Code.PRICE_WRONG_SIDE, at.touch, own, detail)


def _limit_beyond_stop(entry: PricedEntry) -> Denial | None:
    """Deny a stop-limit order whose limit the market has reached once it is at the stop price.

    A broker that refuses such limit orders places this one at that moment, and refuses it too. One
    that the engine holds then goes out as a market order (`_at_market`).
    """
    row, at, can = entry.row, entry.at, entry.capabilities
    is_held = OrderType.STOP_LIMIT not in can.order_types and can.keeps_worst_price
    if is_held or OrderType.LIMIT not in can.refuses_reached:
        return None
    if at.limit is None or at.stop is None or (at.limit - at.stop) * at.side.sign < 0:
        return None
    detail = f"{row.side} stop {plain(at.stop)}, limit {plain(at.limit)}"
    return Denial(Code.LIMIT_BEYOND_STOP, at.limit, at.stop, detail)
