"""Build the intent of an entry: rounded prices, size, limits, levels. Pure."""

from dataclasses import dataclass
from decimal import Decimal

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
from execution.submission.rows import InstrumentRow, OrderRow, QuoteRow, SignalRow
from execution.submission.sizing import Denial
from signals.symbols import slippage_unit


@dataclass(frozen=True, slots=True)
class _Prices:
    """An entry's prices, the order's own rounded to the instrument's ticks.

    touch: best price in the market now. entry: expected fill price. worst: the limit of a market
    order's fill price.
    """

    side: Side
    touch: Decimal
    entry: Decimal
    limit: Decimal | None
    stop: Decimal | None
    sl: Decimal | None
    worst: Decimal | None


def size_and_check(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    quote: QuoteRow,
    rate: Decimal,
    exposure: risk.PortfolioExposure,
    capabilities: Capabilities,
    broker_margin: Decimal | None = None,
) -> Decision:
    """Size an entry and check its limits; an allowed one is added to the exposure.

    rate: account currency for one of the pair's quote currency. broker_margin: account currency for
    one base unit, if the broker has calculated it.
    """
    at = _prices(row, signal, instrument, quote)
    if at.worst is not None and not can_limit_price(capabilities):
        return Denial(Code.SLIPPAGE_NOT_KEPT, maximum=at.worst)
    denial = _price_error(row, signal, instrument, at) or _price_reached(row, at, capabilities)
    if denial:
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
    entry = risk.Entry(quantity, notional, margin, margin if loss is None else loss * quantity)
    if deferred := _check_limits(row, at.side, entry, exposure):
        return deferred
    exposure.add(entry)
    exposure.sides.add((row.pair, at.side))
    return _intent(row, signal, instrument, at, entry, rate, capabilities)


def _prices(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, quote: QuoteRow
) -> _Prices:
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
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, touch: Decimal, side: Side
) -> Decimal | None:
    """Return the worst price of a market order: the slippage limit from the signal's price.

    A signal without a price counts from the touch. None: no limit, or not a market order.
    """
    limit = _max_slippage(row, signal, instrument, touch)
    if row.order_type != OrderType.MARKET or limit is None:
        return None
    worst = (signal.open_price or touch) + limit.distance * side.sign
    return price_rounding.round_entry_price(worst, instrument.tick, side, OrderType.LIMIT)


def _price_error(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, at: _Prices
) -> Denial | None:
    """Deny if the market has moved beyond the slippage limit, or a level is passed or too near."""
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


def _price_reached(row: OrderRow, at: _Prices, capabilities: Capabilities) -> Denial | None:
    """Deny if the market has reached the order's own price and the broker refuses such orders."""
    order_type = ORDER_TYPES[row.order_type]
    own = {OrderType.LIMIT: at.limit, OrderType.STOP: at.stop}.get(order_type)
    if own is None or order_type not in capabilities.refuses_reached:
        return None
    # A buy waits below the market with a limit, above it with a stop.
    beyond = (own - at.touch) * at.side.sign * (1 if order_type is OrderType.LIMIT else -1)
    if beyond < 0:
        return None
    detail = f"{row.side} {order_type} {plain(own)}, and the market is at {plain(at.touch)}"
    return Denial(Code.PRICE_WRONG_SIDE, at.touch, own, detail)


def _quantity(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    entry: Decimal,
    rate: Decimal,
    loss: Decimal | None,
) -> Decimal | Denial:
    return sizing.size(
        sizing=_sizing_of(row, signal),
        balance=row.balance,
        equity=_equity_of(row),
        price=entry,
        rate=rate,
        stop_loss_per_unit=loss,
        limits=sizing.QuantityLimits(
            instrument.quantity_min, instrument.quantity_step, instrument.quantity_max
        ),
    )


def _check_limits(
    row: OrderRow, side: Side, quantity: risk.Entry, exposure: risk.PortfolioExposure
) -> Denial | Deferred | None:
    """Deny an entry that would close what another signal opened, or that breaks a limit.

    While the opposite position is being closed (a strategy reverses) the entry waits instead: the
    account cannot hold both, or its limits do not allow both.
    """
    opposite, nets = (row.pair, side.opposite), row.position_mode == PositionMode.NETTING
    if nets and opposite in exposure.sides:
        return Denial(Code.NETTING_OPPOSITE, detail=row.pair)
    denial = risk.check(quantity, exposure, _limits_of(row), _funds_of(row))
    if opposite in exposure.closing and (nets or denial):
        return Deferred(Code.OPPOSITE_CLOSING, detail=row.pair)
    return denial


def _intent(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
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
    row: OrderRow, signal: SignalRow, tick: Decimal, capabilities: Capabilities
) -> tuple[Decimal | None, Decimal | None]:
    """Return the stop-loss and take-profit that the broker guards; the engine guards the others.

    A broker holds one target for a whole position, so the engine guards several targets. If
    positions are netted and levels belong to the position, one signal's stop would close the others
    too (docs/adr/0011): the engine guards both levels.
    """
    if not (capabilities.native_stops and row.broker_holds_stops):
        return None, None
    if row.position_mode == PositionMode.NETTING and capabilities.exit_safety is ExitSafety.TICKET:
        return None, None
    single = len(signal.target_prices) == 1 and signal.target_fractions[0] == 1
    target = signal.target_prices[0] if single else None
    side = SIDES[row.side]
    levels = (
        level and price_rounding.round_level_price(level, tick, side)
        for level in (signal.sl, target)
    )
    return next(levels), next(levels)


@dataclass(frozen=True, slots=True)
class _Slippage:
    """How far a price may move. distance, and size of one `unit`: quote currency."""

    distance: Decimal
    unit: Unit
    size: Decimal


def _max_slippage(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, touch: Decimal
) -> _Slippage | None:
    """Return the tighter of the signal's and the preset's slippage limits, if any."""
    limits = []
    for value, unit_name in (
        (signal.max_slippage_pips, signal.max_slippage_unit),
        (row.max_slippage_pips, row.slippage_unit),
    ):
        if value is not None:
            unit = slippage_unit(row.pair, unit_name or "")
            price, tick = signal.open_price or touch, instrument.tick
            size = size_of(unit, price=price, pip=instrument.pip, tick=tick)
            limits.append(_Slippage(value * size, unit, size))
    return min(limits, key=lambda limit: limit.distance, default=None)


def _sizing_of(row: OrderRow, signal: SignalRow) -> sizing.Sizing:
    return sizing.Sizing(
        mode=row.sizing_mode,
        fixed_quantity=row.fixed_quantity,
        percent_of_balance=row.percent_of_balance,
        fixed_amount=row.fixed_amount,
        risk_percent=row.risk_percent,
        multiplier=sizing.multiplier_of(row, signal.risk_category, row.subscription_multiplier),
    )


def _limits_of(row: OrderRow) -> risk.Limits:
    return risk.Limits(
        row.max_quantity, row.max_open_positions, row.max_leverage, row.max_portfolio_risk_percent
    )


def _equity_of(row: OrderRow) -> Decimal:
    assert row.equity is not None  # `evaluate.decide_entry` denies an account that was never read
    return row.equity


def _funds_of(row: OrderRow) -> risk.AccountFunds:
    return risk.AccountFunds(_equity_of(row), row.free_margin, row.leverage)
