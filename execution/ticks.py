"""Levels that we guard, judged by quotes as they come: a trigger does not wait for the minute.

A batch of quotes is looked at by its extremes, so a level that was touched between two others is
not missed, nor one whose position was locked or whose database was away at that moment: what was
not judged is kept, and judged with the next quotes or the next heartbeat.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction

from brokers.base import Quote
from common.clocks import machine_time
from common.sql import columns, rows, run
from execution import exits
from execution.watch import find_hits, hits_of, wishes_of

BEAT_SECONDS = 1.0

TOUCHED = """
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[]) AS t(data_connection_id, symbol, low_bid, high_bid, low_ask, high_ask)"""
HITS = hits_of(TOUCHED)

BEAT = """
INSERT INTO execution_sourcewatch (source_id, watched_at)
SELECT id, clock_timestamp() FROM connections_dataconnection WHERE id = %s
ON CONFLICT (source_id) DO UPDATE SET watched_at = EXCLUDED.watched_at
"""

STILL_FREE = "SELECT id FROM positions_executionposition WHERE id = ANY(%s) AND quantity > reserved"


@dataclass(slots=True)
class Span:
    """Between which prices a symbol has moved since it was last judged."""

    low_bid: Decimal
    high_bid: Decimal
    low_ask: Decimal
    high_ask: Decimal

    def widen(self, quote: Quote) -> None:
        self.low_bid, self.high_bid = min(self.low_bid, quote.bid), max(self.high_bid, quote.bid)
        self.low_ask, self.high_ask = min(self.low_ask, quote.ask), max(self.high_ask, quote.ask)


class Ticks:
    """What prices did that has not been judged yet, by source and pair. One thread at a time."""

    def __init__(self) -> None:
        self._spans: dict[int, dict[str, Span]] = {}
        self._beat_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def judge(self, source_id: int, quotes: Sequence[Quote]) -> list[int]:
        """Write an exit for each level of ours that these quotes have touched; return ids to ring.

        Without quotes (a heartbeat) what was left over is judged, and that we are here is noted.
        """
        with self._lock:
            spans = self._spans.setdefault(source_id, {})
            for quote in quotes:
                if span := spans.get(quote.symbol):
                    span.widen(quote)
                else:
                    spans[quote.symbol] = Span(quote.bid, quote.bid, quote.ask, quote.ask)
            written, left = _judge(source_id, spans) if spans else ([], set())
            self._spans[source_id] = {pair: spans[pair] for pair in left}
            self._beat(source_id)
            return written

    def _beat(self, source_id: int) -> None:
        now = machine_time()
        if now - self._beat_at.get(source_id, float("-inf")) >= BEAT_SECONDS:
            run(BEAT, (source_id,))
            self._beat_at[source_id] = now


def _judge(source_id: int, spans: dict[str, Span]) -> tuple[list[int], set[str]]:
    """Return the orders that were written, and the pairs of hits on which someone else works."""
    touched = [
        (source_id, pair, span.low_bid, span.high_bid, span.low_ask, span.high_ask)
        for pair, span in sorted(spans.items())
    ]
    with transaction.atomic():
        hits = find_hits(HITS, columns(touched, 6))
        if not hits:
            return [], set()
        locked = set(exits.lock({hit.id for hit in hits}, skip_locked=True))
        wishes = wishes_of([hit for hit in hits if hit.id in locked])
        written = [exit_.order_id for exit_ in exits.open_exits(wishes)]
    return written, _still_free([hit for hit in hits if hit.id not in locked])


def _still_free(missed: Sequence[Any]) -> set[str]:
    """The pairs of hits that were passed over, unless all of the position is being closed now."""
    if not missed:
        return set()
    free = {row.id for row in rows(STILL_FREE, ([hit.id for hit in missed],))}
    return {hit.pair for hit in missed if hit.id in free}
