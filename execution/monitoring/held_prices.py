"""Wake the polls of accounts whose broker holds a price that the market has reached.

A broker without an event stream is polled, so what it fills is known an interval late. But when it
fills a working order, or a stop or target that it holds, the price has got there, and that we know
at once: from its own prices, mostly. So each batch of quotes is judged by its price ranges, and an
account is polled (`wake_polls`) whose price was reached. That changes nothing by itself: only what
the broker reports counts.

An account whose order stream delivers (`runtime/order_streams.py`) is left out: its broker
announces what it does, and another poll right before would only delay that one.

A price that stays where it is would wake at each quote. So each order or level wakes again only
after a pause, which doubles while its price stays reached; the interval goes on meanwhile. Judging
is one statement that only reads, by the indexes of what is live, and none for a source without a
polled account.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from brokers.types import OrderType, Quote
from common.clocks import machine_time
from common.sql import Query, array, periodic_rows
from connections.selectors import accounts_of_source_sql, connection_join_sql
from execution.models import AT_BROKER
from execution.recovery.order_polling import polled_broker_types
from execution.runtime.poll_wakes import wake_polls
from positions.levels import held_levels_reached_sql
from prices.ranges import price_ranges

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 60.0  # seconds between two wakes for the same order or level
FORGET_SECONDS = 120.0  # after which an order or level whose price is not reached is forgotten
SOURCE_SECONDS = 10.0  # how long it is known whether a source has polled accounts


class ReachedPrice(NamedTuple):
    """A price that a broker holds and the market has reached. kind: order, sl or tp; id: the
    order's or the position's."""

    kind: str
    id: int
    connection_id: UUID


class PolledRow(NamedTuple):
    """Whether a source has an account that is polled."""

    is_polled: bool


IS_POLLED = Query(
    PolledRow,
    f"SELECT EXISTS ({accounts_of_source_sql('%(source_id)s', '%(broker_types)s::text[]')})"
    " AS is_polled",
)
_AT_BROKER = ", ".join(f"'{status}'" for status in AT_BROKER)
# Orders of a trailing stop are left out: only the broker knows where their price is.
REACHED = Query(
    ReachedPrice,
    f"""
WITH q AS MATERIALIZED (
  SELECT %(source_id)s::bigint AS source_id, t.* FROM unnest(%(pair)s::text[],
    %(low_bid)s::numeric[], %(high_bid)s::numeric[], %(low_ask)s::numeric[],
    %(high_ask)s::numeric[]) AS t(pair, low_bid, high_bid, low_ask, high_ask)
), found AS (
  SELECT 'order' AS kind, o.id, o.connection_id
  FROM q CROSS JOIN LATERAL (
    {accounts_of_source_sql("q.source_id", "%(broker_types)s::text[]")} OFFSET 0) c
  CROSS JOIN LATERAL (
    SELECT id, connection_id FROM execution_order
    WHERE connection_id = c.id AND status IN ({_AT_BROKER}) AND pair = q.pair AND CASE
      WHEN order_type = '{OrderType.LIMIT}' AND side = 'BUY' THEN limit_price >= q.low_ask
      WHEN order_type = '{OrderType.LIMIT}' THEN limit_price <= q.high_bid
      WHEN order_type IN ('{OrderType.STOP}', '{OrderType.STOP_LIMIT}') AND side = 'BUY'
        THEN stop_price <= q.high_ask
      WHEN order_type IN ('{OrderType.STOP}', '{OrderType.STOP_LIMIT}')
        THEN stop_price >= q.low_bid END
    OFFSET 0) o
  UNION ALL {held_levels_reached_sql()}
)
SELECT f.kind, f.id, f.connection_id FROM found f {connection_join_sql("f.connection_id")}
JOIN execution_accountsyncstate r ON r.connection_id = f.connection_id
WHERE c.type = ANY(%(broker_types)s::text[]) AND r.stream_since IS NULL
""",
)
Key = tuple[str, int]


@dataclass(slots=True)
class Pause:
    """How long an order or level wakes no poll, in machine time."""

    until: float
    seconds: float
    seen_at: float


class HeldPriceMonitor:
    """Wakes polls, and remembers for what it did. Thread-safe."""

    def __init__(self) -> None:
        self._pauses: dict[Key, Pause] = {}
        self._forgotten_at = machine_time()
        self._polled: dict[int, tuple[bool, float]] = {}  # by source; and until when it is known
        self._lock = threading.Lock()

    def process_quotes(self, source_id: int, quotes: Sequence[Quote]) -> set[UUID]:
        """Wake the polls of accounts whose price these quotes have reached; return their ids."""
        with self._lock:
            if not (quotes and self._has_polled(source_id)):
                return set()
            connection_ids = self._due(_reached(source_id, quotes))
        wake_polls(connection_ids)
        return connection_ids

    def _has_polled(self, source_id: int) -> bool:
        is_polled, until = self._polled.get(source_id, (False, 0.0))
        if until < (now := machine_time()):
            parameters = {"source_id": source_id, "broker_types": array(polled_broker_types())}
            [(is_polled,)] = periodic_rows(IS_POLLED, parameters)
            self._polled[source_id] = is_polled, now + SOURCE_SECONDS
        return is_polled

    def _due(self, found: Sequence[ReachedPrice]) -> set[UUID]:
        now, connection_ids = machine_time(), set[UUID]()
        for one in found:
            pause = self._pauses.setdefault((one.kind, one.id), Pause(0.0, FIRST_PAUSE / 2, now))
            pause.seen_at = now
            if pause.until <= now:
                pause.seconds = min(LONGEST_PAUSE, 2 * pause.seconds)
                pause.until = now + pause.seconds
                connection_ids.add(one.connection_id)
        if now - self._forgotten_at > FORGET_SECONDS:
            self._forgotten_at = now
            self._pauses = {
                key: pause
                for key, pause in self._pauses.items()
                if now - pause.seen_at < FORGET_SECONDS
            }
        return connection_ids


def _reached(source_id: int, quotes: Sequence[Quote]) -> list[ReachedPrice]:
    ranges = sorted(price_ranges(quotes, 0.0).items())
    return periodic_rows(
        REACHED,
        {
            "source_id": source_id,
            "broker_types": array(polled_broker_types()),
            "pair": array(pair for pair, _ in ranges),
            "low_bid": array(prices.low_bid for _, prices in ranges),
            "high_bid": array(prices.high_bid for _, prices in ranges),
            "low_ask": array(prices.low_ask for _, prices in ranges),
            "high_ask": array(prices.high_ask for _, prices in ranges),
        },
    )
