"""How an entry that can be priced goes out: its prices on the broker's ticks, its size, the risk
gate, and which levels go with it. Pure.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brokers import price_rounding
from brokers.account_capabilities import Capabilities
from brokers.types import ExitSafety, OrderType, PositionMode, Side
from brokers.worst_price import can_limit_price
from common.money import plain
from common.reason_codes import Code
from common.units import Unit, size_of
from execution.submission import risk, sizing
from execution.submission.outcomes import (
    ORDER_TYPES,
    SIDES,
    Decision,
    Deferred,
    Intent,
    touch_price,
)
from execution.submission.sizing import Denial
from signals.symbols import slippage_unit


@dataclass(frozen=True, slots=True)
class _Prices:
    """An entry's prices, those of its own on the instrument's ticks. touch: what the market asks
    now; entry: what it is expected to fill at."""

    side: Side
    touch: Decimal
    entry: Decimal
    limit: Decimal | None
    stop: Decimal | None
    sl: Decimal | None
    worst: Decimal | None  # at market: beyond it nothing may be filled


def size_and_check(
    row: Any,
    signal: Any,
    instrument: Any,
    quote: Any,
    rate: Decimal,
    exposure: risk.PortfolioExposure,
    capabilities: Capabilities,
    broker_margin: Decimal | None = None,
) -> Decision:
    """Size an entry and pass it through the risk gate; an allowed one is added to the book.

    rate: account currency for one of the pair's quote currency. broker_margin: of one base unit, as
    the broker calculates it, in account currency.
    """
    at = _prices(row, signal, instrument, quote)
    if at.worst is not None and not can_limit_price(capabilities):
        return Denial(Code.SLIPPAGE_NOT_KEPT, maximum=at.worst)
    if denial := _price_refused(row, signal, instrument, at) or _price_reached(
        row, at, capabilities
    ):
        return denial
    loss = None if at.sl is None else sizing.loss_per_unit(at.entry, at.sl, at.side.sign, rate)
    if loss is not None and loss <= 0:
        return Denial(Code.STOP_AT_ENTRY, at.entry, at.sl)
    quantity = _quantity(row, signal, instrument, at.entry, rate, loss)
    if isinstance(quantity, Denial):
        return quantity
    notional = quantity * at.entry * rate
    margin = risk.margin_of(notional, row.leverage, instrument.margin_rate)
    if broker_margin is not None:
        margin = quantity * broker_margin
    wanted = risk.Entry(quantity, notional, margin, margin if loss is None else loss * quantity)
    if deferred := _check_limits(row, at.side, wanted, exposure):
        return deferred
    exposure.add(wanted)
    exposure.sides.add((row.pair, at.side))
    return _intent(row, signal, instrument, at, wanted, rate, capabilities)


def _prices(row: Any, signal: Any, instrument: Any, quote: Any) -> _Prices:
    side, tick = SIDES[row.side], instrument.tick
    limit = row.limit_price and price_rounding.round_entry_price(
        row.limit_price, tick, side, OrderType.LIMIT
    )
    stop = row.stop_price and price_rounding.round_entry_price(
        row.stop_price, tick, side, OrderType.STOP
    )
    sl = signal.sl and price_rounding.round_level_price(signal.sl, tick, side)
    touch = touch_price(quote, side)
    worst = _worst_price(row, signal, instrument, touch, side)
    return _Prices(side, touch, stop or limit or touch, limit, stop, sl, worst)


def _worst_price(
    row: Any, signal: Any, instrument: Any, touch: Decimal, side: Side
) -> Decimal | None:
    """The worst price of a market order: the limit's distance from the signal's price, or from the
    present one where it names none."""
    limit = _max_slippage(row, signal, instrument, touch)
    if row.order_type != OrderType.MARKET or limit is None:
        return None
    worst = (signal.open_price or touch) + limit.distance * side.sign
    return price_rounding.round_entry_price(worst, instrument.tick, side, OrderType.LIMIT)


def _price_refused(
    row: Any,
    signal: Any,
    instrument: Any,
    at: _Prices,
) -> Denial | None:
    """The market has run too far from the signal, or a level stands too near."""
    limit = _max_slippage(row, signal, instrument, at.touch)
    if row.order_type == OrderType.MARKET and signal.open_price and limit is not None:
        moved = (at.touch - signal.open_price) * at.side.sign
        if moved > limit.distance:
            return Denial(
                Code.SLIPPAGE_LIMIT,
                (moved / limit.size).quantize(Decimal("0.1")),
                (limit.distance / limit.size).quantize(Decimal("0.1")),
                limit.unit.word,
            )
    for target in signal.target_prices:
        if (target - at.entry) * at.side.sign <= 0:  # the market has passed it already
            return Denial(Code.TARGET_WRONG_SIDE, at.entry, target)
    for level in (at.sl, *signal.target_prices):
        if level is not None and abs(at.entry - level) < instrument.stops_level:
            return Denial(Code.STOP_TOO_NEAR, abs(at.entry - level), instrument.stops_level)
    return None


def _price_reached(row: Any, at: _Prices, capabilities: Capabilities) -> Denial | None:
    """The market has reached the order's own price, and the broker takes no such order."""
    order_type = ORDER_TYPES[row.order_type]
    own = {OrderType.LIMIT: at.limit, OrderType.STOP: at.stop}.get(order_type)
    if own is None or order_type not in capabilities.refuses_reached:
        return None
    # A buy waits below the market with a limit, above it with a stop.
    beyond = (own - at.touch) * at.side.sign * (1 if order_type is OrderType.LIMIT else -1)
    if beyond < 0:
        return None
    said = f"{row.side} {order_type} {plain(own)}, and the market is at {plain(at.touch)}"
    return Denial(Code.PRICE_WRONG_SIDE, at.touch, own, said)


