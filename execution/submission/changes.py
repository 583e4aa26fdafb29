"""Decide a change of an entry's terms or levels. `decide_change` is pure.

A change that raises what the entry may lose or bind runs the limits of an entry; one that lowers it
is never stopped by a limit. An order that its broker does not have yet only needs valid values: all
else is checked when it is sent.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from brokers.account_capabilities import Capabilities
from brokers.price_rounding import round_entry_price, round_level_price
from brokers.registry import capabilities_of
from brokers.types import OrderField, OrderType
from common.limit_figures import BASE_UNIT, Bound, Limit
from common.money import plain, to_stored
from common.reason_codes import Code
from common.sql import array, rows
from connections.models import HaltMode
from connections.selectors import spec_without_credentials
from execution.base.kill_switch import read_halts
from execution.models import Order, Status
from execution.submission import claim_sql, risk, sizing
from execution.submission.bundle_evaluation import (
    halted_pairs,
    load_account_context,
    load_evaluation_context,
)
from execution.submission.entry import (
    check_limits,
    funds_of,
    limits_of,
    price_error,
    price_reached,
    prices_of,
)
from execution.submission.evaluate import (
    QUOTE_MAX_AGE_SECONDS,
    cannot_trade,
    find_instrument,
    missing_price,
    pause_denial,
    signal_budget_of,
)
from execution.submission.flow_limits import NOTHING_SENT, NewEntry, growth_denial
from execution.submission.market_limits import (
    deviation_denial,
    hours_denial,
    market_hours_denial,
    spread_denial,
    symbol_denial,
)
from execution.submission.order_levels import level_denial, with_own_levels
from execution.submission.outcomes import SIDES, Deferred, EvaluationContext, touch_price
from execution.submission.risk import PortfolioExposure
from execution.submission.rows import InstrumentRow, OrderRow, SignalRow
from execution.submission.signal_limits import SignalTotals, lock_signal_totals, signal_denial
from execution.submission.sizing import ZERO, Denial

LOCK_CONNECTION = (
    "SELECT connection_id FROM connections_connectionlock WHERE connection_id = %s"
    " FOR NO KEY UPDATE"
)


@dataclass(frozen=True, slots=True)
class WantedTerms:
    """What a person wants to change; None: it stays. quantity: base units, all of the order.

    stop_loss, take_profit: of the coming position; take_profit is its first target. valid_until:
    market time at which the order ends. These three are ours, and the others the broker's.
    """

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    valid_until: datetime | None = None

    @property
    def ours(self) -> "WantedTerms":
        """What needs no call at the broker: the levels and the end."""
        return replace(self, quantity=None, limit_price=None, stop_price=None)

    @property
    def terms(self) -> "WantedTerms":
        """What the broker has."""
        return replace(self, stop_loss=None, take_profit=None, valid_until=None)

    @property
    def has_levels(self) -> bool:
        """Whether a level is among them."""
        return self.stop_loss is not None or self.take_profit is not None


@dataclass(frozen=True, slots=True)
class OrderSums:
    """What an order counts now: what has filled, its price and rate, margin and risk.

    filled: base units; expected_price: quote currency; margin, risk: account currency, of the whole
    order. is_sent: its broker has it.
    """

    filled: Decimal = ZERO
    expected_price: Decimal = ZERO
    rate: Decimal = ZERO
    margin: Decimal = ZERO
    risk: Decimal = ZERO
    is_sent: bool = False

    @classmethod
    def of(cls, order: Order) -> "OrderSums":
        """Return those of a stored order."""
        return cls(
            order.filled_quantity,
            order.expected_price or ZERO,
            order.conversion_rate or ZERO,
            order.margin or ZERO,
            order.risk or ZERO,
            order.status != Status.PENDING,
        )


@dataclass(frozen=True, slots=True)
class AllowedChange:
    """A change that may be made. Prices are rounded; margin, risk: of the whole order.

    quantity: None for an order that has none yet. raises_risk: it was checked as an entry is.
    stop_loss, take_profit: the entry's own; None: the signal's. valid_until: None: it stays.
    old_*: what counted before.
    """

    quantity: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    margin: Decimal | None = None
    risk: Decimal | None = None
    raises_risk: bool = False
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    old_stop_loss: Decimal | None = None
    old_take_profit: Decimal | None = None
    valid_until: datetime | None = None
    old_valid_until: datetime | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is about levels or the end, and so is done at once."""
        return self.moves_levels or self.valid_until is not None

    @property
    def moves_levels(self) -> bool:
        """Whether the coming position gets another stop or target."""
        levels = ((self.stop_loss, self.old_stop_loss), (self.take_profit, self.old_take_profit))
        return any(new not in (None, old) for new, old in levels)


@dataclass(frozen=True, slots=True)
class ChangeContext:
    """What a change is decided by, beside the order. halt: the mode of the kill switch."""

    evaluation: EvaluationContext
    exposure: PortfolioExposure
    halt: str | None
    capabilities: Capabilities


