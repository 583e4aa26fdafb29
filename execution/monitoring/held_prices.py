"""Wake the polls of accounts whose broker holds a price that the market has reached.

A broker without an event stream is polled, so what it fills is known an interval late. But when it
fills a working order, or a stop or target that it holds, the price has got there, and that we know
at once: from its own prices, mostly. So quotes are judged by their price ranges, and an account is
polled (`wake_polls`) whose price was reached. That alone changes nothing: only what the broker
reports counts.

Quotes are only added here; a background job judges them. So nothing waits for this: neither the
prices of other sources nor the stops that the engine watches. What arrives while the job is busy is
conflated into one range for each pair of a source. After it the job rests for several times as long
as it took, so many accounts cost later wakes and not more work.

An account whose order stream delivers (`runtime/order_streams.py`) is left out: its broker
announces what it does, and another poll right before would only delay that one.

A price that stays where it is would wake at each quote. So each order or level wakes again only
after a pause, which doubles while its price stays reached; the interval goes on meanwhile. Judging
is one statement that only reads, by the indexes of what is live, and none for a source without a
polled account.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from brokers.types import OrderType, Quote
from common.clocks import machine_time
from common.db.sql import Query, array, periodic_rows
from common.process.job_alarm import JobAlarm
from connections.selectors import accounts_of_source_sql, connection_join_sql
from execution.models import AT_BROKER
from execution.recovery.order_polling import polled_broker_types
from execution.runtime.poll_wakes import wake_polls
from execution.runtime.stream_claims import is_delivering_sql
from positions.levels import held_levels_reached_sql
from prices.ranges import PriceRanges, in_sequence, price_ranges

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 60.0  # seconds between two wakes for the same order or level
FORGET_SECONDS = 120.0  # after which an order or level whose price is not reached is forgotten
SOURCE_SECONDS = 10.0  # how long it is known whether a source has polled accounts
RETRY_SECONDS = 1.0  # after a database error
REST, LONGEST_REST = 4.0, 1.0  # times as long as judging took, and seconds
MAX_FOUND = 5_000  # reached orders and levels; the accounts of others are polled by the interval
NOT_ANNOUNCED_SQL = f"NOT {is_delivering_sql('r')}"
"""Whether the broker of the account with the sync state `r` does not announce what it does."""


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
# The orders at the brokers of each account are walked once, however many pairs have prices. Orders
# of a trailing stop are left out: only the broker knows where their price is.
REACHED = Query(
    ReachedPrice,
    f"""
WITH q AS MATERIALIZED (
  SELECT * FROM unnest(%(source_id)s::bigint[], %(pair)s::text[],
    %(low_bid)s::numeric[], %(high_bid)s::numeric[], %(low_ask)s::numeric[],
    %(high_ask)s::numeric[]) AS t(source_id, pair, low_bid, high_bid, low_ask, high_ask)
), found AS (
  SELECT 'order' AS kind, o.id, o.connection_id
  FROM (SELECT DISTINCT source_id FROM q) s CROSS JOIN LATERAL (
    {accounts_of_source_sql("s.source_id", "%(broker_types)s::text[]")} OFFSET 0) c
  CROSS JOIN LATERAL (
    SELECT id, connection_id, pair, order_type, side, limit_price, stop_price FROM execution_order
    WHERE connection_id = c.id AND status IN ({_AT_BROKER}) OFFSET 0) o
  JOIN q ON q.source_id = s.source_id AND q.pair = o.pair
  WHERE CASE
    WHEN o.order_type = '{OrderType.LIMIT}' AND o.side = 'BUY' THEN o.limit_price >= q.low_ask
    WHEN o.order_type = '{OrderType.LIMIT}' THEN o.limit_price <= q.high_bid
    WHEN o.order_type IN ('{OrderType.STOP}', '{OrderType.STOP_LIMIT}') AND o.side = 'BUY'
      THEN o.stop_price <= q.high_ask
    WHEN o.order_type IN ('{OrderType.STOP}', '{OrderType.STOP_LIMIT}')
      THEN o.stop_price >= q.low_bid END
  UNION ALL {held_levels_reached_sql()}
)
SELECT f.kind, f.id, f.connection_id FROM found f CROSS JOIN LATERAL (
  SELECT FROM execution_accountsyncstate r {connection_join_sql("r.connection_id")}
  WHERE r.connection_id = f.connection_id AND c.type = ANY(%(broker_types)s::text[])
    AND {NOT_ANNOUNCED_SQL} OFFSET 0) polled
