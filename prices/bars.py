"""Minute bars: summarise a batch of quotes, and the statements that keep them. Pure.

A bar is what a symbol did at a source in one minute of the market clock. Other apps read bars by
`prices.selectors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from brokers.types import Quote

KEPT = timedelta(days=7)
MAX_DELETED = 50_000  # rows in one statement


@dataclass(slots=True)
class Bar:
    """A symbol's quotes in one minute. bid, ask: opening, highest, lowest and last value."""

    symbol: str
    minute: datetime
    bid: list[Decimal]
    ask: list[Decimal]
    spread_sum: Decimal
    count: int
    first_at: datetime
    last_at: datetime

    def add(self, quote: Quote) -> None:
        """Count one more quote; they may come in any order of time."""
        bid, ask, at = quote.bid, quote.ask, quote.time
        for values, price in ((self.bid, bid), (self.ask, ask)):
            if price > values[1]:
                values[1] = price
            elif price < values[2]:
                values[2] = price
            if at < self.first_at:
                values[0] = price
            if at >= self.last_at:
                values[3] = price
        self.spread_sum += ask - bid
        self.count += 1
        if at < self.first_at:
            self.first_at = at
        if at >= self.last_at:
            self.last_at = at

    def row(self) -> tuple[Any, ...]:
        """Return the bar as a row of `UPSERT_BARS`."""
        return (
            self.symbol, self.minute, *self.bid, *self.ask, self.spread_sum, self.count,
            self.first_at, self.last_at,
        )  # fmt: skip


COLUMNS = 14


def bars_of(quotes: Sequence[Quote]) -> list[Bar]:
    """Return the bars of a batch, sorted by symbol and minute: two writers cannot deadlock."""
    bars: dict[tuple[str, datetime], Bar] = {}
    for quote in quotes:
        key = (quote.symbol, minute_of(quote.time))
        if (bar := bars.get(key)) is not None:
            bar.add(quote)
        else:
            bars[key] = Bar(
                *key, [quote.bid] * 4, [quote.ask] * 4, quote.ask - quote.bid, 1,
                quote.time, quote.time,
            )  # fmt: skip
    return [bars[key] for key in sorted(bars)]


def minute_of(moment: datetime) -> datetime:
    """Return the start of a moment's minute."""
    return moment.replace(second=0, microsecond=0)


_ROWS = """unnest(%s::text[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::int[], %s::timestamptz[], %s::timestamptz[])"""
_NAMES = """symbol, minute, bid_open, bid_high, bid_low, bid_close, ask_open, ask_high, ask_low,
  ask_close, spread_sum, quote_count, first_at, last_at"""

# Parameters: the source, then the columns of `Bar.row`.
UPSERT_BARS = f"""
INSERT INTO prices_pricebar AS b (data_connection_id, {_NAMES})
SELECT %s, {_NAMES} FROM {_ROWS} t({_NAMES})
ON CONFLICT (data_connection_id, symbol, minute) DO UPDATE SET
  bid_open = CASE WHEN excluded.first_at < b.first_at THEN excluded.bid_open ELSE b.bid_open END,
  ask_open = CASE WHEN excluded.first_at < b.first_at THEN excluded.ask_open ELSE b.ask_open END,
  bid_high = greatest(b.bid_high, excluded.bid_high),
  ask_high = greatest(b.ask_high, excluded.ask_high),
  bid_low = least(b.bid_low, excluded.bid_low), ask_low = least(b.ask_low, excluded.ask_low),
  bid_close = CASE WHEN excluded.last_at >= b.last_at THEN excluded.bid_close ELSE b.bid_close END,
  ask_close = CASE WHEN excluded.last_at >= b.last_at THEN excluded.ask_close ELSE b.ask_close END,
  spread_sum = b.spread_sum + excluded.spread_sum,
  quote_count = b.quote_count + excluded.quote_count,
  first_at = least(b.first_at, excluded.first_at), last_at = greatest(b.last_at, excluded.last_at)
"""

DELETE_OLD_BARS = f"""
DELETE FROM prices_pricebar WHERE id = ANY(ARRAY(
  SELECT id FROM prices_pricebar WHERE minute < %s ORDER BY minute LIMIT {MAX_DELETED}))
"""
