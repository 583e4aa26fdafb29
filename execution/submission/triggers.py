"""Entries that the engine holds because their broker lacks the type: when they are sent. Pure.

A trailing stop is also held where its broker's own order could not do the same. Any other one that
its broker takes is sent at once, with its distance.

The order waits until its trigger fires (`monitoring/trigger_monitor.py`). It then has the type that
is sent and is decided like any other order: by the price, limits and halts of that moment.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from brokers import price_rounding
from brokers.account_capabilities import Capabilities
from brokers.types import OrderType as SentType
from brokers.types import TimeInForce
from common.clocks import machine_seconds_until
from common.money import plain
from common.reason_codes import Code
from execution.models import TriggerKind
from execution.submission.market_limits import activation_denial
from execution.submission.outcomes import SIDES, Atr, MovedTrail, Trigger, touch_price
from execution.submission.rows import InstrumentRow, OrderRow, QuoteRow, SignalRow
from execution.submission.sizing import HUNDRED, Denial
from prices.indicators import CANDLES
from prices.ranges import stop_price_of
from signals.models import OrderType

# By type of entry: what fires it, and the type that is then sent.
HELD_AS = {
    OrderType.LIMIT.value: (TriggerKind.IF_TOUCHED, SentType.LIMIT),  # of an OCO pair only
    OrderType.STOP.value: (TriggerKind.STOP, SentType.MARKET),
    OrderType.STOP_LIMIT.value: (TriggerKind.STOP, SentType.LIMIT),
    OrderType.IF_TOUCHED.value: (TriggerKind.IF_TOUCHED, SentType.MARKET),
    OrderType.TRAILING_STOP.value: (TriggerKind.TRAILING, SentType.MARKET),
}
# The engine ends the order itself, so its broker need not know them.
HELD_TIMES = frozenset({TimeInForce.GTC, TimeInForce.GTD})
AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})  # for the order that is sent
AGAIN_SECONDS = 3600.0  # a held order is looked at so often; its trigger does not wait for it


def is_emulated(order_type: str, capabilities: Capabilities, *, always: bool = False) -> bool:
    """Return whether the engine holds entries of this type for an account.

    It does if the broker does not take the type, and takes the one that is sent. always: also if
    the broker takes the type.
    """
    if order_type not in HELD_AS:
        return False
    if not always and order_type in capabilities.order_types:
        return False
    return HELD_AS[order_type][1] in capabilities.order_types


def must_be_held(row: OrderRow, signal: SignalRow) -> bool:
    """Return whether the engine holds an entry on every account, by what the signal wants.

    It holds the legs of an OCO pair, and trailing stops of which a broker's own order would not
    keep a part: they begin to follow at once, and are filled at any price.
    """
    if row.is_held_leg:
        return True
    if row.order_type != OrderType.TRAILING_STOP:
        return False
    slippage = (
        signal.max_slippage_pips,
        row.terms.limits.max_slippage_pips,
        row.terms.own_max_slippage,
    )
    return signal.activation_price is not None or any(limit is not None for limit in slippage)


def has_level_at_start(signal: SignalRow, trigger: Trigger) -> bool:
    """Return whether a stop loss or target is on the wrong side of where a trailing stop begins.

    Until it is triggered the price may have moved to the right side, so the engine holds the entry,
    and the level is checked then.
    """
    start, sign = trigger.level, trigger.side.sign
    if start is None:
        return False
    is_stop_passed = signal.sl is not None and (start - signal.sl) * sign <= 0
    return is_stop_passed or any((price - start) * sign <= 0 for price in signal.target_prices)


def at_broker(trigger: Trigger, instrument: InstrumentRow) -> Trigger:
    """Return a trailing stop as its broker gets it. Its distance is in whole ticks already.

    Its first stop price is rounded away from the market.
    """
    assert trigger.level is not None
    tick = instrument.grid
    level = price_rounding.round_entry_price(trigger.level, tick, trigger.side, SentType.STOP)
    return replace(trigger, level=level, is_held=False)


def time_in_force_denial(time_in_force: str, capabilities: Capabilities) -> Denial | None:
    """Deny a time in force that an emulated order cannot have."""
    if time_in_force in HELD_TIMES:
        return None
    if time_in_force in AT_ONCE and time_in_force in capabilities.times_in_force:
        return None
    return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=time_in_force)


def trigger_of(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    quote: QuoteRow,
    atr: Atr | None = None,
) -> Trigger | Denial:
    """Return the trigger of an entry that the engine holds, or why it cannot be armed.

    atr: of the pair, if a trailing stop's distance is in ATR.
    """
    kind, sent_as = HELD_AS[row.order_type]
    side = SIDES[row.side]
    about = kind, sent_as, row.data_connection_id or 0, row.pair, side, row.order_type
    if kind is not TriggerKind.TRAILING:
        is_limit = row.order_type == OrderType.LIMIT
        return Trigger(*about, level=row.limit_price if is_limit else row.stop_price)
    touch, activation = touch_price(quote, side), signal.activation_price
    if activation is not None and (activation - touch) * side.sign >= 0:
        detail = f"activation_price {plain(activation)}, and the market is at {plain(touch)}"
        return Denial(Code.ACTIVATION_REACHED, touch, activation, detail)
    if unlikely := activation_denial(row, activation, touch):
        return unlikely
    start = touch if activation is None else activation
    if signal.trail_atr is not None and (atr is None or not atr.value):
        known = f": {atr.candles} of {CANDLES} candles of {atr.minutes} min" if atr else ""
        return Denial(Code.ATR_UNKNOWN, detail=row.pair + known)
    exact, tick = _distance(signal, instrument, start, atr), smallest_step(instrument, start)
    if exact is not None and exact < tick and signal.trail_atr is None:
        detail = f"{plain(exact)}, and its tick is {plain(tick)}"
        return Denial(Code.DISTANCE_BELOW_TICK, exact, tick, detail)
    distance = exact and price_rounding.round_distance(exact, tick)
    if distance is None or distance >= start:
        detail = f"{plain(distance)} from {plain(start)}" if distance else row.order_type
        return Denial(Code.TRAIL_TOO_WIDE, distance, start, detail)
    level = stop_price_of(side, touch, distance) if activation is None else None
    return Trigger(*about, level=level, distance=distance, activation_price=activation)


def on_other_source(row: OrderRow, trail: MovedTrail, quote: QuoteRow) -> Trigger | None:
    """Return an armed trailing stop as it goes on by the prices of another source.

    Its distance stays. It begins again from the market there, if it was active or the market is at
    its activation price; what it followed before were prices of the other source. None: it cannot
    follow there, because the distance is more than the price.
    """
    kind, sent_as = HELD_AS[row.order_type]
    side, start, touch = (
        SIDES[row.side],
        trail.activation_price,
        touch_price(quote, SIDES[row.side]),
    )
    if trail.distance >= touch:
        return None
    is_active = trail.is_active or start is None or (start - touch) * side.sign >= 0
    return Trigger(
        kind, sent_as, row.data_connection_id or 0, row.pair, side, row.order_type,
        level=stop_price_of(side, touch, trail.distance) if is_active else None,
        distance=trail.distance, activation_price=start,
    )  # fmt: skip


def _distance(
    signal: SignalRow, instrument: InstrumentRow, start: Decimal, atr: Atr | None
) -> Decimal | None:
    """Return how far a trailing stop is to follow, in quote currency; None: not known.

    start: the price it begins at.
    """
    if signal.trail_distance is not None:
        return signal.trail_distance
    if signal.trail_pips is not None:
        return signal.trail_pips * instrument.pip
    if signal.trail_percent is not None:
        return signal.trail_percent * start / HUNDRED
    if signal.trail_atr is not None and atr and atr.value:
        return signal.trail_atr * atr.value
    return None


def smallest_step(instrument: InstrumentRow, price: Decimal) -> Decimal:
    """Return the tick of an instrument at a price; a tenth of its pip if its broker states none."""
    return price_rounding.step_at(price, instrument.grid) or instrument.pip / 10


def is_held(row: OrderRow) -> bool:
    """Return whether the engine holds this order: it was armed, and its trigger has not fired."""
    return row.reason == Code.AWAITING_TRIGGER and row.order_type in HELD_AS


def seconds_until_looked_at(valid_until: datetime | None) -> float:
    """Return after how many seconds a held order is looked at: no later than it expires.

    valid_until: market time.
    """
    if valid_until is None:
        return AGAIN_SECONDS
    return min(AGAIN_SECONDS, max(0.2, machine_seconds_until(valid_until) + 0.1))
