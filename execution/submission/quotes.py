"""The quotes that orders are decided by, and conversions into the account's currency. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from common.reason_codes import Code
from common.web.formatting import sentence
from connections.models import SizingMode
from connections.selectors import is_twin_account
from execution.submission.entry_prices import EntryMarket
from execution.submission.outcomes import Deferred, EvaluationContext
from execution.submission.rows import (
    QUOTE_MAX_AGE_SECONDS,
    InstrumentRow,
    OrderRow,
    QuoteRow,
    SignalRow,
    SourceRow,
)
from execution.submission.signal_limits import SignalBudget, SignalTotals, signal_budget
from execution.submission.sizing import PROVIDER_FIELDS, Denial, ProviderFigures
from execution.submission.validity import aged_from
from prices.selectors import Conversion, conversion, pairs_between

# A pair without subscribers is streamed from its first signal on. Its entry waits this long.
FIRST_PRICE_SECONDS = 10


def market_of(
    row: OrderRow, signal: SignalRow, instrument: InstrumentRow, context: EvaluationContext
) -> EntryMarket | Denial | Deferred:
    """Return the market that an entry is priced by, quote and rate fresh, or why it has none."""
    quote = context.quotes_of(row).get(row.pair)
    known = account_conversion(row, context, fresh_only=True)
    if quote is not None and quote.is_fresh and known is not None:
        return EntryMarket(instrument, quote, known.rate)
    missing = missing_price(row, context)
    assert missing is not None  # it checks the same three conditions
    return _awaiting_first_price(row, signal, context) or missing


def missing_price(row: OrderRow, context: EvaluationContext) -> Denial | None:
    """Return why an entry cannot be priced, with its price source's error; None: it can."""
    quote = context.quotes_of(row).get(row.pair)
    source = context.source_of(row)
    source_error = f"{source.name}: {_source_message(source)}" if source and source.error else ""
    if quote is None:
        return Denial(Code.QUOTE_MISSING, detail=f"{row.pair} {source_error}".rstrip())
    if not quote.is_fresh:
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


def quote_currency(pair: str) -> str:
    """Return the quote currency of a pair: `USD` of `EUR/USD`."""
    return pair.rpartition("/")[2]


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
    if not fresh_only or to_account is None:
        return to_account
    if all(quotes[pair].is_fresh for pair in to_account.pairs):
        return to_account
    return conversion(_fresh(quotes), source, row.currency)


def _fresh(quotes: Mapping[str, QuoteRow]) -> dict[str, QuoteRow]:
    return {pair: quote for pair, quote in quotes.items() if quote.is_fresh}


def signal_budget_of(
    row: OrderRow, signal: SignalRow, context: EvaluationContext
) -> SignalBudget | Denial | None:
    """Return what the entry may add to its signal; None without a limit of the feed, and for a
    paper twin, which moves no market."""
    if signal.max_signal_notional is None or is_twin_account(row.type, row.account):
        return None
    fresh = _fresh(context.quotes_of(row))
    return signal_budget(signal, quote_currency(row.pair), context.totals, fresh)


def provider_figures(
    row: OrderRow, signal: SignalRow, context: EvaluationContext
) -> ProviderFigures | Denial:
    """Return what the provider traded, its equity converted into the account's currency.

    An equity is only converted if the preset compares it with the account's; without its currency
    it could be a hundred times too small.
    """
    missing = [
        name for name in PROVIDER_FIELDS.get(row.terms.sizing_mode, ()) if not getattr(signal, name)
    ]
    if missing:
        return Denial(Code.PROVIDER_SIZE_MISSING, detail=", ".join(missing))
    if row.terms.sizing_mode != SizingMode.EQUITY_RATIO or signal.provider_equity is None:
        return ProviderFigures(signal.provider_quantity)
    known = account_conversion(row, context, signal.provider_currency, fresh_only=True)
    if known is None:
        return _missing_rate(row, context, signal.provider_currency) or ProviderFigures()
    return ProviderFigures(signal.provider_quantity, signal.provider_equity * known.rate)


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
        if row.terms.sizing_mode == SizingMode.EQUITY_RATIO and row.currency and signal:
            pairs.update(pairs_between(signal.provider_currency, row.currency))
        if signal and signal.max_signal_notional is not None:
            sent = totals.sent.get(signal.id, {}) if totals else {}
            for currency in {quote_currency(row.pair), *sent}:
                pairs.update(pairs_between(currency, signal.max_signal_currency))
    return sorted(pairs)