def lock_before_order(order: Order) -> SignalTotals:
    """Lock what a claim locks before it locks orders: the connection, then the signal's total."""
    rows(LOCK_CONNECTION, (order.connection_id,))
    ids = [] if order.signal_id is None else [order.signal_id]
    return lock_signal_totals(rows(claim_sql.SIGNALS, (array(ids),)))


def evaluate_change(
    order: Order, wanted: WantedTerms, totals: SignalTotals
) -> AllowedChange | Denial:
    """Decide a change of an order that is locked, after `lock_before_order`."""
    [row] = rows(claim_sql.LOAD, ([order.pk],))
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
    new = _with_levels(row, wanted, signal, instrument, _rounded(row, wanted, instrument, own))
    old_quantity = row.quantity if own.is_sent else row.requested_quantity
    changed = set()
    if new.quantity != old_quantity:
        changed.add(OrderField.QUANTITY)
    if (new.limit_price, new.stop_price) != (row.limit_price, row.stop_price):
        changed.add(OrderField.PRICE)
    if not changed and not new.is_ours:
        return Denial(Code.NOTHING_TO_CHANGE)
    if own.is_sent and (missing := changed - context.capabilities.changes_orders):
        detail = f"its broker cannot change its {' or '.join(sorted(missing)).lower()}"
        return Denial(Code.CHANGE_UNSUPPORTED, detail=detail)
    if OrderField.QUANTITY in changed and (
        denial := _quantity_denial(new.quantity or ZERO, own, instrument)
    ):
        return denial
    signal = with_own_levels(signal, new.stop_loss, new.take_profit)
    if new.moves_levels and (denial := _level_denial(row, signal, new, instrument, context)):
        return denial
    if OrderField.PRICE in changed and (
        denial := _price_denial(row, signal, new, own, instrument, context)
    ):
        return denial
    if not own.is_sent:
        return new
    if not changed and not new.moves_levels:
        return replace(new, margin=own.margin, risk=own.risk)
    return _weighed(row, signal, new, own, instrument, context)


def _instrument(row: OrderRow, own: OrderSums, context: EvaluationContext) -> InstrumentRow | None:
    if own.is_sent:
        return context.instruments.get((row.instrument_book, row.symbol))
    return find_instrument(row, context)


def _rounded(
    row: OrderRow, wanted: WantedTerms, instrument: InstrumentRow, own: OrderSums
) -> AllowedChange:
    """Return all terms with what is wanted; its prices rounded to the instrument's ticks."""
    side, tick = SIDES[row.side], instrument.tick
    limit, stop = wanted.limit_price, wanted.stop_price
    present = row.quantity if own.is_sent else row.requested_quantity
    return AllowedChange(
        quantity=present if wanted.quantity is None else wanted.quantity,
        limit_price=row.limit_price
        if limit is None
        else round_entry_price(limit, tick, side, OrderType.LIMIT),
        stop_price=row.stop_price
        if stop is None
        else round_entry_price(stop, tick, side, OrderType.STOP),
    )


