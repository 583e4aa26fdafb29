"""The market when an entry was decided: spread, ATR, trend, for its page.

What a decision provider was given is stored with its answer. Of other entries it is calculated from
the minute bars around the decision, which are kept for a week.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from common.clocks import market_at, market_now
from common.money import plain, significant
from execution.models import EntryDecision, Order
from prices.bars import KEPT
from prices.indicators import CANDLES
from prices.selectors import (
    MIN_SPREAD_BARS,
    average_true_range,
    bar_at,
    candles,
    spread_percentiles,
    trend,
)

CANDLE_MINUTES = 15
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class MarketAnalysis:
    """The market of an entry. values: as `Market.as_json` has them; as_of: market time.

    is_stored: it is what the decision provider was given. missing: why a value is not known, one
    sentence each.
    """

    values: Mapping[str, object]
    as_of: datetime
    is_stored: bool
    missing: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """When and from what it was calculated, for the order's owner."""
        at = f"As of {self.as_of:%Y-%m-%d %H:%M:%S} UTC"
        if self.is_stored:
            return f"{at}, as the decision provider got it."
        return f"{at}, from the minute prices of the account’s source."


def market_analysis(order: Order, decision: EntryDecision | None) -> MarketAnalysis | None:
    """Return the market when an entry was decided; None: it is no entry.

    An entry that is not decided yet has that of now. Its connection must be loaded with it.
    """
    if not order.is_entry:
        return None
    if decision is not None and decision.market.get("spread"):
        stored = decision.market
        minutes = int(stored.get("candle_minutes") or CANDLE_MINUTES)
        missing = _missing(stored.get("atr"), stored.get("spread_percentile"), None, minutes)
        return MarketAnalysis(stored, market_at(decision.asked_at), True, missing)
    decided = order.validated_at or order.done_at
    as_of = market_at(decided) if decided else market_now()
    return _from_bars(order, as_of)


def _from_bars(order: Order, as_of: datetime) -> MarketAnalysis:
    source, pair = order.connection.data_connection_id, order.pair
    if source is None:
        return _nothing(as_of, "The account has no price source.")
    if as_of < market_now() - KEPT:
        days = KEPT.days
        return _nothing(as_of, f"Minute prices are kept for {days} days, and this was before.")
    bar = bar_at(source, pair, as_of)
    if bar is None:
        return _nothing(as_of, f"The account’s price source had no price of {pair} then.")
    key = source, pair
    of_pair = candles([key], minutes=CANDLE_MINUTES, now=as_of).get(key, [])
    atr, rank = average_true_range(of_pair), spread_percentiles({key: bar.spread}, now=bar.minute)
    values = {
        "bid": plain(bar.bid),
        "ask": plain(bar.ask),
        "spread": _text(bar.spread),
        "spread_percentile": _text(rank.get(key)),
        "candle_minutes": CANDLE_MINUTES,
        "atr": _text(atr),
        "atr_percent": _text(None if atr is None else atr * HUNDRED * 2 / (bar.bid + bar.ask)),
        "trend": _text(trend(of_pair)),
    }
    missing = _missing(atr, rank.get(key), len(of_pair), CANDLE_MINUTES)
    return MarketAnalysis(values, as_of, False, missing)


def _nothing(as_of: datetime, why: str) -> MarketAnalysis:
    return MarketAnalysis({}, as_of, False, (why,))


def _missing(atr: object, rank: object, known: int | None, minutes: int) -> tuple[str, ...]:
    """Return why ATR and trend, or the spread's percentile, are not known."""
    found = []
    if atr is None:
        there = "there were fewer" if known is None else f"there were {known}"
        found.append(f"ATR and trend need {CANDLES} candles of {minutes} minutes; {there}.")
    if rank is None:
        found.append(
            f"The spread’s percentile needs {MIN_SPREAD_BARS} minutes of quotes in the day before."
        )
    return tuple(found)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(significant(value))
