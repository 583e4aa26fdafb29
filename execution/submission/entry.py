"""Build the intent of an entry: rounded prices, size, limits, levels. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from brokers import price_rounding
from brokers.account_capabilities import Capabilities
from brokers.types import ExitSafety, OrderType, PositionMode, Side, TimeInForce
from brokers.worst_price import can_limit_price
from common.limit_figures import Limit
from common.money import plain, rounded_apart, to_stored
from common.reason_codes import Code
from common.units import Unit, size_of
from connections.models import SizingMode
from execution.submission import risk, sizing
from execution.submission.flow_limits import (
    NOTHING_SENT,
    NewEntry,
    correlation_warning,
    flow_denial,
)
from execution.submission.market_limits import deviation_denial, spread_denial
from execution.submission.outcomes import (
    ORDER_TYPES,
    SIDES,
    Decision,
    Deferred,
    Intent,
    touch_price,
)
from execution.submission.rows import InstrumentRow, OrderRow, QuoteRow, RecentRow, SignalRow
from execution.submission.signal_limits import SignalBudget, signal_denial
from execution.submission.sizing import ONE, Denial
from execution.submission.slicing import plan_slices, smallest_with_targets
from execution.submission.volume_profile import VolumeProfile
from signals.slicing import ExecutionStyle
from signals.symbols import slippage_unit

NO_VOLUME = "no volume known, so in equal parts as TWAP"


@dataclass(frozen=True, slots=True)
class EntryPrices:
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


def size_and_check(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    quote: QuoteRow,
    rate: Decimal,
    exposure: risk.PortfolioExposure,
    capabilities: Capabilities,
    broker_margin: Decimal | None = None,
    provider: sizing.ProviderFigures = sizing.NO_FIGURES,
    recent: RecentRow = NOTHING_SENT,
    budget: SignalBudget | None = None,
    scale: Decimal = ONE,
    volume: VolumeProfile | None = None,
) -> Decision:
    """Size an entry and check its limits; an allowed one is added to the exposure.

    rate: account currency for one of the pair's quote currency. broker_margin: account currency for
    one base unit, if the broker has calculated it. provider: what the provider traded, for the
    sizing modes that use it. recent: what the account has sent and holds, for limits that count it.
    budget: what the entry may add to its signal, if the feed limits it.
    scale: by what a decision provider multiplies the size, before steps and limits.
    volume: the profile by which a VWAP is divided; None: equal parts.
    """
    at = prices_of(row, signal, instrument, quote, capabilities)
    if at.worst is not None and not can_limit_price(capabilities):
        return Denial(Code.SLIPPAGE_NOT_KEPT, at.touch, at.worst)
    if denial := _market_denial(row, signal, instrument, quote, at, capabilities):
        return denial
    if signal.execution_style and row.position_mode not in set(PositionMode):
        return Denial(Code.SLICES_UNSUPPORTED, detail=row.position_mode)
    loss = None if at.sl is None else sizing.loss_per_unit(at.entry, at.sl, at.side.sign, rate)
    if loss is not None and loss <= 0:
        return Denial(Code.STOP_AT_ENTRY, at.entry, at.sl)
    if at.stop is not None and at.sl is not None and (at.stop - at.sl) * at.side.sign <= 0:
        return Denial(Code.STOP_AT_ENTRY, at.stop, at.sl)  # a stop-limit order's trigger
    size = _size(row, signal, instrument, at.entry * rate, loss, provider, scale)
    if isinstance(size, Denial):
        return size
    quantity, notional = size.quantity, size.quantity * at.entry * rate
    margin = risk.margin_of(notional, row.leverage, instrument.margin_rate)
    if broker_margin is not None:
        margin = quantity * broker_margin
    at_risk = margin if loss is None else loss * quantity
    entry = risk.Entry(quantity, notional, margin, at_risk, row.pair)
    if deferred := check_limits(row, at.side, entry, exposure):
        return _too_risky_minimum(size, deferred) or deferred
    new = NewEntry(row.pair, at.side.sign, quantity, notional, signal.feed_id)
    if denial := flow_denial(row, new, recent, exposure.flow):
        return denial
    if budget and (denial := signal_denial(budget, quantity * at.entry)):
        return denial
    warning = correlation_warning(row, new, recent, exposure.flow)
    exposure.add(entry)
    exposure.flow.add(new)
    exposure.sides.add((row.pair, at.side))
    intent = _intent(row, signal, instrument, at, entry, size, rate, capabilities)
    notes = [*([f"scaled by {plain(scale)}"] if scale != ONE else []), *filter(None, [warning])]
    if notes:
        intent = replace(intent, warning=warning, detail="; ".join([intent.detail, *notes]))
    if signal.execution_style:
        return _first_slice(row, signal, instrument, intent, notes, volume)
    return intent


def next_slice(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    quote: QuoteRow,
    rate: Decimal,
    quantity: Decimal,
    capabilities: Capabilities,
) -> Decision:
    """Decide a slice of a plan that has begun, by the market alone. quantity: base units."""
    at = prices_of(row, signal, instrument, quote, capabilities)
    if at.worst is not None and not can_limit_price(capabilities):
        return Denial(Code.SLIPPAGE_NOT_KEPT, at.touch, at.worst)
    if denial := _market_denial(row, signal, instrument, quote, at, capabilities):
        return denial
    notional = quantity * at.entry * rate
    margin = risk.margin_of(notional, row.leverage, instrument.margin_rate)
    loss = at.sl and sizing.loss_per_unit(at.entry, at.sl, at.side.sign, rate)
    if loss is not None and loss <= 0:
        return Denial(Code.STOP_AT_ENTRY, at.entry, at.sl)
    held_sl, held_tp = _levels_at_broker(row, signal, instrument.tick, capabilities)
    return Intent(
        symbol=instrument.symbol,
        quantity=quantity,
        stop_loss=held_sl,
        take_profit=held_tp,
        expected_price=at.entry,
        pip=instrument.pip,
        rate=rate,
        margin=margin,
        risk=margin if loss is None else loss * quantity,
        worst_price=at.worst,
        detail=f"{plain(quantity)} at {plain(at.entry)}",
    )


def _first_slice(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    whole: Intent,
    notes: Sequence[str],
    volume: VolumeProfile | None,
) -> Intent:
    """Return the first slice of a plan for an entry that was sized and checked as a whole.

    notes: what the log says about the whole. volume: the profile of a VWAP; None: none is known.
    """
    step, minimum = instrument.quantity_step, instrument.quantity_min
    if row.position_mode == PositionMode.HEDGING:
        minimum = smallest_with_targets(minimum, step, signal.target_fractions)
    slices = plan_slices(
        quantity=whole.quantity,
        step=step,
        minimum=minimum,
        duration=signal.duration_seconds or 0,
        slices=signal.slice_count or 1,
        variation=signal.slice_variation or sizing.ZERO,
        seed=row.id,
        volume=volume,
    )
    days, volume_notes = None, list[str]()
    if signal.execution_style == ExecutionStyle.VWAP:
        days = len(volume.days) if volume else 0
        volume_notes = [f"by the volume of {days} days" if days else NO_VOLUME]
    first, asked = slices[0].quantity, signal.slice_count or 1
    fewer = f"; {asked} would be below the minimum of {plain(minimum)}"
    share = first / whole.quantity
    return replace(
        whole,
        quantity=first,
        margin=whole.margin and to_stored(whole.margin * share),
        risk=whole.risk and to_stored(whole.risk * share),
        unrounded_quantity=(whole.unrounded_quantity or whole.quantity) - whole.quantity + first,
        detail="; ".join(
            [
                f"{plain(first)} of {plain(whole.quantity)} in {len(slices)} slices, at "
                f"{plain(whole.expected_price)}{fewer if len(slices) < asked else ''}",
                *volume_notes,
                *notes,
            ]
        ),
        slices=slices,
        slice_step=step,
        slice_minimum=minimum,
        profile_days=days,
    )


def _market_denial(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    quote: QuoteRow,
    at: EntryPrices,
    capabilities: Capabilities,
) -> Denial | None:
    """Deny if the market does not allow the entry now."""
    return (
        deviation_denial(row, signal, at.touch)
        or spread_denial(row, signal, instrument, quote)
        or _limit_passed(signal, at)
        or price_error(row, signal, instrument, at)
        or price_reached(row, at, capabilities)
    )


def _limit_passed(signal: SignalRow, at: EntryPrices) -> Denial | None:
    """Deny a slice while the market is beyond the price limit of its plan."""
    limit = signal.price_limit
    if limit is None or (at.touch - limit) * at.side.sign <= 0:
        return None
    return Denial(Code.SLICE_PRICE_LIMIT, at.touch, limit)


def prices_of(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    quote: QuoteRow,
    capabilities: Capabilities,
) -> EntryPrices:
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
    if signal.price_limit is not None and can_limit_price(capabilities):
        bound = price_rounding.round_entry_price(signal.price_limit, tick, side, OrderType.LIMIT)
        worst = bound if worst is None else min(worst * side.sign, bound * side.sign) * side.sign
    return EntryPrices(side, touch, limit or stop or touch, limit, stop, sl, worst)


def _worst_price(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, touch: Decimal, side: Side
) -> Decimal | None:
    """Return the worst price of a market order: the slippage limit from the signal's price.

    A signal without a price counts from the touch. None: no limit, or not a market order.
    """
    limit = _max_slippage(row, signal, instrument, touch)
    if row.order_type != OrderType.MARKET or limit is None:
        return None
    worst = (_provider_price(row, signal) or touch) + limit.distance * side.sign
    return price_rounding.round_entry_price(worst, instrument.tick, side, OrderType.LIMIT)


def _provider_price(row: OrderRow, signal: SignalRow) -> Decimal | None:
    """Return the price that the provider saw; an order that was triggered has none."""
    return signal.open_price if signal.order_type == row.order_type else None


def price_error(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, at: EntryPrices
) -> Denial | None:
    """Deny if the market has moved beyond the slippage limit, or a level is passed or too near."""
    limit = _max_slippage(row, signal, instrument, at.touch)
    seen = _provider_price(row, signal)
    if row.order_type == OrderType.MARKET and seen and limit is not None:
        moved = (at.touch - seen) * at.side.sign
        if moved > limit.distance:
            return Denial(
                Code.SLIPPAGE_LIMIT,
                rounded_apart(moved / limit.size, limit.maximum),
                limit.maximum,
                limit.unit.word,
                limit=Limit("Slippage", limit.unit.word),
            )
    for target in signal.target_prices:
        if (target - at.entry) * at.side.sign <= 0:  # the market has passed it already
            return Denial(Code.TARGET_WRONG_SIDE, target, at.entry)
    for level in (at.sl, *signal.target_prices):
        if level is not None and abs(at.entry - level) < instrument.stops_level:
            return Denial(Code.STOP_TOO_NEAR, abs(at.entry - level), instrument.stops_level)
    return None


def price_reached(row: OrderRow, at: EntryPrices, capabilities: Capabilities) -> Denial | None:
    """Deny if the market has reached the order's own price and the broker refuses such orders."""
    order_type, refused = ORDER_TYPES.get(row.order_type), capabilities.refuses_reached
    if order_type is OrderType.STOP_LIMIT and (denial := _limit_beyond_stop(row, at, refused)):
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