def _with_levels(
    row: OrderRow,
    wanted: WantedTerms,
    signal: SignalRow,
    instrument: InstrumentRow,
    new: AllowedChange,
) -> AllowedChange:
    """Return the change with the entry's end and levels, rounded to the instrument's ticks."""
    stop, target = (
        value if level is None else round_level_price(level, instrument.tick, SIDES[row.side])
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


def _level_denial(
    row: OrderRow,
    signal: SignalRow,
    new: AllowedChange,
    instrument: InstrumentRow,
    context: ChangeContext,
) -> Denial | None:
    """Deny levels that do not fit the entry; without a price of its own, the market's counts."""
    entries = [price for price in (new.limit_price, new.stop_price) if price is not None]
    quote = context.evaluation.quotes_of(row).get(row.pair)
    if not entries and quote is not None and quote.age <= QUOTE_MAX_AGE_SECONDS:
        entries = [touch_price(quote, SIDES[row.side])]
    return level_denial(signal, SIDES[row.side], entries, instrument)


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


def _price_denial(
    row: OrderRow,
    signal: SignalRow,
    new: AllowedChange,
    own: OrderSums,
    instrument: InstrumentRow,
    context: ChangeContext,
) -> Denial | None:
    """Deny a price that is not plausible, passed by a level, or refused by the broker.

    Without a fresh price an order that is not sent yet is checked when it is.
    """
    evaluation = context.evaluation
    quote = evaluation.quotes_of(row).get(row.pair)
    if quote is None or quote.age > QUOTE_MAX_AGE_SECONDS:
        return missing_price(row, evaluation) if own.is_sent else None
    row = row._replace(limit_price=new.limit_price, stop_price=new.stop_price)
    signal = signal._replace(open_price=new.limit_price or new.stop_price)
    at = prices_of(row, signal, instrument, quote, context.capabilities)
    for price in (at.entry, at.stop):
        if price is not None and at.sl is not None and (price - at.sl) * at.side.sign <= 0:
            return Denial(Code.STOP_AT_ENTRY, price, at.sl)
    return (
        deviation_denial(row, signal, at.touch)
        or price_error(row, signal, instrument, at)
        or price_reached(row, at, context.capabilities)
    )


def _weighed(
    row: OrderRow,
    signal: SignalRow,
    new: AllowedChange,
    own: OrderSums,
    instrument: InstrumentRow,
    context: ChangeContext,
) -> AllowedChange | Denial:
    """Return the change with its margin and risk; deny one that raises them beyond a limit.

    By the conversion rate that the order was sent with, so that only the change counts.
    """
    quantity, entry = new.quantity or ZERO, new.limit_price or new.stop_price or own.expected_price
    worth, old_worth = quantity * entry, row.quantity * own.expected_price
    margin = own.margin * worth / old_worth if own.margin and old_worth else ZERO
    if worth == old_worth:  # exactly: only the levels change
        margin = own.margin
    if not own.margin:
        margin = risk.margin_of(worth * own.rate, row.leverage, instrument.margin_rate)
    sl = signal.sl and round_level_price(signal.sl, instrument.tick, SIDES[row.side])
    loss = sizing.loss_per_unit(entry, sl, SIDES[row.side].sign, own.rate) if sl else None
    at_risk = margin if loss is None else loss * quantity
    raises = quantity > row.quantity or margin > own.margin or at_risk > own.risk
    weighed = replace(new, margin=to_stored(margin), risk=to_stored(at_risk), raises_risk=raises)
    if not raises:
        return weighed
    return (
        _market_denial(row, signal, instrument, context)
        or _limit_denial(row, signal, weighed, own, entry, context)
        or weighed
    )


def _market_denial(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, context: ChangeContext
) -> Denial | None:
    """Deny a change while its market is closed or its spread is too wide for an entry."""
    evaluation = context.evaluation
    quote = evaluation.quotes_of(row).get(row.pair)
    closed = market_hours_denial(row, instrument, evaluation.now)
    if closed or quote is None:  # without a price, the check of the price has decided
        return closed
    return spread_denial(row, signal, instrument, quote)


def _limit_denial(
    row: OrderRow,
    signal: SignalRow,
    new: AllowedChange,
    own: OrderSums,
    entry: Decimal,
    context: ChangeContext,
) -> Denial | None:
    """Deny a change that no entry of its kind would pass now: halts, pauses and limits."""
    if context.halt is not None:
        halted = context.halt == HaltMode.HALTED
        return Denial(Code.TRADING_HALTED if halted else Code.ENTRIES_HALTED)
    if row.pause_code:
        return pause_denial(row)
    blocked = cannot_trade(row, signal, context.capabilities) or symbol_denial(row)
    if blocked := blocked or hours_denial(row, context.evaluation.now):
        return blocked
    quantity, side = new.quantity or ZERO, SIDES[row.side]
    share = (quantity - own.filled) / quantity
    rest = risk.Entry(
        quantity,
        (quantity - own.filled) * entry * own.rate,
        (new.margin or ZERO) * share,
        (new.risk or ZERO) * share,
        row.pair,
    )
    others = _without(context.exposure, row, own)
    denial = check_limits(row, side, rest, others)
    if isinstance(denial, Deferred):
        return Denial(denial.code, detail=denial.detail)
    denial = denial or risk.trade_risk_denial(new.risk or ZERO, limits_of(row), funds_of(row))
    if denial:
        return denial
    grown = max(quantity - row.quantity, ZERO)
    added_worth = max(quantity * entry - row.quantity * own.expected_price, ZERO)
    added = NewEntry(row.pair, side.sign, grown, added_worth * own.rate, signal.feed_id)
    recent = context.evaluation.recent.get(row.id, NOTHING_SENT)
    if denial := growth_denial(row, quantity, added, recent):
        return denial
    budget = signal_budget_of(row, signal, context.evaluation)
    if isinstance(budget, Denial):
        return budget
    return signal_denial(budget, added_worth) if budget else None


def _without(exposure: PortfolioExposure, row: OrderRow, own: OrderSums) -> PortfolioExposure:
    """Return the account's exposure without this order."""
    rest = row.quantity - own.filled
    share = rest / row.quantity
    notional = rest * own.expected_price * own.rate
    by_pair = dict(exposure.notional_by_pair)
    if row.pair in by_pair:
        by_pair[row.pair] -= notional
    return replace(
        exposure,
        positions=max(exposure.positions - 1, 0),
        orders=max(exposure.orders - 1, 0),
        notional=exposure.notional - notional,
        margin_in_flight=exposure.margin_in_flight - own.margin * share,
        risk=exposure.risk - own.risk * share,
        notional_by_pair=by_pair,
    )
