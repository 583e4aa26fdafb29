"""Read stored prices."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Avg, Count, F, Sum

from brokers.paper.currency_conversion import Conversion, conversion, conversion_rate, pairs_between
from brokers.types import Quote
from common.db.sql import Query, array, columns, rows
from common.fields import AmountField
from common.money import divide, to_stored
from prices.bars import KEPT, minute_of
from prices.indicators import CANDLES, Candle, average_true_range, percentile, trend
from prices.models import LatestQuote, PriceBar

__all__ = [
    "Candle", "Conversion", "MarketAverages", "average_prices", "average_true_range", "bar_at",
    "candles", "conversion", "conversion_rate", "fallback_prices", "is_stale", "latest",
    "latest_by_connection", "minute_bars", "minute_of", "newest_quotes", "newest_time",
    "own_quotes", "pairs_between", "quotes_by_day", "recent_ranges", "spread_percentiles", "trend",
]  # fmt: skip

SourcePair = tuple[int, str]
"""A price source's id and a canonical pair."""
CLOSED_MARKET = timedelta(hours=72)  # candles before a weekend count
MINUTE = timedelta(minutes=1)
SPREAD_WINDOW = timedelta(hours=24)
RANGE_WINDOW = timedelta(hours=1)
RECENT_BAR = timedelta(minutes=5)  # an older one is not the market of the moment
MIN_SPREAD_BARS = 60  # fewer minutes say nothing about what is usual


def latest(data_connection_id: int, symbols: Iterable[str] | None = None) -> dict[str, Quote]:
    """Return the latest quotes of a source by canonical pair; symbols None: all of them.

    Symbols without a quote are left out. A quote may be of any age: check it with `is_stale`.
    """
    return latest_by_connection([data_connection_id], symbols).get(data_connection_id, {})


def latest_by_connection(
    data_connection_ids: Iterable[int], symbols: Iterable[str] | None = None
) -> dict[int, dict[str, Quote]]:
    """Return the latest quotes of several sources in one query, by source and canonical pair."""
    rows = LatestQuote.objects.filter(data_connection_id__in=set(data_connection_ids))
    if symbols is not None:
        rows = rows.filter(symbol__in=set(symbols))
    quotes: dict[int, dict[str, Quote]] = {}
    for source, symbol, bid, ask, time in rows.values_list(
        "data_connection_id", "symbol", "bid", "ask", "time"
    ):
        quotes.setdefault(source, {})[symbol] = Quote(symbol, bid, ask, time)
    return quotes


def newest_quotes(
    data_connection_ids: Iterable[int], symbols: Iterable[str], *, received_since: datetime
) -> dict[str, Quote]:
    """Return the newest quote of each symbol over these sources, of those received since a time.

    received_since: machine time.
    """
    rows = LatestQuote.objects.filter(
        data_connection_id__in=set(data_connection_ids), symbol__in=set(symbols),
        received_at__gte=received_since,
    )  # fmt: skip
    newest = rows.order_by("symbol", "-received_at", "data_connection_id").distinct("symbol")
    return {
        symbol: Quote(symbol, bid, ask, time)
        for symbol, bid, ask, time in newest.values_list("symbol", "bid", "ask", "time")
    }


def own_quotes(
    data_connection_ids: Iterable[int], symbols: Iterable[str]
) -> dict[SourcePair, tuple[Quote, datetime]]:
    """Return what these sources themselves quoted last, with when it came (machine time).

    What they have from a fallback is left out.
    """
    rows = LatestQuote.objects.filter(
        data_connection_id__in=set(data_connection_ids), symbol__in=set(symbols),
        from_fallback=False,
    )  # fmt: skip
    values = ("data_connection_id", "symbol", "bid", "ask", "time", "received_at")
    return {
        (source, symbol): (Quote(symbol, bid, ask, time), received_at)
        for source, symbol, bid, ask, time, received_at in rows.values_list(*values)
    }


def is_stale(quote: Quote, *, now: datetime, max_age: timedelta) -> bool:
    """Return whether a quote is too old to trade on. now: market time, aware."""
    return now - quote.time > max_age


def newest_time(data_connection_id: int) -> datetime | None:
    """Return the market time of a source's newest quote; None if it has none."""
    return (
        LatestQuote.objects.filter(data_connection_id=data_connection_id)
        .order_by("-time")
        .values_list("time", flat=True)
        .first()
    )


class MarketAverages(NamedTuple):
    """The mid prices of a period. minutes: how many of it had quotes."""

    by_time: Decimal
    by_quotes: Decimal
    minutes: int


