"""Levels that we guard, judged by quotes as they come: a trigger does not wait for the minute.

A batch of quotes is looked at by its extremes, so a level that was touched between two others is
not missed, nor one whose position was locked or whose database was away at that moment. But what
prices did is only held against levels that were there then: of a locked position the hit is kept,
and counts while that level stands; prices that could not be judged count for positions that nobody
has touched since.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction

from brokers.types import Quote
from common.clocks import machine_time
from common.sql import columns, rows, run
from execution.exits import levels_sql
from execution.exits import orders as exits
from execution.monitoring.level_monitor import FREE, exit_requests_for, find_hits, level_hits_sql

HEARTBEAT_SECONDS = 1.0

# age: seconds since the first of these prices.
TOUCHED = """
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[], %s::float8[])
  AS t(data_connection_id, symbol, low_bid, high_bid, low_ask, high_ask, age)"""
HITS = level_hits_sql(
    TOUCHED, free=f"{FREE} AND last_activity_at <= clock_timestamp() - make_interval(secs => q.age)"
)

HEARTBEAT = """
INSERT INTO execution_levelmonitorheartbeat (source_id, last_evaluated_at)
SELECT id, clock_timestamp() FROM connections_dataconnection WHERE id = %s
ON CONFLICT (source_id) DO UPDATE SET last_evaluated_at = EXCLUDED.last_evaluated_at
"""

STILL_VALID = f"""
SELECT id, CASE WHEN {levels_sql.is_watched("sl", "ENGINE")} THEN sl END AS sl,
  CASE WHEN {levels_sql.is_watched("tp", "ENGINE")} THEN tp END AS tp
FROM positions_executionposition WHERE id = ANY(%s) AND quantity > reserved
"""


@dataclass(slots=True)
class PriceRange:
    """Between which prices a symbol has moved. began: machine_time() of the first of them."""

    low_bid: Decimal
    high_bid: Decimal
    low_ask: Decimal
    high_ask: Decimal
    began: float

    def join(self, other: "PriceRange") -> "PriceRange":
        """Return both in one."""
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
    """What is left to be judged of one source: prices by pair, and hits of locked positions."""

    ranges: PriceRanges = field(default_factory=dict)
    hits: list[Any] = field(default_factory=list)


class TickMonitor:
    """What prices did that has not been judged yet, by source. One thread at a time."""

    def __init__(self) -> None:
        self._unprocessed: dict[int, Unprocessed] = {}
        self._beat_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def process_quotes(
        self, source_id: int, quotes: Sequence[Quote], waited: float = 0.0
    ) -> list[int]:
        """Write an exit for each level of ours that these quotes have touched; return ids to ring.

        Without quotes (a heartbeat) what was left over is judged, and that we are here is noted.
        waited: seconds since the first of them came, if they could not be judged at once.
        """
        with self._lock:
            left, new = (
                self._unprocessed.pop(source_id, Unprocessed()),
                _price_ranges_of(quotes, waited),
            )
            try:
                written, missed = _process(source_id, left, new, waited)
            except BaseException:
                self._unprocessed[source_id] = Unprocessed(_joined(left.ranges, new), left.hits)
                raise
            if missed:
                self._unprocessed[source_id] = Unprocessed(hits=missed)
            self._heartbeat(source_id)
            return written

    def _heartbeat(self, source_id: int) -> None:
        now = machine_time()
        if now - self._beat_at.get(source_id, float("-inf")) >= HEARTBEAT_SECONDS:
            run(HEARTBEAT, (source_id,))
            self._beat_at[source_id] = now


def _price_ranges_of(quotes: Sequence[Quote], waited: float) -> PriceRanges:
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
) -> tuple[list[int], list[Any]]:
    """Return the orders that were written, and the hits on whose position someone else works."""
    if not (unprocessed.ranges or unprocessed.hits or new):
        return [], []
    now = machine_time()
    touched = [
        (
            source_id,
            pair,
            one.low_bid,
            one.high_bid,
            one.low_ask,
            one.high_ask,
            min(oldest, now - one.began),
        )
        for ranges, oldest in ((unprocessed.ranges, now), (new, waited))
        for pair, one in sorted(ranges.items())
    ]
    with transaction.atomic():
        hits = _still_valid(unprocessed.hits)
        if touched:
            hits += find_hits(HITS, columns(touched, 7))
        if not hits:
            return [], []
        locked = set(exits.lock({hit.id for hit in hits}, skip_locked=True))
        requests = exit_requests_for([hit for hit in hits if hit.id in locked])
        written = [exit_.order_id for exit_ in exits.open_exits(requests)]
    return written, _still_valid([hit for hit in hits if hit.id not in locked])


def _still_valid(hits: Sequence[Any]) -> list[Any]:
    """Those whose level stands as it was hit, and whose position is not all being closed."""
    if not hits:
        return []
    levels = {row.id: row for row in rows(STILL_VALID, ([hit.id for hit in hits],))}
    return [
        hit for hit in hits if hit.id in levels and getattr(levels[hit.id], hit.level) == hit.price
    ]
