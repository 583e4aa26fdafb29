"""Decide one due order: an intent, a denial, an end without sending, or a deferral. Pure.

The row holds the order with its connection, account, preset and subscription; the context holds
quotes, instruments and signals. Nothing here uses a database or a clock.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.account_capabilities import Capabilities
from brokers.types import OrderType, TimeInForce
from common.formatting import sentence
from common.limit_figures import FIGURES
from common.money import plain
from common.reason_codes import Code
from connections.models import SizingMode
from connections.selectors import pause_limit
from execution.exits.safety import (
    ExitBlocker,
    exit_blocker,
    known_broker_quantity,
    max_exit_quantity,
)
from execution.models import Status, TriggerKind
from execution.submission import risk, triggers
from execution.submission.entry import next_slice, size_and_check
from execution.submission.flow_limits import NOTHING_SENT
from execution.submission.market_limits import (
    hours_denial,
    hours_warning,
    market_hours_denial,
    symbol_denial,
)
from execution.submission.outcomes import (
    ENTRY_WAITS,
    EXIT_CODES,
    ORDER_TYPES,
    SIDES,
    TIMES_IN_FORCE,
    Atr,
    Decision,
    Deferred,
    EvaluationContext,
    Intent,
    Terminated,
    Trigger,
    touch_price,
)
from execution.submission.rows import (
    ExitRow,
    InstrumentRow,
    OrderRow,
    QuoteRow,
    SignalRow,
    SourceRow,
)
from execution.submission.signal_limits import SignalBudget, SignalTotals, signal_budget
from execution.submission.sizing import ONE, PROVIDER_FIELDS, Denial, ProviderFigures
from execution.submission.slicing import PlanState
from positions.exit_minimums import is_dust, sellable
from prices.selectors import Conversion, conversion, pairs_between

QUOTE_MAX_AGE_SECONDS = 60
# A pair without subscribers is streamed from its first signal on. Its entry waits this long.
FIRST_PRICE_SECONDS = 10
ACCOUNT_MAX_AGE_SECONDS = 900
SHARED = "belongs to this position alone; the broker's total is shared"
# An exit that awaits a comparison ends after this time at the earliest, once one was made.
COMPARISON_SECONDS = 30


def decide_exit(row: OrderRow, context: EvaluationContext, capabilities: Capabilities) -> Decision:
    """Decide an exit: never blocked by an entry limit, never larger than what is still open.

    It waits while it could reverse the position at its broker.
    """
    instrument = context.instruments.get((row.instrument_book, row.symbol))
    quote = context.quotes_of(row).get(row.pair)
    side = SIDES[row.side]
    position = context.exits[row.id]
    if position.quantity <= 0:
        return Terminated(Denial(Code.NOTHING_TO_CLOSE), Status.CANCELLED)
    price = touch_price(quote, side) if quote else position.entry_price
    if sellable(position.quantity, price, instrument) <= 0:
        return _unsellable(row, position, instrument)
    if position.closable <= 0:
        return Deferred(Code.EXIT_AWAITS_OTHERS)  # others may close all; if they fail, it leaves
    blocker = exit_blocker(capabilities.exit_safety, position)
    if blocker in (None, ExitBlocker.BROKER_READ) and (
        decision := _insufficient_holding(row, position, price, instrument, capabilities)
    ):
        return decision
    if blocker:
        return Deferred(EXIT_CODES[blocker], blocker=blocker)
    requested = min(row.quantity, max_exit_quantity(capabilities.exit_safety, position))
    quantity = sellable(requested, price, instrument)
    if quantity <= 0:
        minimum = instrument.close_min if instrument else None
        return Terminated(Denial(Code.QUANTITY_BELOW_MINIMUM, requested, minimum), Status.CANCELLED)
    pip = instrument.pip if instrument else position.pip
    known = account_conversion(row, context)
    rate = known.rate if known else position.conversion_rate
    return Intent(
        symbol=row.symbol,
        quantity=quantity,
        expected_price=price,
        pip=pip,
        rate=rate,
        detail=f"{plain(quantity)} at {plain(price)}",
    )


def _unsellable(row: OrderRow, position: ExitRow, instrument: InstrumentRow | None) -> Terminated:
    """End an exit that is below the exchange's minimum.

    Dust is then written off (`exits/dust.py`). More than that stays open until it can be sold.
    """
    step = instrument.quantity_step if instrument else Decimal(0)
    dust = is_dust(position.quantity, position.opened_quantity, step)
    code = Code.DUST if dust else Code.EXIT_BELOW_MINIMUM
    detail = f"{plain(position.quantity)} {row.symbol} left"
    return Terminated(Denial(code, detail=detail), Status.CANCELLED)


def _insufficient_holding(
    row: OrderRow,
    position: ExitRow,
    price: Decimal,
    instrument: InstrumentRow | None,
    capabilities: Capabilities,
) -> Deferred | Terminated | None:
    """Decide an exit whose broker holds too little of the position to sell; None: it holds enough.

    The exit waits for a comparison, which may find the position closed. If the broker still holds
    some of it afterwards, the exit ends and that stays open until it can be sold. If it holds
    nothing, or shares what it holds with other positions, the broker is read again: what was
    counted for the others may belong to this position.
    """
    held = known_broker_quantity(capabilities.exit_safety, position)
    if held is None or sellable(held, price, instrument) > 0:
        return None
    if position.broker_quantity_is_shared:
        detail = f"{plain(held)} of {plain(position.quantity)} {row.symbol} {SHARED}"
        return Deferred(Code.EXIT_AWAITS_COMPARISON, blocker=ExitBlocker.BROKER_READ, detail=detail)
    if held <= 0 or not position.is_read or (position.compared_for or 0) < COMPARISON_SECONDS:
        return Deferred(Code.EXIT_AWAITS_COMPARISON, blocker=ExitBlocker.BROKER_READ)
    detail = f"{plain(held)} of {plain(position.quantity)} {row.symbol} at the broker"
    return Terminated(Denial(Code.EXIT_BELOW_MINIMUM, detail=detail), Status.CANCELLED)


def decide_entry(
    row: OrderRow,
    context: EvaluationContext,
    exposure: risk.PortfolioExposure,
    capabilities: Capabilities,
    *,
    slice_quantity: Decimal | None = None,
) -> Decision:
    """Decide an entry; an allowed one is added to the exposure.

    slice_quantity: of a slice whose plan has begun: it is sent as it is, without limits of
    exposure, which were checked for the whole plan.
    """
    signal = context.signal_of(row)
    if slice_quantity is not None:  # the provider's price was that of the beginning
        signal = signal._replace(open_price=None)
    if error := (
        (validity_error(row, signal, context) if slice_quantity is None else None)
        or cannot_trade(row, signal, capabilities)
        or _expiry_too_near(row, signal, context, capabilities)
    ):
        return error
    if denial := symbol_denial(row) or hours_denial(row, context.now):
        return denial
    instrument = find_instrument(row, context)
    if instrument is None:
        return Denial(Code.SYMBOL_NOT_AT_BROKER, detail=f"{row.pair} on {row.instrument_book}")
    if instrument.rivals and not _mapped_symbol(row):
        names = f"{row.pair}: {instrument.symbol}, {instrument.rivals}"
        return Denial(Code.SYMBOL_AMBIGUOUS, detail=names)
    if denial := market_hours_denial(row, instrument, context.now):
        return denial
    quote = context.quotes_of(row).get(row.pair)
    known = account_conversion(row, context, fresh_only=True)
    rate = known.rate if known else None
    if quote is None or quote.age > QUOTE_MAX_AGE_SECONDS or rate is None:
        missing = missing_price(row, context)
        assert missing is not None  # it checks the same three conditions
        return _awaiting_first_price(row, signal, context) or missing
    if slice_quantity is not None:
        return next_slice(row, signal, instrument, quote, rate, slice_quantity, capabilities)
    provider = _provider_figures(row, signal, context)
    if isinstance(provider, Denial):
        return provider
    trigger = _trigger(row, signal, instrument, quote, capabilities, context.atrs.get(row.id))
    if isinstance(trigger, Denial):
        return trigger
    trail = None
    if trigger and not trigger.is_held:
        trail, trigger = trigger, None
        row = row._replace(stop_price=trail.level)
    # A held order is decided about when it is triggered.
    scale = ONE if trigger else context.scales.get(row.id, ONE)
    if not isinstance(scale, Decimal):
        return scale
    margin = context.margins.get(row.id)
    recent = context.recent.get(row.id, NOTHING_SENT)
    budget = signal_budget_of(row, signal, context)
    if isinstance(budget, Denial):
        return budget
    if trigger and trigger.kind is TriggerKind.TRAILING:  # it has no price to check yet
        return Deferred(Code.AWAITING_TRIGGER, trigger=trigger)
    counted = deepcopy(exposure) if trigger else exposure
    decision = size_and_check(
        row, signal, instrument, quote, rate, counted, capabilities, margin, provider, recent,
        budget, scale, context.volumes.get(row.id),
    )  # fmt: skip
    if trigger and isinstance(decision, Intent):  # checked now, and again when it is triggered
        return Deferred(Code.AWAITING_TRIGGER, trigger=trigger)
    if trail and isinstance(decision, Intent):
        detail = f"{decision.detail}, following {plain(trail.distance)} behind"
        decision = replace(decision, trail_distance=trail.distance, detail=detail)
    if budget and isinstance(decision, Intent):
        notional = decision.whole_quantity * decision.expected_price
        context.totals.add(signal.id, quote_currency(row.pair), notional)
    return _with_warning(decision, hours_warning(row, instrument, context.now))


def _with_warning(decision: Decision, warning: str) -> Decision:
    """Add a warning to an intent."""
    if not warning or not isinstance(decision, Intent):
        return decision
    warnings = "; ".join(filter(None, [decision.warning, warning]))
    return replace(decision, warning=warnings, detail=f"{decision.detail}; {warning}")


def _trigger(
    row: OrderRow,
    signal: SignalRow,
    instrument: InstrumentRow,
    quote: QuoteRow,
    capabilities: Capabilities,
    atr: Atr | None,
) -> Trigger | Denial | None:
    """Return what an entry waits for that the engine holds, None if its broker takes the type.

    A trailing stop that its broker takes has one too, which is not held.
    """
    is_held = _is_emulated(row, signal, capabilities)
    if not is_held and row.order_type != OrderType.TRAILING_STOP:
        return None
    trigger = triggers.trigger_of(row, signal, instrument, quote, atr)
    if is_held or isinstance(trigger, Denial):
        return trigger
    sent = triggers.at_broker(trigger, instrument)
    return trigger if triggers.has_level_at_start(signal, sent) else sent


def signal_budget_of(
    row: OrderRow, signal: SignalRow, context: EvaluationContext
) -> SignalBudget | Denial | None:
    """Return what the entry may add to its signal, None without a limit of the feed."""
    if signal.max_signal_notional is None:
        return None
    quotes = context.quotes_of(row)
    fresh = {pair: quote for pair, quote in quotes.items() if quote.age <= QUOTE_MAX_AGE_SECONDS}
    return signal_budget(signal, quote_currency(row.pair), context.totals, fresh)


def _provider_figures(
    row: OrderRow, signal: SignalRow, context: EvaluationContext
) -> ProviderFigures | Denial:
    """Return what the provider traded, its equity converted into the account's currency.

    An equity is only converted if the preset compares it with the account's; without its currency
    it could be a hundred times too small.
    """
    missing = [
        name for name in PROVIDER_FIELDS.get(row.sizing_mode, ()) if not getattr(signal, name)
    ]
    if missing:
        return Denial(Code.PROVIDER_SIZE_MISSING, detail=", ".join(missing))
    if row.sizing_mode != SizingMode.EQUITY_RATIO or signal.provider_equity is None:
        return ProviderFigures(signal.provider_quantity)
    known = account_conversion(row, context, signal.provider_currency, fresh_only=True)
    if known is None:
        return _missing_rate(row, context, signal.provider_currency) or ProviderFigures()
    return ProviderFigures(signal.provider_quantity, signal.provider_equity * known.rate)


def missing_price(row: OrderRow, context: EvaluationContext) -> Denial | None:
    """Return why an entry cannot be priced, with its price source's error; None: it can."""
    quote = context.quotes_of(row).get(row.pair)
    source = context.source_of(row)
    source_error = f"{source.name}: {_source_message(source)}" if source and source.error else ""
    if quote is None:
        return Denial(Code.QUOTE_MISSING, detail=f"{row.pair} {source_error}".rstrip())
    if quote.age > QUOTE_MAX_AGE_SECONDS:
        age, max_seconds = Decimal(quote.age), Decimal(QUOTE_MAX_AGE_SECONDS)
        return Denial(Code.QUOTE_STALE, age, max_seconds, detail=source_error)
    return _missing_rate(row, context)


