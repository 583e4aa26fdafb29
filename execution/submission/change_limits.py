"""The limits of a change that raises what an order may lose or bind. Pure.

One that lowers it is never stopped by a limit. `limits.py` has them in their order.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from brokers.account_capabilities import Capabilities
from brokers.price_rounding import round_level_price
from brokers.types import Side
from common.money import to_stored
from execution.submission import limits, risk, sizing
from execution.submission.change_terms import AllowedChange, OrderSums
from execution.submission.entry_prices import EntryMarket, PricedEntry, price_entry
from execution.submission.limit_lists import SizedEntry, Subject
from execution.submission.outcomes import SIDES, Deferred, EvaluationContext
from execution.submission.quotes import signal_budget_of
from execution.submission.recent import NOTHING_SENT, NewEntry
from execution.submission.risk import PortfolioExposure
from execution.submission.rows import InstrumentRow, OrderRow, QuoteRow, SignalRow
from execution.submission.sizing import ZERO, Denial


@dataclass(frozen=True, slots=True)
class ChangeContext:
    """What a change is decided by, beside the order. halt: the mode of the kill switch."""

    evaluation: EvaluationContext
    exposure: PortfolioExposure
    halt: str | None
    capabilities: Capabilities


class ChangedOrder(NamedTuple):
    """An order that is to be changed. signal: with the levels that the order will have."""

    row: OrderRow
    signal: SignalRow
    instrument: InstrumentRow
    own: OrderSums
    context: ChangeContext

    @property
    def side(self) -> Side:
        return SIDES[self.row.side]

    @property
    def quote(self) -> QuoteRow | None:
        """The latest quote of its pair, which may be stale."""
        return self.context.evaluation.quotes_of(self.row).get(self.row.pair)

    def priced(self, quote: QuoteRow) -> PricedEntry:
        """Return it as an entry of now, by the conversion rate that it was sent with."""
        market = EntryMarket(self.instrument, quote, self.own.rate)
        return price_entry(self.row, self.signal, market, self.context.capabilities)


def weighed(order: ChangedOrder, new: AllowedChange) -> AllowedChange | Denial:
    """Return the change with its margin and risk; deny one that raises them beyond a limit."""
    row, own = order.row, order.own
    quantity, price = new.quantity or ZERO, new.limit_price or new.stop_price or own.expected_price
    margin, at_risk = _margin_and_risk(order, quantity, price)
    raises = quantity > row.quantity or margin > own.margin or at_risk > own.risk
    change = replace(new, margin=to_stored(margin), risk=to_stored(at_risk), raises_risk=raises)
    if not raises:
        return change
    return _admission_denial(order) or _size_denial(order, change, price) or change


def _margin_and_risk(
    order: ChangedOrder, quantity: Decimal, price: Decimal
) -> tuple[Decimal, Decimal]:
    """Return what an order of this quantity and price binds and may lose.

    By the conversion rate that it was sent with, so that only the change counts.
    """
    row, own, sign = order.row, order.own, order.side.sign
    worth, old_worth = quantity * price, row.quantity * own.expected_price
    margin = own.margin * worth / old_worth if own.margin and old_worth else ZERO
    if worth == old_worth:  # exactly: only the levels change
        margin = own.margin
    if not own.margin:
        margin = risk.margin_of(worth * own.rate, row.leverage, order.instrument.margin_rate)
    level = order.signal.sl
    sl = level and round_level_price(level, order.instrument.grid, order.side)
    loss = sizing.loss_per_unit(price, sl, sign, own.rate) if sl else None
    return margin, margin if loss is None else loss * quantity


def _admission_denial(order: ChangedOrder) -> Denial | None:
    """Deny a change while no entry of its kind may be sent: halts, pauses, hours, the spread."""
    row, context = order.row, order.context
    if denial := limits.halt_denial(row, context.halt):
        return denial
    admission = limits.Admission(
        row, order.signal, order.instrument, context.capabilities, context.evaluation.now
    )
    if broken := limits.ADMISSION.first_broken(Subject.GROWTH, admission):
        return as_denial(broken)
    if order.quote is None:  # the check of the price has decided
        return None
    return as_denial(limits.PRICE.first_broken(Subject.GROWTH, order.priced(order.quote)))


def _size_denial(order: ChangedOrder, change: AllowedChange, price: Decimal) -> Denial | None:
    """Deny a change that raises a sum beyond a limit. price: at which the order is expected."""
    row, signal, _, own, context = order
    quantity, evaluation = change.quantity or ZERO, context.evaluation
    margin, at_risk = change.margin or ZERO, change.risk or ZERO
    left = quantity - own.filled
    share = left / quantity
    notional = left * price * own.rate
    grown = max(quantity - row.quantity, ZERO)
    worth = max(quantity * price - row.quantity * own.expected_price, ZERO)
    sized = SizedEntry(
        row=row,
        side=order.side,
        on_account=risk.Entry(quantity, notional, margin * share, at_risk * share, row.pair),
        added=NewEntry(row.pair, order.side.sign, grown, worth * own.rate, signal.feed_id),
        quantity=quantity,
        risk=at_risk,
        worth=worth,
        exposure=_without(context.exposure, row, own),
        recent=evaluation.recent.get(row.id, NOTHING_SENT),
        budget=signal_budget_of(row, signal, evaluation),
    )
    return as_denial(limits.SIZE.first_broken(Subject.GROWTH, sized))


def as_denial(broken: Denial | Deferred | None) -> Denial | None:
    """Return a denial: an entry might wait for what a limit says, a person's change does not."""
    return Denial(broken.code, detail=broken.detail) if isinstance(broken, Deferred) else broken


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