def _quantity(
    row: Any, signal: Any, instrument: Any, entry: Decimal, rate: Decimal, loss: Decimal | None
) -> Decimal | Denial:
    return sizing.size(
        sizing=_sizing_of(row, signal),
        balance=row.balance,
        equity=row.equity,
        price=entry,
        rate=rate,
        stop_loss_per_unit=loss,
        limits=sizing.QuantityLimits(
            instrument.quantity_min, instrument.quantity_step, instrument.quantity_max
        ),
    )


def _check_limits(
    row: Any, side: Side, quantity: risk.Entry, exposure: risk.PortfolioExposure
) -> Denial | Deferred | None:
    """It would close what another signal opened, or break a limit.

    Where the opposite position is on its way out (a strategy reverses) the entry waits for that:
    the account cannot hold both, or its limits do not allow both.
    """
    opposite, nets = (row.pair, side.opposite), row.position_mode == PositionMode.NETTING
    if nets and opposite in exposure.sides:
        return Denial(Code.NETTING_OPPOSITE, detail=row.pair)
    denial = risk.check(quantity, exposure, _limits_of(row), _funds_of(row))
    if opposite in exposure.closing and (nets or denial):
        return Deferred(Code.OPPOSITE_CLOSING, detail=row.pair)
    return denial


def _intent(
    row: Any,
    signal: Any,
    instrument: Any,
    at: _Prices,
    quantity: risk.Entry,
    rate: Decimal,
    capabilities: Capabilities,
) -> Intent:
    held_sl, held_tp = _levels_at_broker(row, signal, instrument.tick, capabilities)
    return Intent(
        symbol=instrument.symbol,
        quantity=quantity.quantity,
        expected_price=at.entry,
        pip=instrument.pip,
        rate=rate,
        limit_price=at.limit,
        stop_price=at.stop,
        stop_loss=held_sl,
        take_profit=held_tp,
        margin=quantity.margin,
        risk=quantity.risk,
        worst_price=at.worst,
        detail=f"{plain(quantity.quantity)} at {plain(at.entry)}",
    )


def _levels_at_broker(
    row: Any, signal: Any, tick: Decimal, capabilities: Capabilities
) -> tuple[Decimal | None, Decimal | None]:
    """Which levels go out with the entry: the broker guards those, we watch the others.

    A broker holds one target for all of a position, so several targets are ours to watch. Where
    positions are netted and levels belong to the position, one signal's stop would close all the
    others too (docs/adr/0011): they are ours to watch as well.
    """
    if not (capabilities.native_stops and row.broker_holds_stops):
        return None, None
    if row.position_mode == PositionMode.NETTING and capabilities.exit_safety is ExitSafety.TICKET:
        return None, None
    single = len(signal.target_prices) == 1 and signal.target_fractions[0] == 1
    target = signal.target_prices[0] if single else None
    side = SIDES[row.side]
    levels = (
        one and price_rounding.round_level_price(one, tick, side) for one in (signal.sl, target)
    )
    return next(levels), next(levels)


@dataclass(frozen=True, slots=True)
class _Slippage:
    """How far a price may move. distance: in price; size: of one of its unit."""

    distance: Decimal
    unit: Unit
    size: Decimal


def _max_slippage(row: Any, signal: Any, instrument: Any, touch: Decimal) -> _Slippage | None:
    """The tighter of the signal's and the preset's limit, each in its own unit."""
    limits = []
    for value, said in (
        (signal.max_slippage_pips, signal.max_slippage_unit),
        (row.max_slippage_pips, row.slippage_unit),
    ):
        if value is not None:
            unit = slippage_unit(row.pair, said or "")
            price, tick = signal.open_price or touch, instrument.tick
            size = size_of(unit, price=price, pip=instrument.pip, tick=tick)
            limits.append(_Slippage(value * size, unit, size))
    return min(limits, key=lambda limit: limit.distance, default=None)


def _sizing_of(row: Any, signal: Any) -> sizing.Sizing:
    return sizing.Sizing(
        mode=row.sizing_mode,
        fixed_quantity=row.fixed_quantity,
        percent_of_balance=row.percent_of_balance,
        fixed_amount=row.fixed_amount,
        risk_percent=row.risk_percent,
        multiplier=sizing.multiplier_of(row, signal.risk_category, row.subscription_multiplier),
    )


def _limits_of(row: Any) -> risk.Limits:
    return risk.Limits(
        row.max_quantity, row.max_open_positions, row.max_leverage, row.max_portfolio_risk_percent
    )


def _funds_of(row: Any) -> risk.AccountFunds:
    return risk.AccountFunds(row.equity, row.free_margin, row.leverage)