def _missing_rate(row: OrderRow, context: EvaluationContext, currency: str = "") -> Denial | None:
    """Return why there is no fresh rate to the account's currency: none at all, or a stale one.

    currency: from which; empty: the pair's quote currency.
    """
    if account_conversion(row, context, currency, fresh_only=True) is not None:
        return None
    detail = f"{currency or quote_currency(row.pair)} {row.currency}"
    stale = account_conversion(row, context, currency)
    if stale is None:
        return Denial(Code.NO_CONVERSION_RATE, detail=detail)
    quotes = context.quotes_of(row)
    age = max(quotes[pair].age for pair in stale.pairs)
    route = f"{detail} by {', '.join(stale.pairs)}"
    limit = Decimal(QUOTE_MAX_AGE_SECONDS)
    return Denial(Code.CONVERSION_RATE_STALE, Decimal(age), limit, detail=route)


def _source_message(source: SourceRow) -> str:
    """Return a source's error. A broker's text may name its account: only its owner gets it."""
    return str(source.error) if source.is_own else sentence(source.error_code)


def _awaiting_first_price(
    row: OrderRow, signal: SignalRow, context: EvaluationContext
) -> Deferred | None:
    """Return a short deferral if the source was just requested to stream the pair, else None."""
    source = context.source_of(row)
    if source is None or not source.is_live or _source_failing(source, row.pair):
        return None
    age = (context.now - aged_from(row, signal)).total_seconds()
    return Deferred(Code.PRICE_AWAITED) if age < FIRST_PRICE_SECONDS else None


