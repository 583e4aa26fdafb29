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

from brokers.messages import Quote
from common.clocks import machine_time
from common.sql import columns, rows, run
from execution.exits import levels_sql
from execution.exits import orders as exits
from execution.exits.watch import FREE, find_hits, hits_of, wishes_of

BEAT_SECONDS = 1.0

# age: seconds since the first of these prices.
TOUCHED = """
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[], %s::float8[])
  AS t(data_connection_id, symbol, low_bid, high_bid, low_ask, high_ask, age)"""
HITS = hits_of(
    TOUCHED, free=f"{FREE} AND touched_at <= clock_timestamp() - make_interval(secs => q.age)"
)

BEAT = """
INSERT INTO execution_sourcewatch (source_id, watched_at)
SELECT id, clock_timestamp() FROM connections_dataconnection WHERE id = %s
ON CONFLICT (source_id) DO UPDATE SET watched_at = EXCLUDED.watched_at
"""

STILL_THERE = f"""
SELECT id, CASE WHEN {levels_sql.is_watched("sl", "ENGINE")} THEN sl END AS sl,
  CASE WHEN {levels_sql.is_watched("tp", "ENGINE")} THEN tp END AS tp
FROM positions_executionposition WHERE id = ANY(%s) AND quantity > reserved
"""


@dataclass(slots=True)
class Span:
    """Between which prices a symbol has moved. began: machine_time() of the first of them."""

    low_bid: Decimal
    high_bid: Decimal
    low_ask: Decimal
    high_ask: Decimal
    began: float

    def join(self, other: "Span") -> "Span":
        """Return both in one."""
        return Span(
            min(self.low_bid, other.low_bid),
            max(self.high_bid, other.high_bid),
            min(self.low_ask, other.low_ask),
            max(self.high_ask, other.high_ask),
            min(self.began, other.began),
        )


Spans = dict[str, Span]


@dataclass(slots=True)
class Left:
    """What is left to be judged of one source: prices by pair, and hits of locked positions."""

    spans: Spans = field(default_factory=dict)
    hits: list[Any] = field(default_factory=list)


class Ticks:
    """What prices did that has not been judged yet, by source. One thread at a time."""

    def __init__(self) -> None:
        self._left: dict[int, Left] = {}
        self._beat_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def judge(self, source_id: int, quotes: Sequence[Quote], waited: float = 0.0) -> list[int]:
        """Write an exit for each level of ours that these quotes have touched; return ids to ring.

        Without quotes (a heartbeat) what was left over is judged, and that we are here is noted.
        waited: seconds since the first of them came, if they could not be judged at once.
        """
        with self._lock:
            left, new = self._left.pop(source_id, Left()), _spans_of(quotes, waited)
            try:
                written, missed = _judge(source_id, left, new, waited)
            except BaseException:
                self._left[source_id] = Left(_joined(left.spans, new), left.hits)
                raise
            if missed:
                self._left[source_id] = Left(hits=missed)
            self._beat(source_id)
            return written

    def _beat(self, source_id: int) -> None:
        now = machine_time()
        if now - self._beat_at.get(source_id, float("-inf")) >= BEAT_SECONDS:
            run(BEAT, (source_id,))
            self._beat_at[source_id] = now


def _spans_of(quotes: Sequence[Quote], waited: float) -> Spans:
    began, spans = machine_time() - waited, Spans()
    for quote in quotes:
        span = Span(quote.bid, quote.bid, quote.ask, quote.ask, began)
        known = spans.get(quote.symbol)
        spans[quote.symbol] = known.join(span) if known else span
    return spans


def _joined(some: Spans, others: Spans) -> Spans:
    both = some.keys() & others.keys()
    return {**some, **others, **{pair: some[pair].join(others[pair]) for pair in both}}


def _judge(source_id: int, left: Left, new: Spans, waited: float) -> tuple[list[int], list[Any]]:
    """Return the orders that were written, and the hits on whose position someone else works."""
    if not (left.spans or left.hits or new):
        return [], []
    now = machine_time()
    touched = [
        (source_id, pair, s.low_bid, s.high_bid, s.low_ask, s.high_ask, min(oldest, now - s.began))
        for spans, oldest in ((left.spans, now), (new, waited))
        for pair, s in sorted(spans.items())
    ]
    with transaction.atomic():
        hits = _still_there(left.hits)
        if touched:
            hits += find_hits(HITS, columns(touched, 7))
        if not hits:
            return [], []
        locked = set(exits.lock({hit.id for hit in hits}, skip_locked=True))
        wishes = wishes_of([hit for hit in hits if hit.id in locked])
        written = [exit_.order_id for exit_ in exits.open_exits(wishes)]
    return written, _still_there([hit for hit in hits if hit.id not in locked])


def _still_there(hits: Sequence[Any]) -> list[Any]:
    """Those whose level stands as it was hit, and whose position is not all being closed."""
    if not hits:
        return []
    levels = {row.id: row for row in rows(STILL_THERE, ([hit.id for hit in hits],))}
    return [
        hit for hit in hits if hit.id in levels and getattr(levels[hit.id], hit.level) == hit.price
    ]
