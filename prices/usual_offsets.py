"""How far two sources of the same pair usually quote apart: a future, say, and its spot price."""

from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, array, rows
from prices.bars import minute_of
from prices.distances import Offsets

WINDOW = timedelta(hours=1)
MAX_OFFSET_SHARE = Decimal("0.02")  # sources that are further apart quote different things
MIN_MINUTES = 3  # in which both have quoted: fewer may all be of the moment that is judged


class OffsetRow(NamedTuple):
    """What a source's bid and ask are usually more than another one's."""

    source_id: int
    symbol: str
    bid: Decimal
    ask: Decimal
    price: Decimal


# The median of the minutes: one in which only one of both had moved does not count.
OFFSETS = Query(
    OffsetRow,
    """
SELECT s.data_connection_id AS source_id, s.symbol,
  percentile_disc(0.5) WITHIN GROUP (
    ORDER BY (o.bid_high + o.bid_low - s.bid_high - s.bid_low) / 2) AS bid,
  percentile_disc(0.5) WITHIN GROUP (
    ORDER BY (o.ask_high + o.ask_low - s.ask_high - s.ask_low) / 2) AS ask,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY o.bid_low) AS price
FROM prices_pricebar o
JOIN prices_pricebar s ON s.symbol = o.symbol AND s.minute = o.minute
WHERE o.data_connection_id = %(source)s AND s.data_connection_id = ANY(%(others)s::bigint[])
  AND o.symbol = ANY(%(symbols)s::text[]) AND s.symbol = ANY(%(symbols)s::text[])
  AND o.minute >= %(since)s AND o.minute < %(before)s
  AND s.minute >= %(since)s AND s.minute < %(before)s
GROUP BY s.data_connection_id, s.symbol HAVING count(*) >= %(minutes)s
""",
)


def usual_offsets(
    source_id: int, others: Collection[int], symbols: Collection[str], at: datetime
) -> dict[tuple[int, str], Offsets]:
    """Return what a source's prices were more than others' in the hour before the minute of `at`.

    at: market time. By other source and symbol. Those are left out that have not quoted beside it
    for long enough, and those that are so far away that they quote another thing.
    """
    before = minute_of(at)
    parameters = {
        "source": source_id, "others": list(others), "symbols": array(symbols),
        "since": before - WINDOW, "before": before, "minutes": MIN_MINUTES,
    }  # fmt: skip
    return {
        (row.source_id, row.symbol): (row.bid, row.ask)
        for row in rows(OFFSETS, parameters)
        if max(abs(row.bid), abs(row.ask)) <= MAX_OFFSET_SHARE * row.price
    }
