"""Store and delete prices."""

from collections.abc import Sequence
from datetime import datetime

from brokers.types import Quote
from common.failpoints import failpoint
from common.sql import columns, periodic_run, run
from prices import bars
from prices.models import LatestQuote, PriceBar

# In the order of symbols: two writers cannot deadlock.
STORE_QUOTES = f"""
WITH new AS MATERIALIZED ({bars.BAR_ROWS}), bars AS ({bars.UPSERT_BARS})
INSERT INTO prices_latestquote AS old (data_connection_id, symbol, bid, ask, time, received_at)
SELECT DISTINCT ON (symbol) data_connection_id, symbol, bid_close, ask_close, last_at,
  clock_timestamp()
FROM new ORDER BY symbol, minute DESC
ON CONFLICT (data_connection_id, symbol) DO UPDATE SET bid = excluded.bid, ask = excluded.ask,
  time = excluded.time, received_at = excluded.received_at
WHERE old.time <= excluded.time
"""


def store_quotes(data_connection_id: int, quotes: Sequence[Quote]) -> int:
    """Store the last quote of each symbol, in one statement; return how many of these it wrote.

    A quote older than the stored one is ignored; one of the same time replaces it. The same
    statement adds all quotes to their minute bars, so that one commit stores both.
    """
    if not quotes:
        return 0
    rows = [bar.row() for bar in bars.bars_of(quotes)]
    written = periodic_run(STORE_QUOTES, (data_connection_id, *columns(rows, bars.COLUMNS)))
    failpoint("quotes.stored")
    return written


# An exit is decided by the newest quote: the one that it was written for is there when it is.
STORE_LATEST = """
INSERT INTO prices_latestquote AS old (data_connection_id, symbol, bid, ask, time, received_at)
SELECT %s, symbol, bid, ask, time, clock_timestamp()
FROM unnest(%s::text[], %s::numeric[], %s::numeric[], %s::timestamptz[])
  AS new(symbol, bid, ask, time)
ORDER BY symbol
ON CONFLICT (data_connection_id, symbol) DO UPDATE SET bid = excluded.bid, ask = excluded.ask,
  time = excluded.time, received_at = excluded.received_at
WHERE old.time <= excluded.time
"""


def store_latest(data_connection_id: int, quotes: Sequence[Quote]) -> None:
    """Store the newest quote of some symbols in the caller's transaction, without their bars.

    quotes: one of each symbol. `store_quotes` stores them again, with all others of their batch.
    """
    if quotes:
        values = [(quote.symbol, quote.bid, quote.ask, quote.time) for quote in quotes]
        run(STORE_LATEST, (data_connection_id, *columns(values, 4)))


def forget_quotes(data_connection_id: int, since: datetime | None = None) -> None:
    """Delete a source's prices: its next market session may lie in the past (a replay).

    since: from when on minute bars are deleted too; None: all of them.
    """
    LatestQuote.objects.filter(data_connection_id=data_connection_id).delete()
    later = PriceBar.objects.filter(data_connection_id=data_connection_id)
    if since is not None:
        later = later.filter(minute__gte=bars.minute_of(since))
    later.delete()


def delete_old_bars(now: datetime) -> int:
    """Delete minute bars that are older than a week; return how many. now: market time."""
    return run(bars.DELETE_OLD_BARS, (now - bars.KEPT,))