def _limit_beyond_stop(
    row: OrderRow, at: EntryPrices, refused: frozenset[OrderType]
) -> Denial | None:
    """Deny a stop-limit order whose limit the market has reached once it is at the stop price.

    A broker that refuses such limit orders places this one at that moment, and refuses it too.
    """
    if OrderType.LIMIT not in refused:
        return None
    if at.limit is None or at.stop is None or (at.limit - at.stop) * at.side.sign < 0:
        return None
    detail = f"{row.side} stop {plain(at.stop)}, limit {plain(at.limit)}"
    return Denial(Code.LIMIT_BEYOND_STOP, at.limit, at.stop, detail)


def _size(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    unit_value: Decimal,
    loss: Decimal | None,
    provider: sizing.ProviderFigures,
    scale: Decimal,
) -> sizing.Size | Denial:
    return sizing.size(
        sizing=_sizing_of(row, signal, scale),
        account=sizing.Account(row.balance, _equity_of(row)),
        unit_value=unit_value,
        stop_loss_per_unit=loss,
        limits=sizing.QuantityLimits(
            instrument.quantity_min, instrument.quantity_step, instrument.quantity_max
        ),
        provider=provider,
    )


def _too_risky_minimum(size: sizing.Size, denial: Denial | Deferred) -> Denial | None:
    """Deny a minimum that would risk too much with the code of a size below the minimum."""
    if not (size.is_minimum and isinstance(denial, Denial) and denial.code is Code.TRADE_RISK):
        return None
    detail = (
        f"The minimum would risk {plain(denial.value)} % of equity; the preset allows "
        f"{plain(denial.maximum)} %"
    )
    return Denial(
        Code.QUANTITY_BELOW_MINIMUM, size.unrounded, size.quantity, detail, size.unrounded
    )