def _source_failing(source: SourceRow, pair: str) -> bool:
    """Return whether no first price of the pair is to be expected.

    An error about other pairs that the broker does not list does not count.
    """
    is_of_others = source.error_code == Code.UNKNOWN_SYMBOL_AT_BROKER and pair not in source.pairs
    return bool(source.error_code) and not is_of_others


def find_instrument(row: OrderRow, context: EvaluationContext) -> InstrumentRow | None:
    """Return the instrument mapped by the subscription, else the pair's preferred one."""
    return context.instruments.get((row.instrument_book, _mapped_symbol(row) or row.pair))


def _mapped_symbol(row: OrderRow) -> str | None:
    """Return the symbol to which the subscription maps the signal's pair."""
    return (row.symbol_map or {}).get(row.signal_pair or "")


def quote_currency(pair: str) -> str:
    """Return the quote currency of a pair: `USD` of `EUR/USD`."""
    return pair.rpartition("/")[2]


def decide_awaited(row: OrderRow, context: EvaluationContext) -> Decision:
    """Decide an entry whose condition does not hold: it ends, or waits on.

    Nothing else ends it before: limits, halts and pauses are checked when its condition holds.
    """
    if ended := _ended(row, context.signal_of(row), context):
        return ended
    awaited = context.awaited.get(row.id)
    if awaited is not None and awaited.is_over:
        return Terminated(Denial(Code.CONDITION_FAILED, detail=awaited.text), Status.CANCELLED)
    return Deferred(Code.AWAITING_CONDITION, detail=awaited.text if awaited else "")