LIMIT {MAX_FOUND}
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
    """Keeps the price ranges of new quotes, wakes polls, and remembers for what. Thread-safe."""

    def __init__(self) -> None:
        self.alarm = JobAlarm()  # of the job that judges
        self._ranges: dict[int, PriceRanges] = {}  # by source: not judged yet
        self._ranges_lock = threading.Lock()  # never held during a statement
        self._rests_until = 0.0
        self._pauses: dict[Key, Pause] = {}
        self._forgotten_at = machine_time()
        self._polled: dict[int, tuple[bool, float]] = {}  # by source; and until when it is known
        self._judging = threading.Lock()

    def add_quotes(self, source_id: int, quotes: Sequence[Quote]) -> None:
        """Let these quotes be judged soon. Waits for nothing."""
        is_polled, until = self._polled.get(source_id, (True, 0.0))
        if not quotes or (not is_polled and machine_time() <= until):
            return
        self._keep({source_id: price_ranges(quotes, 0.0)}, are_newer=True)
        self.alarm.set(max(0.0, self._rests_until - machine_time()))

    def judge_after_rest(self) -> None:
        """Judge, or let the job run again at the end of its rest: quotes came before it began."""
        if (seconds := self._rests_until - machine_time()) > 0:
            self.alarm.set(seconds)
        else:
            self.judge()

    def judge(self) -> set[UUID]:
        """Wake the polls of accounts whose price was reached; return their ids.

        After a database error, which is raised, the next call judges the same prices again.
        """
        with self._judging:
            began = machine_time()
            with self._ranges_lock:
                ranges, self._ranges = self._ranges, {}
            try:
                connection_ids = self._wake(ranges)
            except (DatabaseError, InterfaceError):  # without a wake nothing has been judged
                self._keep(ranges, are_newer=False)
                self._rests_until = machine_time() + RETRY_SECONDS
                raise
            ended = machine_time()
            self._rests_until = ended + min(LONGEST_REST, REST * (ended - began))
            return connection_ids

    def _keep(self, added: Mapping[int, PriceRanges], *, are_newer: bool) -> None:
        with self._ranges_lock:
            for source_id, ranges in added.items():
                kept = self._ranges.get(source_id, {})
                self._ranges[source_id] = (
                    in_sequence(kept, ranges) if are_newer else in_sequence(ranges, kept)
                )

    def _wake(self, ranges: Mapping[int, PriceRanges]) -> set[UUID]:
        polled = {source: found for source, found in ranges.items() if self._has_polled(source)}
        if not polled:
            return set()
        now, found = machine_time(), _reached(polled)
        due = [one for one in found if self._is_due(one, now)]
        connection_ids = {one.connection_id for one in due}
        wake_polls(connection_ids)
        for one in due:
            pause = self._pauses.setdefault((one.kind, one.id), Pause(0.0, FIRST_PAUSE / 2, now))
            pause.seconds = min(LONGEST_PAUSE, 2 * pause.seconds)
            pause.until = now + pause.seconds
        self._forget(now)
        return connection_ids

    def _has_polled(self, source_id: int) -> bool:
        is_polled, until = self._polled.get(source_id, (False, 0.0))
        if until < (now := machine_time()):
            parameters = {"source_id": source_id, "broker_types": array(polled_broker_types())}
            [(is_polled,)] = periodic_rows(IS_POLLED, parameters)
            self._polled[source_id] = is_polled, now + SOURCE_SECONDS
        return is_polled

    def _is_due(self, one: ReachedPrice, now: float) -> bool:
        pause = self._pauses.get((one.kind, one.id))
        if pause is None:
            return True
        pause.seen_at = now
        return pause.until <= now

    def _forget(self, now: float) -> None:
        """Forget what was not reached for a while."""
        if now - self._forgotten_at > FORGET_SECONDS:
            self._forgotten_at = now
            self._pauses = {
                key: pause
                for key, pause in self._pauses.items()
                if now - pause.seen_at < FORGET_SECONDS
            }


def _reached(ranges: Mapping[int, PriceRanges]) -> list[ReachedPrice]:
    listed = [
        (source_id, pair, prices)
        for source_id, of_source in sorted(ranges.items())
        for pair, prices in sorted(of_source.items())
    ]
    return periodic_rows(
        REACHED,
        {
            "broker_types": array(polled_broker_types()),
            "source_id": array(source_id for source_id, _, _ in listed),
            "pair": array(pair for _, pair, _ in listed),
            "low_bid": array(prices.low_bid for _, _, prices in listed),
            "high_bid": array(prices.high_bid for _, _, prices in listed),
            "low_ask": array(prices.low_ask for _, _, prices in listed),
            "high_ask": array(prices.high_ask for _, _, prices in listed),
        },
    )
