"""Decide a change of an entry's terms or levels. `decide_change` is pure.

A change that raises what the entry may lose or bind runs the limits of an entry; one that lowers it
is never stopped by a limit. An order that its broker does not have yet only needs valid values: all
else is checked when it is sent.
"""

from dataclasses import replace
from decimal import Decimal

from brokers.price_rounding import round_entry_price, round_level_price
from brokers.registry import capabilities_of
from brokers.types import OrderField, OrderType
from common.db.sql import array, rows
from common.figure_names import BASE_UNIT, Bound, Limit
from common.money import plain
from common.reason_codes import Code
from connections.selectors import spec_without_credentials
from execution.base.kill_switch import read_halts
from execution.models import Order
from execution.submission import claim_sql, limits
from execution.submission.bundle_evaluation import (
    halted_pairs,
    load_account_context,
    load_evaluation_context,
)
from execution.submission.change_limits import (
    ChangeContext,
    ChangedOrder,
    as_denial,
    weighed,
)
from execution.submission.change_terms import AllowedChange, OrderSums, WantedTerms
from execution.submission.eligibility import find_instrument
from execution.submission.entry_prices import stop_passed
from execution.submission.limit_lists import Subject
from execution.submission.market_limits import level_deviation_denial
from execution.submission.order_levels import level_denial, with_own_levels
from execution.submission.order_loading import load_orders
from execution.submission.outcomes import EvaluationContext, touch_price
from execution.submission.quotes import missing_price
from execution.submission.risk import PortfolioExposure
from execution.submission.rows import InstrumentRow, OrderRow
from execution.submission.signal_limits import SignalTotals, lock_signal_totals
from execution.submission.sizing import ZERO, Denial

LOCK_CONNECTION = (
    "SELECT connection_id FROM connections_connectionlock WHERE connection_id = %s"
    " FOR NO KEY UPDATE"
)


def lock_before_order(order: Order) -> SignalTotals:
    """Lock what a claim locks before it locks orders: the connection, then the signal's total."""
    rows(LOCK_CONNECTION, (order.connection_id,))
    ids = [] if order.signal_id is None else [order.signal_id]
    return lock_signal_totals(rows(claim_sql.SIGNALS, (array(ids),)))


def evaluate_change(
    order: Order, wanted: WantedTerms, totals: SignalTotals
) -> AllowedChange | Denial:
    """Decide a change of an order that is locked, after `lock_before_order`."""
    [row] = load_orders([order.pk])
    signals = rows(claim_sql.SIGNALS, ([row.signal_id],))
    context = load_evaluation_context([row], {signal.id: signal for signal in signals}, totals)
    spec = spec_without_credentials(row)
    accounts = load_account_context(
        [row], {row.connection_id: spec}, {}, capabilities_of=capabilities_of
    )
    halt = read_halts().mode(
        owner_id=row.owner_id,
        feed_id=signals[0].feed_id,
        connection_id=row.connection_id,
        broker_type=row.type,
        pairs=halted_pairs(row),
    )
    return decide_change(
        row,
        wanted,
        OrderSums.of(order),
        ChangeContext(
            context,
            accounts.exposures.get(row.connection_id, PortfolioExposure()),
            halt,
            capabilities_of(row.type, spec),
        ),
    )


def decide_change(
    row: OrderRow, wanted: WantedTerms, own: OrderSums, context: ChangeContext
) -> AllowedChange | Denial:
    """Return the change with rounded prices, or why it cannot be made. Pure."""
    signal = context.evaluation.signal_of(row)
    instrument = _instrument(row, own, context.evaluation)
    if instrument is None:
        return Denial(Code.SYMBOL_NOT_AT_BROKER, detail=f"{row.pair} on {row.instrument_book}")
    order = ChangedOrder(row, signal, instrument, own, context)
    new = _with_levels(order, wanted, _rounded(order, wanted))
    changed = _changed_fields(order, new)
    if not changed and not new.is_ours:
        return Denial(Code.NOTHING_TO_CHANGE)
    order = order._replace(signal=with_own_levels(signal, new.stop_loss, new.take_profit))
    if denial := _terms_denial(order, new, changed):
        return denial
    if not own.is_sent:
        return new
    if not changed and not new.moves_levels:
        return replace(new, margin=own.margin, risk=own.risk)
    return weighed(order, new)


def _instrument(row: OrderRow, own: OrderSums, context: EvaluationContext) -> InstrumentRow | None:
    if own.is_sent:
        return context.instruments.get((row.instrument_book, row.symbol))
    return find_instrument(row, context)