def decide_held(row: OrderRow, context: EvaluationContext) -> Decision:
    """Decide an order that the engine holds and whose trigger has not fired: it ends, or waits on.

    Nothing else ends it before it fires: limits, halts and pauses are checked then.
    """
    signal = context.signal_of(row)
    if ended := _ended(row, signal, context):
        return ended
    instrument = find_instrument(row, context)
    quote = context.quotes_of(row).get(row.pair)
    if instrument is None or quote is None or quote.age > QUOTE_MAX_AGE_SECONDS:
        return Deferred(Code.AWAITING_TRIGGER)
    trigger = triggers.trigger_of(row, signal, instrument, quote, context.atrs.get(row.id))
    return Deferred(Code.AWAITING_TRIGGER, trigger=None if isinstance(trigger, Denial) else trigger)


def _ended(row: OrderRow, signal: SignalRow, context: EvaluationContext) -> Terminated | None:
    """Return why an entry is over whatever its age: its signal was withdrawn or has expired, or the
    other leg of its pair was triggered."""
    if row.other_leg_fired:
        return Terminated(Denial(Code.OCO_OTHER_LEG_TRIGGERED), Status.CANCELLED)
    if signal.cancelled_at is not None:
        return Terminated(Denial(Code.SIGNAL_CANCELLED), Status.CANCELLED)
    if signal.is_closed:  # possible after a person's retry
        return Terminated(Denial(Code.CLOSED_BEFORE_SENT), Status.CANCELLED)
    if row.id in context.closed_by:
        detail = context.closed_by[row.id]
        return Terminated(Denial(Code.CONDITION_EXIT, detail=detail), Status.CANCELLED)
    if signal.valid_until is not None and signal.valid_until <= context.now:
        detail = f"Valid until {signal.valid_until:%H:%M:%S}"
        return Terminated(Denial(_waited_for(row) or Code.SIGNAL_EXPIRED, detail=detail))
    return None


