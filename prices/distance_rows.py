"""How far a source lay from its fallbacks, by the minute bars that both have."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, array, rows
from prices.distances import KEPT_SAMPLES, LOOK_BACK, TOGETHER, Distance, Sample, distance_of


class SampleRow(NamedTuple):
    """The last quotes of a source and a fallback in one minute."""

    symbol: str
    other: int
    at: datetime
    other_at: datetime
    bid: Decimal
    ask: Decimal
    width: Decimal


# Bars have only what a source itself has quoted.
_SAMPLES = Query(
    SampleRow,
    f"""
SELECT p.symbol, f.id AS other, m.*
FROM unnest(%(pairs)s::text[]) AS p(symbol) CROSS JOIN unnest(%(others)s::bigint[]) AS f(id)
CROSS JOIN LATERAL (
  SELECT s.last_at AS at, o.last_at AS other_at, s.bid_close - o.bid_close AS bid,
    s.ask_close - o.ask_close AS ask,
    s.ask_close - s.bid_close + o.ask_close - o.bid_close AS width
  FROM prices_pricebar s
  JOIN prices_pricebar o ON o.data_connection_id = f.id AND o.symbol = s.symbol
    AND o.minute = s.minute
  WHERE s.data_connection_id = %(source)s AND s.symbol = p.symbol AND s.minute >= %(since)s
    AND abs(extract(epoch FROM s.last_at - o.last_at)) <= {TOGETHER.total_seconds()}
  ORDER BY s.minute DESC LIMIT {KEPT_SAMPLES}
) m ORDER BY p.symbol, f.id, m.at
""",
)


def stored_distances(
    source_id: int, others: Collection[int], pairs: Collection[str], now: datetime
) -> dict[tuple[str, int], Distance]:
    """Return the distance of a source to its fallbacks when it spoke last, by pair and fallback."""
    samples: dict[tuple[str, int], list[Sample]] = {}
    parameters = {
        "pairs": array(pairs), "others": list(others), "source": source_id,
        "since": now - LOOK_BACK,
    }  # fmt: skip
    for row in rows(_SAMPLES, parameters):
        sample = Sample(row.at, row.other_at, (row.bid, row.ask), row.width)
        samples.setdefault((row.symbol, row.other), []).append(sample)
    return {key: distance_of(found) for key, found in samples.items()}
