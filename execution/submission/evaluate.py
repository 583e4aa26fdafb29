"""Decide one due entry, or a later slice of one: an intent, a denial or a deferral. Pure.

The row holds the order with its connection, account, preset and subscription; the context holds
quotes, instruments and signals. Nothing here uses a database or a clock. `limits.py` has the limits
in their order.
"""

from copy import deepcopy
from decimal import Decimal

from brokers.account_capabilities import Capabilities
from brokers.types import OrderType
from common.money import plain
from common.reason_codes import Code
from execution.models import TriggerKind
from execution.submission import risk, triggers
from execution.submission.eligibility import find_instrument, is_emulated
from execution.submission.entry import EntryFigures, next_slice, notes_of, size_and_check
from execution.submission.entry_prices import EntryMarket, PricedEntry, price_entry
from execution.submission.first_slice import first_slice
from execution.submission.limit_lists import Subject
from execution.submission.limits import ADMISSION, Admission
from execution.submission.market_limits import hours_warning
from execution.submission.outcomes import (
    Decision,
    Deferred,
    EvaluationContext,
    Intent,
    Trigger,
)
from execution.submission.quotes import (
    provider_figures,
    quote_currency,
    signal_budget_of,
)
from execution.submission.recent import NOTHING_SENT
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.shared_prices import SharedPrices
from execution.submission.sizing import ONE, Denial, ProviderFigures
from execution.submission.slicing import PlanState
from execution.submission.validity import validity_error


def decide_entry(
    row: OrderRow,
    context: EvaluationContext,
    exposure: risk.PortfolioExposure,
    capabilities: Capabilities,
    prices: SharedPrices | None = None,
) -> Decision:
    """Decide an entry; an allowed one is added to the exposure, and to its signal's total.

    prices: those of the bundle, which an entry has in common with others.
    """
    prices = prices or SharedPrices()
    signal = context.signal_of(row)
    if error := validity_error(row, signal, context):
        return error
    market = _market_of(Subject.ENTRY, row, signal, context, capabilities, prices)
    if not isinstance(market, EntryMarket):
        return market
    provider = provider_figures(row, signal, context)
    if isinstance(provider, Denial):
        return provider
    trigger = _trigger(row, signal, market, context, capabilities)
    if isinstance(trigger, Denial):
        return trigger
    figures = _figures(row, signal, context, provider, trigger)
    if not isinstance(figures, EntryFigures):
        return figures
    if trigger is not None and trigger.kind is TriggerKind.TRAILING:
        if trigger.is_held:  # it has no price to check yet
            return Deferred(Code.AWAITING_TRIGGER, trigger=trigger)
        row = row._replace(stop_price=trigger.level)
    entry = prices.priced(row, signal, market, capabilities)
    if not isinstance(entry, PricedEntry):
        return entry
    if trigger is not None and trigger.is_held:
        return _held(entry, figures, exposure, trigger)
    trail_distance = trigger.distance if trigger else None
    return _sent(entry, figures, exposure, context, trail_distance)


def decide_next_slice(
    row: OrderRow, context: EvaluationContext, capabilities: Capabilities, plan: PlanState
) -> Decision:
    """Decide a slice of a plan that has begun: it is sent as it is, if the market allows it.

    The limits of what it adds were checked for the whole plan. Targets that have closed their part
    do not count any more.
    """
    signal = context.signal_of(row)._replace(open_price=None)  # the provider's was of the beginning
    if plan.targets is not None:  # the engine guards them, so no order has them
        signal = signal._replace(target_prices=[*plan.targets])
    market = _market_of(Subject.SLICE, row, signal, context, capabilities, SharedPrices())
    if not isinstance(market, EntryMarket):
        return market
    return next_slice(price_entry(row, signal, market, capabilities), plan.quantity())


def _market_of(
    subject: Subject,
    row: OrderRow,
    signal: SignalRow,
    context: EvaluationContext,
    capabilities: Capabilities,
    prices: SharedPrices,
) -> EntryMarket | Denial | Deferred:
    """Return the market of an entry that its account may trade now, or why there is none."""
    instrument = find_instrument(row, context)
    admission = Admission(row, signal, instrument, capabilities, context.now)
    if broken := ADMISSION.first_broken(subject, admission):
        return broken
    assert instrument is not None  # `eligibility.listing_denial` is among the limits
    return prices.market_of(row, signal, instrument, context)


def _figures(
    row: OrderRow,
    signal: SignalRow,
    context: EvaluationContext,
    provider: ProviderFigures,
    trigger: Trigger | None,
) -> EntryFigures | Denial | Deferred:
    """Return what an entry is sized and limited by, or why that is not known."""
    is_held = trigger is not None and trigger.is_held  # its provider is asked when it is triggered
    scale = ONE if is_held else context.scales.get(row.id, ONE)
    if not isinstance(scale, Decimal):
        return scale
    budget = signal_budget_of(row, signal, context)
    if isinstance(budget, Denial):
        return budget
    recent = context.recent.get(row.id, NOTHING_SENT)
    return EntryFigures(provider, scale, context.margins.get(row.id), recent, budget)


def _trigger(
    row: OrderRow,
    signal: SignalRow,
    market: EntryMarket,
    context: EvaluationContext,
    capabilities: Capabilities,
) -> Trigger | Denial | None:
    """Return what an entry waits for that the engine holds, None if its broker takes the type.

    A trailing stop that its broker takes has one too, which is not held.
    """
    is_held = is_emulated(row, signal, capabilities)
    if not is_held and row.order_type != OrderType.TRAILING_STOP:
        return None
    instrument, atr = market.instrument, context.atrs.get(row.id)
    trigger = triggers.trigger_of(row, signal, instrument, market.quote, atr)
    if is_held or isinstance(trigger, Denial):
        return trigger
    sent = triggers.at_broker(trigger, instrument)
    return trigger if triggers.has_level_at_start(signal, sent) else sent


def _held(
    entry: PricedEntry, figures: EntryFigures, exposure: risk.PortfolioExposure, trigger: Trigger
) -> Decision:
    """Decide an entry that the engine holds: checked now, and again when it is triggered."""
    decision = size_and_check(entry, figures, deepcopy(exposure))
    if not isinstance(decision, Intent):
        return decision
    return Deferred(Code.AWAITING_TRIGGER, trigger=trigger)


def _sent(
    entry: PricedEntry,
    figures: EntryFigures,
    exposure: risk.PortfolioExposure,
    context: EvaluationContext,
    trail_distance: Decimal | None = None,
) -> Decision:
    """Decide an entry that its broker gets now. trail_distance: of a trailing stop."""
    intent = size_and_check(entry, figures, exposure)
    if not isinstance(intent, Intent):
        return intent
    row, signal = entry.row, entry.signal
    if signal.execution_style:
        notes = notes_of(row, figures.scale, intent.warning)
        intent = first_slice(entry, intent, notes, context.volumes.get(row.id))
    if trail_distance is not None:
        detail = f"{intent.detail}, following {plain(trail_distance)} behind"
        intent = intent._replace(trail_distance=trail_distance, detail=detail)
    if figures.budget:
        notional = intent.whole_quantity * intent.expected_price
        context.totals.add(signal.id, quote_currency(row.pair), notional)
    return _with_warning(intent, hours_warning(row, entry.market.instrument, context.now))


def _with_warning(intent: Intent, warning: str) -> Intent:
    if not warning:
        return intent
    warnings = "; ".join(filter(None, [intent.warning, warning]))
    return intent._replace(warning=warnings, detail=f"{intent.detail}; {warning}")