def validity_error(row: OrderRow, signal: SignalRow, context: EvaluationContext) -> Decision | None:
    """Return why an entry must not be sent any more, else None.

    An entry that waited gets the code of what it waited for.
    """
    if ended := _ended(row, signal, context):
        return ended
    if row.max_signal_age_seconds is None:
        return Denial(Code.NO_PRESET)
    age = Decimal(int((context.now - aged_from(row, signal)).total_seconds()))
    if age <= (max_seconds := max_age(row, context)):
        return None
    if (waited := _waited_for(row)) is None:
        return Denial(Code.SIGNAL_TOO_OLD, age, Decimal(max_seconds))
    detail = f"The signal became older than {max_seconds} s while the order waited."
    return Denial(waited, age, Decimal(max_seconds), detail, limit=FIGURES[Code.SIGNAL_TOO_OLD])


def slice_error(
    row: OrderRow, signal: SignalRow, plan: PlanState, context: EvaluationContext
) -> Decision | None:
    """Return why a slice must not be sent, or not yet; None: it may be.

    Its age does not count: it ends when the next slice is due, which then sends it or leaves it
    out.
    """
    if error := validity_error(row, signal._replace(published_at=context.now), context):
        return error
    if code := plan.ended_by():
        return Terminated(Denial(Code.SLICES_ENDED, detail=code.value), Status.CANCELLED)
    if plan.is_late:
        return Terminated(Denial(Code.SLICE_MISSED))
    if plan.has_unknown():
        return Deferred(Code.SLICE_UNKNOWN)
    if plan.quantity() <= 0:
        return Terminated(Denial(Code.SLICE_NOT_NEEDED), Status.CANCELLED)
    return None


def aged_from(row: OrderRow, signal: SignalRow) -> datetime:
    """Return from when an entry's age counts: its publication, or a person's later retry."""
    return row.retried_at or signal.published_at


def max_age(row: OrderRow, context: EvaluationContext) -> int:
    """Return how old the signal of an entry may be when it is sent, in market seconds."""
    limit = row.max_signal_age_seconds or 0
    if row.order_type == OrderType.MARKET:
        return min(limit, context.market_entry_max_age_seconds)
    return limit


def seconds_left(row: OrderRow, signal: SignalRow, context: EvaluationContext) -> float:
    """Return the market seconds until `validity_error` ends the entry."""
    ends = aged_from(row, signal) + timedelta(seconds=max_age(row, context) + 1)
    if signal.valid_until is not None:
        ends = min(ends, signal.valid_until)
    return (ends - context.now).total_seconds()


def _waited_for(row: OrderRow) -> Code | None:
    return Code[row.reason] if row.reason in ENTRY_WAITS else None


def pause_denial(row: OrderRow) -> Denial:
    """Deny an entry of an account that a loss limit has paused. The pause has its figures."""
    assert row.pause_code is not None  # the caller has checked
    return Denial(
        Code[row.pause_code],
        row.pause_value,
        row.pause_maximum,
        row.pause_detail or "",
        limit=pause_limit(row.pause_name or "", row.pause_unit or "", row.currency or ""),
    )


