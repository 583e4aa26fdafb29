"""Decide one due order: an intent, a denial, an end without sending, or a deferral. Pure.

The row holds the order with its connection, account, preset and subscription; the context holds
quotes, instruments and signals. Nothing here uses a database or a clock.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.account_capabilities import Capabilities
from brokers.types import OrderType
from common.formatting import sentence
from common.money import plain
from common.reason_codes import Code
from execution.exits.safety import (
    ExitBlocker,
    exit_blocker,
    known_broker_quantity,
    max_exit_quantity,
)
from execution.models import Status
from execution.submission import risk
from execution.submission.entry import size_and_check
from execution.submission.outcomes import (
    ENTRY_WAITS,
    EXIT_CODES,
    ORDER_TYPES,
    SIDES,
    TIMES_IN_FORCE,
    Decision,
    Deferred,
    EvaluationContext,
    Intent,
    Terminated,
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
from execution.submission.sizing import Denial
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
    known = _conversion(row, context)
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
) -> Decision:
    """Decide an entry; an allowed one is added to the exposure."""
    signal = context.signal_of(row)
    if error := validity_error(row, signal, context) or _cannot_trade(row, capabilities):
        return error
    instrument = find_instrument(row, context)
    if instrument is None:
        return Denial(Code.SYMBOL_NOT_AT_BROKER, detail=f"{row.pair} on {row.instrument_book}")
    quote = context.quotes_of(row).get(row.pair)
    known = _conversion(row, context, fresh_only=True)
    rate = known.rate if known else None
    if quote is None or quote.age > QUOTE_MAX_AGE_SECONDS or rate is None:
        missing = missing_price(row, context)
        assert missing is not None  # it checks the same three conditions
        return _awaiting_first_price(row, signal, context) or missing
    return size_and_check(
        row, signal, instrument, quote, rate, exposure, capabilities, context.margins.get(row.id)
    )


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


def _missing_rate(row: OrderRow, context: EvaluationContext) -> Denial | None:
    """Return why there is no fresh rate to the account's currency: none at all, or a stale one."""
    if _conversion(row, context, fresh_only=True) is not None:
        return None
    detail = f"{quote_currency(row.pair)} {row.currency}"
    stale = _conversion(row, context)
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
    mapped = (row.symbol_map or {}).get(row.signal_pair or "")
    return context.instruments.get((row.instrument_book, mapped or row.pair))


def quote_currency(pair: str) -> str:
    """Return the quote currency of a pair: `USD` of `EUR/USD`."""
    return pair.rpartition("/")[2]


def validity_error(row: OrderRow, signal: SignalRow, context: EvaluationContext) -> Decision | None:
    """Return why an entry must not be sent any more, else None.

    An entry that waited gets the code of what it waited for.
    """
    if signal.cancelled_at is not None:
        return Terminated(Denial(Code.SIGNAL_CANCELLED), Status.CANCELLED)
    if signal.is_closed:  # possible after a person's retry
        return Terminated(Denial(Code.CLOSED_BEFORE_SENT), Status.CANCELLED)
    if signal.valid_until is not None and signal.valid_until <= context.now:
        detail = f"Valid until {signal.valid_until:%H:%M:%S}"
        return Terminated(Denial(_waited_for(row) or Code.SIGNAL_EXPIRED, detail=detail))
    if row.max_signal_age_seconds is None:
        return Denial(Code.NO_PRESET)
    age = Decimal(int((context.now - aged_from(row, signal)).total_seconds()))
    if age <= (max_seconds := max_age(row, context)):
        return None
    if (waited := _waited_for(row)) is None:
        return Denial(Code.SIGNAL_TOO_OLD, age, Decimal(max_seconds))
    detail = f"The signal became older than {max_seconds} s while the order waited."
    return Denial(waited, age, Decimal(max_seconds), detail)


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


def _cannot_trade(row: OrderRow, capabilities: Capabilities) -> Denial | None:
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
    if ORDER_TYPES[row.order_type] not in capabilities.order_types:
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.order_type)
    if TIMES_IN_FORCE[row.time_in_force] not in capabilities.times_in_force:
        return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=row.time_in_force)
    return None


def _conversion(
    row: OrderRow, context: EvaluationContext, *, fresh_only: bool = False
) -> Conversion | None:
    """Return the account currency for one of the pair's quote currency, None if unknown.

    fresh_only: ignore stale quotes, as for the pair's own price.
    """
    if row.currency is None:
        return None
    quotes = context.quotes_of(row)
    to_account = conversion(quotes, quote_currency(row.pair), row.currency)
    if not fresh_only or to_account is None or _is_fresh(to_account, quotes):
        return to_account
    fresh = {pair: quote for pair, quote in quotes.items() if quote.age <= QUOTE_MAX_AGE_SECONDS}
    return conversion(fresh, quote_currency(row.pair), row.currency)


def _is_fresh(to_account: Conversion, quotes: Mapping[str, QuoteRow]) -> bool:
    return all(quotes[pair].age <= QUOTE_MAX_AGE_SECONDS for pair in to_account.pairs)


def pairs_priced(pending: Iterable[OrderRow]) -> list[str]:
    """Return the pairs whose prices these orders need: their own, and those of conversions."""
    pairs: set[str] = set()
    for pair, currency in {(row.pair, row.currency) for row in pending}:
        pairs.add(pair)
        pairs.update(pairs_between(quote_currency(pair), currency) if currency else ())
    return sorted(pairs)