def average_prices(
    data_connection_id: int, pair: str, start: datetime, end: datetime
) -> MarketAverages | None:
    """Return the mid prices of a pair weighted by time and by volume; None without a bar.

    Volume is the number of quotes. start, end: market time. Minutes in which the period begins and
    ends count as a whole.
    """
    bars = PriceBar.objects.filter(
        data_connection_id=data_connection_id, symbol=pair, minute__gte=minute_of(start),
        minute__lte=end,
    )  # fmt: skip
    mid = (F("bid_open") + F("bid_close") + F("ask_open") + F("ask_close")) / Decimal(4)
    found = bars.aggregate(
        mean=Avg(mid, output_field=AmountField()),
        value=Sum(mid * F("quote_count"), output_field=AmountField()),
        count=Sum("quote_count"),
        minutes=Count("*"),
    )
    if found["mean"] is None:
        return None
    by_quotes = divide(found["value"], Decimal(found["count"]))
    return MarketAverages(to_stored(found["mean"]), by_quotes, found["minutes"])


class BarPrices(NamedTuple):
    """What a symbol cost at the end of a minute. spread: the mean of the minute."""

    minute: datetime
    bid: Decimal
    ask: Decimal
    spread: Decimal


def bar_at(data_connection_id: int, pair: str, at: datetime) -> BarPrices | None:
    """Return the newest prices of a pair before a market time; None: there are none of late.

    They are those of the end of a whole minute: what came after `at` within its own minute does not
    count.
    """
    bars = PriceBar.objects.filter(
        data_connection_id=data_connection_id, symbol=pair, minute__lte=at - MINUTE,
        minute__gt=at - RECENT_BAR,
    )  # fmt: skip
    values = ("minute", "bid_close", "ask_close", "spread_sum", "quote_count")
    found = bars.order_by("-minute").values_list(*values).first()
    if found is None:
        return None
    minute, bid, ask, spread_sum, count = found
    return BarPrices(minute, bid, ask, divide(spread_sum, Decimal(count)))


class DayRow(NamedTuple):
    """How many quotes a pair had in the minutes of a day, from the minute of an entry on."""

    data_connection_id: int
    symbol: str
    seconds: int
    minutes: list[int]
    quotes: list[int]


# The same time of day on each day whose bars are kept.
QUOTES_BY_DAY = Query(
    DayRow,
    """
SELECT k.source_id AS data_connection_id, k.pair AS symbol, k.seconds,
  array_agg((extract(epoch FROM b.minute - d.start) / 60)::int) AS minutes,
  array_agg(b.quote_count) AS quotes
FROM unnest(%(sources)s::bigint[], %(symbols)s::text[], %(seconds)s::int[])
  AS k(source_id, pair, seconds)
CROSS JOIN LATERAL (
  SELECT date_trunc('minute', %(now)s::timestamptz) - make_interval(days => n) AS start,
    %(now)s::timestamptz - make_interval(days => n, secs => -k.seconds) AS until
  FROM generate_series(1, %(days)s) n) d
JOIN prices_pricebar b ON b.data_connection_id = k.source_id AND b.symbol = k.pair
  AND b.minute >= d.start AND b.minute < d.until
GROUP BY 1, 2, 3, d.start
""",
)


def quotes_by_day(
    pairs: Iterable[tuple[int, str, int]], *, now: datetime
) -> dict[tuple[int, str, int], list[dict[int, int]]]:
    """Return the quotes by minute at this time of day, of each earlier day that has some.

    pairs: source, pair, and seconds after now. Minutes count from the minute of now, market time.
    """
    asked = sorted(pairs)
    sources, symbols, seconds = columns(asked, 3)
    found: dict[tuple[int, str, int], list[dict[int, int]]] = {}
    parameters = {"sources": sources, "symbols": symbols, "seconds": seconds, "now": now,
                  "days": KEPT.days}  # fmt: skip
    for row in rows(QUOTES_BY_DAY, parameters):
        key = (row.data_connection_id, row.symbol, row.seconds)
        found.setdefault(key, []).append(dict(zip(row.minutes, row.quotes, strict=True)))
    return found


class CandleRow(NamedTuple):
    """A candle of a pair at a source."""

    data_connection_id: int
    symbol: str
    start: datetime
    high: Decimal
    low: Decimal
    close: Decimal


class SpreadRow(NamedTuple):
    """How many minutes of a pair had at most a given mean spread."""

    data_connection_id: int
    symbol: str
    lower: int
    total: int


# Intervals count from a Monday, so that they end at full hours and midnight (UTC).
_INTERVAL = "date_bin(make_interval(mins => %(minutes)s), {}, '2001-01-01T00:00Z'::timestamptz)"
CANDLES_OF = Query(
    CandleRow,
    f"""
SELECT data_connection_id, symbol, start, max(bid_high) AS high, min(bid_low) AS low,
  (array_agg(bid_close ORDER BY minute DESC))[1] AS close
FROM (
  SELECT b.*, {_INTERVAL.format("b.minute")} AS start
  FROM unnest(%(sources)s::bigint[], %(symbols)s::text[]) AS k(source_id, pair)
  JOIN prices_pricebar b ON b.data_connection_id = k.source_id AND b.symbol = k.pair
    AND b.minute >= %(since)s AND b.minute < {_INTERVAL.format("%(now)s::timestamptz")}
) bars GROUP BY data_connection_id, symbol, start ORDER BY data_connection_id, symbol, start
""",
)
SPREADS_OF = Query(
    SpreadRow,
    """
SELECT k.source_id AS data_connection_id, k.pair AS symbol,
  count(*) FILTER (WHERE b.spread_sum <= k.spread * b.quote_count)::int AS lower,
  count(*)::int AS total
FROM unnest(%(sources)s::bigint[], %(symbols)s::text[], %(spreads)s::numeric[])
  AS k(source_id, pair, spread)
JOIN prices_pricebar b ON b.data_connection_id = k.source_id AND b.symbol = k.pair
  AND b.minute >= %(since)s AND b.minute <= %(now)s
GROUP BY 1, 2
""",
)