def check_limits(
    row: OrderRow, side: Side, quantity: risk.Entry, exposure: risk.PortfolioExposure
) -> Denial | Deferred | None:
    """Deny an entry that would close what another signal opened, or that breaks a limit.

    While the opposite position is being closed (a strategy reverses) the entry waits instead: the
    account cannot hold both, or its limits do not allow both.
    """
    opposite, nets = (row.pair, side.opposite), row.position_mode == PositionMode.NETTING
    if nets and opposite in exposure.sides:
        return Denial(Code.NETTING_OPPOSITE, detail=row.pair)
    denial = risk.check(quantity, exposure, limits_of(row), funds_of(row))
    if opposite in exposure.closing and (nets or denial):
        return Deferred(Code.OPPOSITE_CLOSING, detail=row.pair)
    return denial


def _intent(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    at: EntryPrices,
    entry: risk.Entry,
    size: sizing.Size,
    rate: Decimal,
    capabilities: Capabilities,
) -> Intent:
    held_sl, held_tp = _levels_at_broker(row, signal, instrument.tick, capabilities)
    return Intent(
        symbol=instrument.symbol,
        quantity=entry.quantity,
        expected_price=at.entry,
        pip=instrument.pip,
        rate=rate,
        limit_price=at.limit,
        stop_price=at.stop,
        stop_loss=held_sl,
        take_profit=held_tp,
        margin=entry.margin,
        risk=entry.risk,
        worst_price=at.worst,
        unrounded_quantity=size.unrounded,
        expires_at=signal.valid_until if row.time_in_force == TimeInForce.GTD else None,
        detail=f"{plain(entry.quantity)} at {plain(at.entry)}{_raised(size)}",
    )


