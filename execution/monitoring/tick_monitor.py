"""Tick monitor: evaluates engine-guarded levels on each batch of quotes.

A batch is evaluated by its lowest and highest prices, so a level that was hit and left again within
the batch is not missed. A hit also survives a locked position or a database outage, but counts only
for levels that existed at that time:
- The hit of a locked position is kept and counts while the level is unchanged.
- Prices that could not be evaluated count for positions without activity since.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from brokers.types import Quote
from common.clocks import machine_time
from common.sql import Query, columns, rows, run
from execution.exits import orders as exits
from execution.monitoring.level_monitor import (
    FREE,
    LevelHit,
    exit_requests_for,
    find_hits,
    level_hits_sql,
)
from positions.levels import is_guarded_by_sql
from positions.row_locks import lock_with_free_quantity

HEARTBEAT_SECONDS = 1.0

# age: seconds since the first of these prices.
PRICE_RANGES = """
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[], %s::float8[])
  AS t(data_connection_id, symbol, low_bid, high_bid, low_ask, high_ask, age)"""
HITS = level_hits_sql(
    PRICE_RANGES,
    free=f"{FREE} AND last_activity_at <= clock_timestamp() - make_interval(secs => q.age)",
)

HEARTBEAT = """
INSERT INTO execution_levelmonitorheartbeat (source_id, last_evaluated_at)
SELECT id, clock_timestamp() FROM connections_dataconnection WHERE id = %s
ON CONFLICT (source_id) DO UPDATE SET last_evaluated_at = EXCLUDED.last_evaluated_at
"""


class PositionLevels(NamedTuple):
    """The engine-guarded levels of a position; None: there is none."""

    id: int
    sl: Decimal | None
    tp: Decimal | None


STILL_VALID = Query(
    PositionLevels,
    f"""
SELECT id, CASE WHEN {is_guarded_by_sql("sl", "ENGINE")} THEN sl END AS sl,
  CASE WHEN {is_guarded_by_sql("tp", "ENGINE")} THEN tp END AS tp
FROM positions_executionposition WHERE id = ANY(%s) AND quantity > reserved
""",
)


@dataclass(slots=True)
class PriceRange:
    """The price range of a symbol. began: machine_time() of its first quote."""

    low_bid: Decimal
    high_bid: Decimal
    low_ask: Decimal
    high_ask: Decimal
    began: float

    def join(self, other: "PriceRange") -> "PriceRange":
        """Return the range that covers both."""
        return PriceRange(
            min(self.low_bid, other.low_bid),
            max(self.high_bid, other.high_bid),
            min(self.low_ask, other.low_ask),
            max(self.high_ask, other.high_ask),
            min(self.began, other.began),
        )


PriceRanges = dict[str, PriceRange]


@dataclass(slots=True)
class Unprocessed:
    """What is left to evaluate of one price source: ranges by pair, hits of locked positions."""

    ranges: PriceRanges = field(default_factory=dict)
    hits: list[LevelHit] = field(default_factory=list)


class TickMonitor:
    """Evaluates quotes and keeps what could not be evaluated, by price source. Thread-safe."""

    def __init__(self) -> None:
        self._unprocessed: dict[int, Unprocessed] = {}
        self._beat_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def process_quotes(
        self, source_id: int, quotes: Sequence[Quote], waited: float = 0.0
    ) -> list[int]:
        """Write an exit for each engine-guarded level that was hit; return the order ids.

        Without quotes, evaluates what was left over and writes the heartbeat. waited: seconds since
        the first quote arrived, if the quotes could not be evaluated at once.
        """
        with self._lock:
            left = self._unprocessed.get(source_id, Unprocessed())
            new = _price_ranges(quotes, waited)
            # Kept until the evaluation has ended, whatever ends it.
            self._unprocessed[source_id] = Unprocessed(_joined(left.ranges, new), left.hits)
            written, missed = _process(source_id, left, new, waited)
            del self._unprocessed[source_id]
            if missed:
                self._unprocessed[source_id] = Unprocessed(hits=missed)
            self._heartbeat(source_id)
            return written

    def _heartbeat(self, source_id: int) -> None:
        now = machine_time()
        if now - self._beat_at.get(source_id, float("-inf")) >= HEARTBEAT_SECONDS:
            run(HEARTBEAT, (source_id,))
            self._beat_at[source_id] = now


def _price_ranges(quotes: Sequence[Quote], waited: float) -> PriceRanges:
    began, ranges = machine_time() - waited, PriceRanges()
    for quote in quotes:
        price_range = PriceRange(quote.bid, quote.bid, quote.ask, quote.ask, began)
        known = ranges.get(quote.symbol)
        ranges[quote.symbol] = known.join(price_range) if known else price_range
    return ranges


def _joined(some: PriceRanges, others: PriceRanges) -> PriceRanges:
    both = some.keys() & others.keys()
    return {**some, **others, **{pair: some[pair].join(others[pair]) for pair in both}}


def _process(
    source_id: int, unprocessed: Unprocessed, new: PriceRanges, waited: float
) -> tuple[list[int], list[LevelHit]]:
    """Return the ids of the orders written, and the hits whose position was locked."""
    if not (unprocessed.ranges or unprocessed.hits or new):
        return [], []
    now = machine_time()
    records = [
        (
            source_id,
            pair,
            prices.low_bid,
            prices.high_bid,
            prices.low_ask,
            prices.high_ask,
            min(oldest, now - prices.began),
        )
        for ranges, oldest in ((unprocessed.ranges, now), (new, waited))
        for pair, prices in sorted(ranges.items())
    ]
    with transaction.atomic():
        hits = _still_valid(unprocessed.hits)
        if records:
            hits += find_hits(HITS, columns(records, 7))
        if not hits:
            return [], []
        locked = set(lock_with_free_quantity({hit.id for hit in hits}, skip_locked=True))
        requests = exit_requests_for([hit for hit in hits if hit.id in locked])
        written = [exit_.order_id for exit_ in exits.open_exits(requests)]
    return written, _still_valid([hit for hit in hits if hit.id not in locked])


def _still_valid(hits: Sequence[LevelHit]) -> list[LevelHit]:
    """Return the hits whose level is unchanged and whose position is not wholly being closed."""
    if not hits:
        return []
    levels = {row.id: row for row in rows(STILL_VALID, ([hit.id for hit in hits],))}
    return [
        hit for hit in hits if hit.id in levels and getattr(levels[hit.id], hit.level) == hit.price
    ]