def candles(
    pairs: Iterable[SourcePair], *, minutes: int, now: datetime, count: int = CANDLES
) -> dict[SourcePair, list[Candle]]:
    """Return the last complete candles of each pair, the oldest first, in one query.

    minutes: the length of a candle. now: market time. A pair may have fewer than `count`: minutes
    without a quote are left out, and bars are kept for a week.
    """
    wanted = sorted(set(pairs))
    if not wanted:
        return {}
    sources, symbols = columns(wanted, 2)
    since = now - timedelta(minutes=minutes * (count + 1)) - CLOSED_MARKET
    found: dict[SourcePair, list[Candle]] = {}
    for row in rows(
        CANDLES_OF,
        {"sources": sources, "symbols": symbols, "minutes": minutes, "since": since, "now": now},
    ):
        key = row.data_connection_id, row.symbol
        found.setdefault(key, []).append(Candle(row.start, row.high, row.low, row.close))
    return {key: of_pair[-count:] for key, of_pair in found.items()}


def spread_percentiles(
    spreads: Mapping[SourcePair, Decimal], *, now: datetime
) -> dict[SourcePair, Decimal]:
    """Return which percent of the last 24 hours' minutes had no wider spread than the given one.

    spreads: ask - bid, quote currency. Pairs with fewer than 60 minutes of quotes are left out.
    """
    if not spreads:
        return {}
    records = sorted((source, pair, spread) for (source, pair), spread in spreads.items())
    sources, symbols, values = columns(records, 3)
    parameters = {
        "sources": sources, "symbols": symbols, "spreads": values, "since": now - SPREAD_WINDOW,
        "now": now,
    }  # fmt: skip
    return {
        (row.data_connection_id, row.symbol): rank
        for row in rows(SPREADS_OF, parameters)
        if row.total >= MIN_SPREAD_BARS and (rank := percentile(row.lower, row.total)) is not None
    }


class RangeRow(NamedTuple):
    """How far the middle of a pair's prices lay apart recently."""

    symbol: str
    apart: Decimal


RANGES = Query(
    RangeRow,
    """
SELECT symbol, (max(bid_high + ask_high) - min(bid_low + ask_low)) / 2 AS apart
FROM prices_pricebar
WHERE data_connection_id = %s AND symbol = ANY(%s::text[]) AND minute >= %s AND minute <= %s
GROUP BY symbol HAVING count(*) >= 5
""",
)


def recent_ranges(
    data_connection_id: int, symbols: Iterable[str], now: datetime
) -> dict[str, Decimal]:
    """Return how far the prices of each pair lay apart in the last hour, by its minute bars.

    now: market time. Pairs with fewer than five minutes of quotes are left out.
    """
    parameters = data_connection_id, array(set(symbols)), now - RANGE_WINDOW, now
    return {row.symbol: row.apart for row in rows(RANGES, parameters)}


def fallback_prices(source_id: int, symbols: Iterable[str]) -> dict[str, Quote]:
    """Return the stored quotes of a source that are a fallback's, shifted, by canonical pair."""
    rows = LatestQuote.objects.filter(
        data_connection_id=source_id, symbol__in=set(symbols), from_fallback=True
    )
    values = rows.values_list("symbol", "bid", "ask", "time")
    return {symbol: Quote(symbol, bid, ask, time) for symbol, bid, ask, time in values}


def quote_join_sql(source_id: str, pair: str) -> str:
    """Return SQL that joins the latest quote `q` of a price source. Both are expressions."""
    return f"JOIN prices_latestquote q ON q.data_connection_id = {source_id} AND q.symbol = {pair}"


class MinuteRow(NamedTuple):
    """A minute bar: open, highest, lowest and last bid and ask."""

    minute: datetime
    bid_open: Decimal
    bid_high: Decimal
    bid_low: Decimal
    bid_close: Decimal
    ask_open: Decimal
    ask_high: Decimal
    ask_low: Decimal
    ask_close: Decimal


def minute_bars(
    data_connection_id: int, pair: str, *, since: datetime, before: datetime
) -> list[MinuteRow]:
    """Return the bars of the minutes that begin in [since, before), market time, oldest first."""
    bars = PriceBar.objects.filter(
        data_connection_id=data_connection_id, symbol=pair, minute__gte=since, minute__lt=before
    )
    return [MinuteRow(*bar) for bar in bars.order_by("minute").values_list(*MinuteRow._fields)]
