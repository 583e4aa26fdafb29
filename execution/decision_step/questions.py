"""Read what decision providers are asked: the entries that wait, and their market.

No row is locked: the claim decides again by what is true then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from common.db.sql import database_now, rows
from common.money import significant
from common.reason_codes import Code
from connections.models import DecisionProvider, ExecutionConnection, ProviderKind
from connections.selectors import news_around
from execution.decision_step.rules import Calendar, News
from execution.decision_step.types import Market, Question
from execution.submission import claim_sql as sql
from execution.submission.bundle_evaluation import load_evaluation_context
from execution.submission.eligibility import find_instrument
from execution.submission.order_loading import load_orders
from execution.submission.outcomes import EvaluationContext
from execution.submission.rows import OrderRow
from prices.selectors import average_true_range, candles, spread_percentiles, trend

HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions to one provider. asked_at: the database's clock; answers age from then on.

    attempts: of the orders, by id. not_allowed: orders of presets that may not use the provider.
    calendar: for rules about news.
    """

    provider: DecisionProvider
    questions: Sequence[Question]
    attempts: dict[int, int]
    asked_at: datetime
    not_allowed: frozenset[int]
    calendar: Calendar | None = None


def load_waiting(order_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the ids of the entries that still wait for a decision, by provider."""
    waiting: dict[int, list[int]] = {}
    for row in _waiting_rows(order_ids):
        if row.terms.decision_provider_id is not None:
            waiting.setdefault(row.terms.decision_provider_id, []).append(row.id)
    return waiting


def load_asked(provider_id: int, order_ids: Sequence[int]) -> Asked | None:
    """Return what to ask a provider about these entries; None if none of them waits for it."""
    pending = [r for r in _waiting_rows(order_ids) if r.terms.decision_provider_id == provider_id]
    provider = (
        DecisionProvider.objects.select_related("calendar", "made_with")
        .filter(pk=provider_id)
        .first()
        if pending
        else None
    )
    if provider is None:
        return None
    signals = rows(sql.SIGNALS, (list({r.signal_id for r in pending if r.signal_id}),))
    context = load_evaluation_context(pending, {signal.id: signal for signal in signals})
    market = _markets(pending, context, provider.candle_minutes)
    return Asked(
        provider,
        [_question(row, context, market[row.id]) for row in pending],
        {row.id: row.attempt for row in pending},
        database_now(),
        _of_others(provider, pending),
        _calendar(provider, context.now),
    )


def _waiting_rows(order_ids: Sequence[int]) -> list[OrderRow]:
    return [
        row
        for row in load_orders(order_ids)
        if row.status == "PENDING" and row.reason == Code.DECISION_AWAITED
    ]


def _of_others(provider: DecisionProvider, pending: Sequence[OrderRow]) -> frozenset[int]:
    """Return the orders whose preset belongs to a user who may not use it."""
    if provider.user_id is None:
        return frozenset()
    accounts = ExecutionConnection.objects.filter(pk__in={row.connection_id for row in pending})
    foreign = accounts.exclude(preset__user=provider.user_id).values_list("pk", flat=True)
    others = {str(account) for account in foreign}
    return frozenset(row.id for row in pending if row.connection_id in others)


def _question(row: OrderRow, context: EvaluationContext, market: Market) -> Question:
    signal, instrument = context.signal_of(row), find_instrument(row, context)
    return Question(
        order_id=row.id,
        connection_id=row.connection_id,
        signal_id=signal.id,
        feed_id=signal.feed_id,
        pair=row.pair,
        side=row.side,
        order_type=row.order_type,
        open_price=row.limit_price or signal.open_price,
        stop_price=row.stop_price,
        stop_loss=signal.sl,
        targets=signal.target_prices,
        published_at=signal.published_at,
        now=context.now,
        currency=row.currency,
        balance=row.balance,
        equity=row.equity,
        pip=instrument.pip if instrument else None,
        tick=instrument.tick if instrument else None,
        market=market,
    )


def _markets(
    pending: Sequence[OrderRow], context: EvaluationContext, minutes: int
) -> dict[int, Market]:
    """Return the market of each order, in two queries for all of them."""
    quotes = {
        (row.data_connection_id, row.pair): quote
        for row in pending
        if row.data_connection_id is not None
        and (quote := context.quotes_of(row).get(row.pair)) is not None
        and quote.is_fresh
    }
    spreads = {key: quote.ask - quote.bid for key, quote in quotes.items()}
    ranks = spread_percentiles(spreads, now=context.now)
    series = candles(quotes, minutes=minutes, now=context.now)
    markets: dict[tuple[int, str], Market] = {}
    for key, quote in quotes.items():
        of_pair = series.get(key, [])
        atr, middle = average_true_range(of_pair), (quote.bid + quote.ask) / 2
        markets[key] = Market(
            bid=quote.bid, ask=quote.ask, quote_age=quote.age, spread=spreads[key],
            spread_percentile=_rounded(ranks.get(key)), candle_minutes=minutes,
            atr=_rounded(atr), trend=_rounded(trend(of_pair)),
            atr_percent=None if atr is None else _rounded(atr * HUNDRED / middle),
        )  # fmt: skip
    none = Market(candle_minutes=minutes)
    return {row.id: markets.get((row.data_connection_id or 0, row.pair), none) for row in pending}


def _rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else significant(value)


def _calendar(provider: DecisionProvider, now: datetime) -> Calendar | None:
    """Return the calendar of rules with its events near now."""
    found = provider.calendar
    if found is None or provider.kind != ProviderKind.RULES:
        return None
    events = news_around(
        found.pk,
        now - timedelta(minutes=provider.news_minutes_after),
        now + timedelta(minutes=provider.news_minutes_before),
    )
    named = [News(e.at, e.currency, e.impact, e.title) for e in events]
    return Calendar(found.name, found.starts_at, found.ends_at, named)