def _rounded(order: ChangedOrder, wanted: WantedTerms) -> AllowedChange:
    """Return all terms with what is wanted; its prices rounded to the instrument's ticks."""
    row, tick = order.row, order.instrument.grid
    limit, stop = wanted.limit_price, wanted.stop_price
    return AllowedChange(
        quantity=_present_quantity(order) if wanted.quantity is None else wanted.quantity,
        limit_price=row.limit_price
        if limit is None
        else round_entry_price(limit, tick, order.side, OrderType.LIMIT),
        stop_price=row.stop_price
        if stop is None
        else round_entry_price(stop, tick, order.side, OrderType.STOP),
    )


def _present_quantity(order: ChangedOrder) -> Decimal | None:
    return order.row.quantity if order.own.is_sent else order.row.requested_quantity


def _with_levels(order: ChangedOrder, wanted: WantedTerms, new: AllowedChange) -> AllowedChange:
    """Return the change with the entry's end and levels, rounded to the instrument's ticks."""
    row, signal, tick = order.row, order.signal, order.instrument.grid
    stop, target = (
        value if level is None else round_level_price(level, tick, order.side)
        for level, value in (
            (wanted.stop_loss, row.own_stop_loss), (wanted.take_profit, row.own_take_profit),
        )
    )  # fmt: skip
    return replace(
        new,
        stop_loss=stop,
        take_profit=target,
        old_stop_loss=signal.sl,
        old_take_profit=signal.target_prices[0] if signal.target_prices else None,
        valid_until=wanted.valid_until if wanted.valid_until != signal.valid_until else None,
        old_valid_until=signal.valid_until,
    )


def _changed_fields(order: ChangedOrder, new: AllowedChange) -> set[OrderField]:
    """Return which of the broker's fields change."""
    changed = set()
    if new.quantity != _present_quantity(order):
        changed.add(OrderField.QUANTITY)
    if (new.limit_price, new.stop_price) != (order.row.limit_price, order.row.stop_price):
        changed.add(OrderField.PRICE)
    return changed


def _terms_denial(
    order: ChangedOrder, new: AllowedChange, changed: set[OrderField]
) -> Denial | None:
    """Deny terms that the broker cannot change, or values that are not valid."""
    own, capabilities = order.own, order.context.capabilities
    if own.is_sent and (missing := changed - capabilities.changes_orders):
        detail = f"its broker cannot change its {' or '.join(sorted(missing)).lower()}"
        return Denial(Code.CHANGE_UNSUPPORTED, detail=detail)
    if OrderField.QUANTITY in changed and (
        denial := _quantity_denial(new.quantity or ZERO, own, order.instrument)
    ):
        return denial
    if new.moves_levels and (denial := _level_denial(order, new)):
        return denial
    return _price_denial(order, new) if OrderField.PRICE in changed else None


def _quantity_denial(quantity: Decimal, own: OrderSums, instrument: InstrumentRow) -> Denial | None:
    """Deny a quantity that is not above what has filled, or that the broker does not take."""
    if quantity <= own.filled:
        return Denial(Code.CHANGE_BELOW_FILLED, quantity, own.filled)
    if quantity < instrument.quantity_min:
        return Denial(Code.QUANTITY_BELOW_MINIMUM, quantity, instrument.quantity_min)
    if quantity > instrument.quantity_max:
        return Denial(Code.VOLUME_INVALID, quantity, instrument.quantity_max, "above the maximum")
    if instrument.quantity_step and quantity % instrument.quantity_step:
        detail = f"not a multiple of {plain(instrument.quantity_step)}"
        step = Limit("Quantity", BASE_UNIT, Bound.COMPARED_WITH, "step")
        return Denial(Code.VOLUME_INVALID, quantity, instrument.quantity_step, detail, limit=step)
    return None


def _level_denial(order: ChangedOrder, new: AllowedChange) -> Denial | None:
    """Deny levels that do not fit the entry; without a price of its own, the market's counts."""
    entries = [price for price in (new.limit_price, new.stop_price) if price is not None]
    unlikely = None
    if order.quote is not None and order.quote.is_fresh:
        touch = touch_price(order.quote, order.side)
        entries = entries or [touch]
        unlikely = level_deviation_denial(order.row, order.signal, touch)
    return level_denial(order.signal, order.side, entries, order.instrument) or unlikely


def _price_denial(order: ChangedOrder, new: AllowedChange) -> Denial | None:
    """Deny a price that is not plausible, passed by a level, or refused by the broker.

    Without a fresh price an order that is not sent yet is checked when it is.
    """
    quote = order.quote
    if quote is None or not quote.is_fresh:
        return missing_price(order.row, order.context.evaluation) if order.own.is_sent else None
    row = order.row._replace(limit_price=new.limit_price, stop_price=new.stop_price)
    signal = order.signal._replace(open_price=new.limit_price or new.stop_price)
    entry = order._replace(row=row, signal=signal).priced(quote)
    return stop_passed(entry) or as_denial(limits.PRICE.first_broken(Subject.PRICE_CHANGE, entry))