def _raised(size: sizing.Size) -> str:
    return f", the minimum; {plain(size.unrounded)} was calculated" if size.is_minimum else ""


def _levels_at_broker(
    row: OrderRow, signal: SignalRow, tick: Decimal, capabilities: Capabilities
) -> tuple[Decimal | None, Decimal | None]:
    """Return the stop-loss and take-profit that the broker guards; the engine guards the others.

    A broker holds one target for a whole position, so the engine guards several targets. If
    positions are netted and levels belong to the position, one signal's stop would close the others
    too (docs/adr/0011): the engine guards both levels, and those of a position that slices add to.
    On a hedging account each slice has its own position, and levels (docs/adr/0031).
    """
    if not (capabilities.native_stops and row.broker_holds_stops):
        return None, None
    if signal.execution_style and row.position_mode != PositionMode.HEDGING:
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
        (row.max_slippage_pips, row.slippage_unit),
        (row.own_max_slippage, row.own_slippage_unit),
    ):
        if value is not None:
            unit = slippage_unit(row.pair, unit_name or "")
            price, tick = signal.open_price or touch, instrument.tick
            size = size_of(unit, price=price, pip=instrument.pip, tick=tick)
            limits.append(_Slippage(value * size, value, unit, size))
    return min(limits, key=lambda limit: limit.distance, default=None)


def _sizing_of(row: OrderRow, signal: SignalRow, scale: Decimal) -> sizing.Sizing:
    if row.requested_quantity is not None:  # by hand
        return sizing.Sizing(SizingMode.FIXED, ONE, fixed_quantity=row.requested_quantity)
    multiplier = sizing.multiplier_of(row, signal.risk_category, row.subscription_multiplier)
    return sizing.Sizing(
        mode=row.sizing_mode,
        multiplier=multiplier * scale,
        fixed_quantity=row.fixed_quantity,
        per_balance=row.per_balance,
        percent_of_balance=row.percent_of_balance,
        percent_of_equity=row.percent_of_equity,
        fixed_amount=row.fixed_amount,
        risk_amount=row.risk_amount,
        risk_percent=sizing.risk_percent_of(row, signal.risk_category),
        allow_minimum=row.allow_minimum_quantity,
    )


def limits_of(row: OrderRow) -> risk.Limits:
    return risk.Limits(
        row.max_quantity,
        row.max_open_positions,
        row.max_leverage,
        row.max_portfolio_risk_percent,
        row.max_trade_risk_percent,
        row.max_symbol_exposure_percent,
        row.max_open_orders,
    )


def _equity_of(row: OrderRow) -> Decimal:
    assert row.equity is not None  # `evaluate.decide_entry` denies an account that was never read
    return row.equity


def funds_of(row: OrderRow) -> risk.AccountFunds:
    return risk.AccountFunds(_equity_of(row), row.free_margin, row.leverage)
