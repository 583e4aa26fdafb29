"""Tick monitor: writes an exit order as soon as a quote reaches a stop-loss or take-profit.

It evaluates the engine-guarded levels, those that we and not the broker execute, for each batch of
quotes. A batch counts by its lowest and highest prices, so a level that the price only touched
within the batch is not missed.

What cannot be evaluated at once is kept in memory and evaluated by the next call, but counts only
for levels that existed at the time of the quotes:
- If another transaction has locked the position, the hit is kept. It counts while the level is
  unchanged.
- If the database fails, the price ranges are kept. They count for positions without activity since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from brokers.types import Quote
from common.clocks import machine_time
from common.db.sql import Query, columns, kept_plans, periodic_rows, rows, run
from execution.exits import orders as exits
from execution.monitoring.level_monitor import (
    NOT_WHOLLY_RESERVED,
    LevelHit,
    exit_requests_for,
    level_hits_sql,
)
from positions.levels import is_guarded_by_sql
from positions.row_locks import lock_with_free_quantity
from prices.ranges import PriceRanges, in_sequence, price_ranges
from prices.services import store_latest
from prices.source_locks import SourceLocks

HEARTBEAT_SECONDS = 1.0

# A table of price ranges. symbol: the pair. age: seconds since the first price of the range.
PRICE_RANGES = """
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[], %s::float8[])
  AS t(data_connection_id, symbol, low_bid, high_bid, low_ask, high_ask, age)"""
# q: a price range. It counts for positions without activity since its first price.
HITS = level_hits_sql(
    PRICE_RANGES,
    condition=f"""{NOT_WHOLLY_RESERVED}
      AND last_activity_at <= clock_timestamp() - make_interval(secs => q.age)""",
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


# The current engine-guarded levels of positions that are not wholly being closed already.
CURRENT_LEVELS = Query(
    PositionLevels,
    f"""
SELECT id, CASE WHEN {is_guarded_by_sql("sl", "ENGINE")} THEN sl END AS sl,
  CASE WHEN {is_guarded_by_sql("tp", "ENGINE")} THEN tp END AS tp
FROM positions_executionposition WHERE id = ANY(%s) AND quantity > reserved
""",
)


@dataclass(slots=True)
class Unprocessed:
    """What the next call has to evaluate for one price source.

    ranges: prices that could not be evaluated. hits: levels reached whose position was locked.
    """

    ranges: PriceRanges = field(default_factory=dict)
    hits: list[LevelHit] = field(default_factory=list)


class TickMonitor:
    """Evaluates quotes and keeps what could not be evaluated, by price source. Thread-safe."""

    def __init__(self) -> None:
        self._unprocessed: dict[int, Unprocessed] = {}
        self._heartbeat_at: dict[int, float] = {}
        self._locks = SourceLocks()

    def process_quotes(
        self, source_id: int, quotes: Sequence[Quote], waited: float = 0.0
    ) -> list[int]:
        """Write an exit for each engine-guarded level that was hit; return the order ids.

        Without quotes, evaluates what earlier calls have kept, and writes the heartbeat. waited:
        seconds since the first quote arrived, if the quotes could not be evaluated at once.
        """
        with self._locks.of(source_id):
            earlier = self._unprocessed.get(source_id, Unprocessed())
            new = price_ranges(quotes, machine_time() - waited)
            # If the evaluation fails, the next call evaluates these.
            self._unprocessed[source_id] = Unprocessed(
                in_sequence(earlier.ranges, new), earlier.hits
            )
            current = {} if waited else {quote.symbol: quote for quote in quotes}
            order_ids, locked_out = _process(source_id, earlier, new, waited, current)
            del self._unprocessed[source_id]
            if locked_out:
                self._unprocessed[source_id] = Unprocessed(hits=locked_out)
            self._heartbeat(source_id)
            return order_ids

    def _heartbeat(self, source_id: int) -> None:
        """Store that this source's levels are being monitored, once per HEARTBEAT_SECONDS."""
        now = machine_time()
        if now - self._heartbeat_at.get(source_id, float("-inf")) >= HEARTBEAT_SECONDS:
            run(HEARTBEAT, (source_id,))
            self._heartbeat_at[source_id] = now


def _process(
    source_id: int,
    earlier: Unprocessed,
    new: PriceRanges,
    waited: float,
    current: Mapping[str, Quote],
) -> tuple[list[int], list[LevelHit]]:
    """Write exits for the levels that were reached.

    Returns the ids of the orders written, and the hits whose position was locked. waited: the age
    of the new ranges in seconds. current: the last quote by pair, if it is current: those that
    wrote an exit are stored with it.
    """
    if not (earlier.ranges or earlier.hits or new):
        return [], []
    now = machine_time()
    ranges_with_age = [
        *((pair, prices, now - prices.began) for pair, prices in sorted(earlier.ranges.items())),
        *((pair, prices, waited) for pair, prices in sorted(new.items())),
    ]
    records = [
        (
            source_id,
            pair,
            prices.low_bid,
            prices.high_bid,
            prices.low_ask,
            prices.high_ask,
            age,
        )
        for pair, prices, age in ranges_with_age
    ]
    found = periodic_rows(HITS, columns(records, 7)) if records else []
    if not (found or earlier.hits):
        return [], []
    with transaction.atomic(), kept_plans():
        hits = _still_valid(earlier.hits) + found
        if not hits:
            return [], []
        locked = set(lock_with_free_quantity({hit.id for hit in hits}, skip_locked=True))
        requests = exit_requests_for([hit for hit in hits if hit.id in locked])
        order_ids = [exit_.order_id for exit_ in exits.open_exits(requests, are_locked=True)]
        pairs = sorted({hit.pair for hit in hits} & current.keys())
        store_latest(source_id, [current[pair] for pair in pairs])
    return order_ids, _still_valid([hit for hit in hits if hit.id not in locked])


def _still_valid(hits: Sequence[LevelHit]) -> list[LevelHit]:
    """Return the hits whose level is unchanged and whose position is not wholly being closed."""
    if not hits:
        return []
    levels = {row.id: row for row in rows(CURRENT_LEVELS, ([hit.id for hit in hits],))}
    return [
        hit for hit in hits if hit.id in levels and getattr(levels[hit.id], hit.level) == hit.price
    ]
