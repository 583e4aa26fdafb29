"""Read stored prices."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from brokers.paper.currency_conversion import Conversion, conversion, conversion_rate, pairs_between
from brokers.types import Quote
from prices.models import LatestQuote

__all__ = [
    "Conversion", "conversion", "conversion_rate", "is_stale", "latest", "latest_by_connection",
    "newest_time", "pairs_between",
]  # fmt: skip


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
