"""Minute bars: summarise a batch of quotes, and the statements that keep them. Pure.

A bar is what a symbol did at a source in one minute of the market clock. Other apps read bars by
`prices.selectors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

from brokers.types import Quote

KEPT = timedelta(days=7)
MINUTE = timedelta(minutes=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
ZERO = Decimal(0)
_TIME = attrgetter("time")
MAX_DELETED = 50_000  # rows in one statement


@dataclass(frozen=True, slots=True)
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

    def row(self) -> tuple[Any, ...]:
        """Return the bar as a row of `UPSERT_BARS`."""
        return (
            self.symbol, self.minute, *self.bid, *self.ask, self.spread_sum, self.count,
            self.first_at, self.last_at,
        )  # fmt: skip


COLUMNS = 14


def bars_of(quotes: Sequence[Quote]) -> list[Bar]:
    """Return the bars of a batch, sorted by symbol and minute: two writers cannot deadlock."""
    of_bar: dict[tuple[str, datetime], list[Quote]] = {}
    minute, following = LONG_AGO, LONG_AGO
    for quote in quotes:
        if not minute <= quote.time < following:  # most of a batch are of one minute
            minute = minute_of(quote.time)
            following = minute + MINUTE
        of_bar.setdefault((quote.symbol, minute), []).append(quote)
    return [_bar_of(symbol, minute, of_bar[symbol, minute]) for symbol, minute in sorted(of_bar)]


def _bar_of(symbol: str, minute: datetime, quotes: Sequence[Quote]) -> Bar:
    """Return the bar of one or more quotes, which may come in any order of time."""
    first = min(quotes, key=_TIME)  # of several with one time, the one that came first
    last = max(reversed(quotes), key=_TIME)  # and the one that came last
    bids, asks = [quote.bid for quote in quotes], [quote.ask for quote in quotes]
    return Bar(
        symbol,
        minute,
        [first.bid, max(bids), min(bids), last.bid],
        [first.ask, max(asks), min(asks), last.ask],
        sum(asks, ZERO) - sum(bids, ZERO),
        len(quotes),
        first.time,
        last.time,
    )


def minute_of(moment: datetime) -> datetime:
    """Return the start of a moment's minute."""
    return moment.replace(second=0, microsecond=0)


_NAMES = """symbol, minute, bid_open, bid_high, bid_low, bid_close, ask_open, ask_high, ask_low,
  ask_close, spread_sum, quote_count, first_at, last_at"""

# The rows of `Bar.row`, as a table with the source. Parameters: the source, then their columns.
BAR_ROWS = f"""
SELECT %s::bigint AS data_connection_id, t.* FROM unnest(%s::text[], %s::timestamptz[],
  %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[], %s::numeric[], %s::numeric[], %s::int[], %s::timestamptz[], %s::timestamptz[])
  AS t({_NAMES})
"""

# new: a table of BAR_ROWS.
UPSERT_BARS = f"""
INSERT INTO prices_pricebar AS b (data_connection_id, {_NAMES})
SELECT data_connection_id, {_NAMES} FROM new
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


def mean_spread_sql(source: str, symbol: str, at: str) -> str:
    """Return a scalar SELECT: the mean spread of the minute that a market time lies in.

    Quote currency; NULL without a price in that minute. All arguments are SQL expressions.
    """
    return (
        "(SELECT b.spread_sum / b.quote_count FROM prices_pricebar b"
        f" WHERE b.data_connection_id = {source} AND b.symbol = {symbol}"
        f" AND b.minute = date_trunc('minute', {at}, 'UTC'))"
    )
