"""Store and delete prices."""

from collections.abc import Sequence

from brokers.types import Quote
from common.failpoints import failpoint
from common.sql import run
from prices.models import LatestQuote


def store_quotes(data_connection_id: int, quotes: Sequence[Quote]) -> int:
    """Store the last quote of each symbol, in one statement; return how many rows it wrote.

    A quote older than the stored one is ignored; one of the same time replaces it.
    """
    last: dict[str, Quote] = {}
    for quote in quotes:
        if quote.symbol not in last or quote.time >= last[quote.symbol].time:
            last[quote.symbol] = quote
    if not last:
        return 0
    rows = [last[symbol] for symbol in sorted(last)]  # sorted: two writers cannot deadlock
    written = run(
        "INSERT INTO prices_latestquote AS old "
        "(data_connection_id, symbol, bid, ask, time, received_at) "
        "SELECT %s, symbol, bid, ask, time, clock_timestamp() FROM "
        "unnest(%s::text[], %s::numeric[], %s::numeric[], %s::timestamptz[]) "
        "new(symbol, bid, ask, time) "
        "ON CONFLICT (data_connection_id, symbol) DO UPDATE SET bid = excluded.bid, "
        "ask = excluded.ask, time = excluded.time, received_at = excluded.received_at "
        "WHERE old.time <= excluded.time",
        (
            data_connection_id,
            [quote.symbol for quote in rows],
            [quote.bid for quote in rows],
            [quote.ask for quote in rows],
            [quote.time for quote in rows],
        ),
    )
    failpoint("quotes.stored")
    return written


def forget_quotes(data_connection_id: int) -> None:
    """Delete a source's prices: its next market session may lie in the past (a replay)."""
    LatestQuote.objects.filter(data_connection_id=data_connection_id).delete()
