"""Store and delete prices."""

from collections.abc import Sequence
from datetime import datetime

from brokers.types import Quote
from common.db.sql import columns, periodic_run, rows, run
from common.failpoints import failpoint
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
  time = excluded.time, received_at = excluded.received_at, from_fallback = false
WHERE old.time <= excluded.time OR old.from_fallback
"""


def store_quotes(data_connection_id: int, quotes: Sequence[Quote]) -> int:
    """Store the last quote of each symbol, in one statement; return how many of these it wrote.

    A quote older than the stored one is ignored; one of the same time replaces it. A fallback's
    gives way to any: its time is by the clock of another source. The same
    statement adds all quotes to their minute bars, so that one commit stores both.
    """
    if not quotes:
        return 0
    rows = [bar.row() for bar in bars.bars_of(quotes)]
    written = periodic_run(STORE_QUOTES, (data_connection_id, *columns(rows, bars.COLUMNS)))
    failpoint("quotes.stored")
    return written


# What a fallback's quote has triggered stays one of the fallback.
# An exit is decided by the newest quote: the one that it was written for is there when it is.
STORE_LATEST = """
INSERT INTO prices_latestquote AS old (data_connection_id, symbol, bid, ask, time, received_at)
SELECT %s, symbol, bid, ask, time, clock_timestamp()
FROM unnest(%s::text[], %s::numeric[], %s::numeric[], %s::timestamptz[])
  AS new(symbol, bid, ask, time)
ORDER BY symbol
ON CONFLICT (data_connection_id, symbol) DO UPDATE SET bid = excluded.bid, ask = excluded.ask,
  time = excluded.time, received_at = excluded.received_at,
  from_fallback = old.from_fallback
    AND (old.bid, old.ask, old.time) = (excluded.bid, excluded.ask, excluded.time)
WHERE old.time <= excluded.time OR old.from_fallback
"""


def store_latest(data_connection_id: int, quotes: Sequence[Quote]) -> None:
    """Store the newest quote of some symbols in the caller's transaction, without their bars.

    quotes: one of each symbol. `store_quotes` stores them again, with all others of their batch.
    """
    if quotes:
        values = [(quote.symbol, quote.bid, quote.ask, quote.time) for quote in quotes]
        run(STORE_LATEST, (data_connection_id, *columns(values, 4)))


# Nothing that the source itself has sent since it was read is replaced. Locked in the order of
# symbols, like all other writers. The condition is judged again once the lock is there.
STORE_FALLBACK = """
WITH new AS MATERIALIZED (
  SELECT * FROM unnest(%(symbols)s::text[], %(bids)s::numeric[], %(asks)s::numeric[],
    %(times)s::timestamptz[], %(seen)s::timestamptz[]) AS n(symbol, bid, ask, time, seen_at)
), locked AS MATERIALIZED (
  SELECT q.id, n.bid, n.ask, n.time FROM prices_latestquote q
  JOIN new n ON n.symbol = q.symbol AND n.seen_at = q.received_at
  WHERE q.data_connection_id = %(source)s ORDER BY q.symbol FOR NO KEY UPDATE OF q
)
UPDATE prices_latestquote q SET bid = n.bid, ask = n.ask, time = n.time,
  received_at = clock_timestamp(), from_fallback = true
FROM locked n WHERE q.id = n.id RETURNING q.symbol
"""


def store_fallback_quotes(
    data_connection_id: int, quotes: Sequence[tuple[Quote, datetime]]
) -> set[str]:
    """Store a fallback's quotes as a source's, each unless its source has sent one meanwhile.

    quotes: each with when the stored one came that it replaces, machine time. Returns the symbols
    that were written.
    """
    if not quotes:
        return set()
    values = [(q.symbol, q.bid, q.ask, q.time, seen_at) for q, seen_at in quotes]
    names = "symbols", "bids", "asks", "times", "seen"
    lists = dict(zip(names, columns(values, 5), strict=True))
    written = rows(STORE_FALLBACK, lists | {"source": data_connection_id})
    return {row.symbol for row in written}


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