def cannot_trade(row: OrderRow, signal: SignalRow, capabilities: Capabilities) -> Denial | None:
    """Return what became ineligible since the fan-out, or what the account cannot trade."""
    if not row.is_active:
        return Denial(Code.CONNECTION_INACTIVE)
    if row.is_paused:
        return Denial(Code.CONNECTION_PAUSED)
    if row.data_connection_id is None:
        return Denial(Code.NO_DATA_CONNECTION)
    if row.equity is None:
        return Denial(Code.ACCOUNT_NOT_SYNCED)
    if row.account_age > ACCOUNT_MAX_AGE_SECONDS:
        return Denial(
            Code.ACCOUNT_DATA_STALE, Decimal(row.account_age), Decimal(ACCOUNT_MAX_AGE_SECONDS)
        )
    if _is_emulated(row, signal, capabilities):
        return triggers.time_in_force_denial(row.time_in_force, capabilities)
    if row.is_held_leg:  # the account takes no order that its trigger could send
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.order_type)
    if ORDER_TYPES.get(row.order_type) not in capabilities.order_types:
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.order_type)
    if TIMES_IN_FORCE[row.time_in_force] not in capabilities.times_in_force:
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.time_in_force)
    return None


def _is_emulated(row: OrderRow, signal: SignalRow, capabilities: Capabilities) -> bool:
    """Return whether the engine holds an entry until its trigger fires."""
    always = triggers.must_be_held(row, signal)
    return triggers.is_emulated(row.order_type, capabilities, always=always)


def _expiry_too_near(
    row: OrderRow, signal: SignalRow, context: EvaluationContext, capabilities: Capabilities
) -> Denial | None:
    """Deny a GTD order whose end is nearer than the broker accepts. Value, minimum: seconds."""
    if row.time_in_force != TimeInForce.GTD or signal.valid_until is None:
        return None
    if _is_emulated(row, signal, capabilities):
        return None  # the engine ends it
    left, shortest = signal.valid_until - context.now, capabilities.shortest_gtd
    if left >= shortest:
        return None
    return Denial(
        Code.EXPIRY_TOO_NEAR,
        Decimal(int(left.total_seconds())),
        Decimal(int(shortest.total_seconds())),
    )


def account_conversion(
    row: OrderRow, context: EvaluationContext, currency: str = "", *, fresh_only: bool = False
) -> Conversion | None:
    """Return the account currency for one of another currency, None if unknown.

    currency: the other one; empty: the pair's quote currency. fresh_only: ignore stale quotes, as
    for the pair's own price.
    """
    if row.currency is None:
        return None
    quotes, source = context.quotes_of(row), currency or quote_currency(row.pair)
    to_account = conversion(quotes, source, row.currency)
    if not fresh_only or to_account is None or _is_fresh(to_account, quotes):
        return to_account
    fresh = {pair: quote for pair, quote in quotes.items() if quote.age <= QUOTE_MAX_AGE_SECONDS}
    return conversion(fresh, source, row.currency)


def _is_fresh(to_account: Conversion, quotes: Mapping[str, QuoteRow]) -> bool:
    return all(quotes[pair].age <= QUOTE_MAX_AGE_SECONDS for pair in to_account.pairs)


def pairs_priced(
    pending: Iterable[OrderRow],
    signals: Mapping[int, SignalRow],
    totals: SignalTotals | None = None,
) -> list[str]:
    """Return the pairs whose prices these orders need: their own, and those of conversions."""
    pairs: set[str] = set()
    for pair, currency in {(row.pair, row.currency) for row in pending}:
        pairs.add(pair)
        pairs.update(pairs_between(quote_currency(pair), currency) if currency else ())
    for row in pending:
        signal = signals.get(row.signal_id or 0)
        if row.sizing_mode == SizingMode.EQUITY_RATIO and row.currency and signal:
            pairs.update(pairs_between(signal.provider_currency, row.currency))
        if signal and signal.max_signal_notional is not None:
            sent = totals.sent.get(signal.id, {}) if totals else {}
            for currency in {quote_currency(row.pair), *sent}:
                pairs.update(pairs_between(currency, signal.max_signal_currency))
    return sorted(pairs)
