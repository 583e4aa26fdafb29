"""Trigger monitor: makes an order due whose trigger the market has reached.

The engine holds entries whose type their broker lacks (`submission/triggers.py`). Each batch of
quotes is judged by its price ranges (`prices/ranges.py`), so that a price that is only touched
within the batch counts, and set-based through partial indexes, so that triggers that are not
reached cost nothing. Only prices since a trigger became active count.

All that a decision needs is in the database, none of it in this process. If it dies, the process
that takes over the price source judges the next quotes by the same rows:
- A distance never changes. A level that a person changes counts from that moment on.
- What trailing stops follow is one row for a pair, PricePeak. It is written with what the batch
  fires, only when the price passes it. A new row begins when a trigger became active since the last
  one began, so no trigger follows prices from before its time.

Judging a batch is one statement that only reads. A batch that neither reaches a trigger nor passes
a peak writes nothing and begins no transaction.

Firing is a compare-and-set on the locked order: it fires once, and not at all if it has ended or is
being cancelled. A leg of an OCO pair cancels the other leg in the same statement.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import dropwhile
from typing import NamedTuple

from django.db import transaction

from brokers.types import Quote, Side
from common.clocks import machine_time, market_now
from common.db.price_search import reached_sql
from common.db.sql import (
    IdRow,
    Query,
    columns,
    kept_plans,
    periodic_rows,
    periodic_run,
    rows,
    run,
)
from common.db.stored_times import AHEAD_SECONDS
from common.failpoints import failpoint
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, log_rows_sql
from execution.monitoring.oco_order import IS_LEG, LEGS, reached_at
from prices.ranges import (
    PriceRange,
    PriceRanges,
    in_sequence,
    is_trailing_stop_hit,
    mark_after,
    price_ranges,
    stop_price_of,
)
from prices.source_locks import SourceLocks


class Reached(NamedTuple):
    """What prices have reached: a trigger, or the peak that a pair's trailing stops follow.

    order_id: of the trigger; None for a peak. price: the one that reached it. peak_id: the peak
    that has this price from now on; None: a new one begins. The others: as of TriggerHit.
    """

    order_id: int | None
    price: Decimal
    side: str
    pair: str
    began: datetime
    activation_price: Decimal | None
    distance: Decimal | None
    mark: Decimal | None
    peak_id: int | None


class TriggerHit(NamedTuple):
    """A trigger that the prices have reached. id: the order's; price: the one that reached it.

    activation_price: if the prices have only reached that one; then `distance` is how far it
    follows. mark: what a trailing stop followed before, if the prices reached it from there. began:
    the database's time of the first price.
    """

    id: int
    price: Decimal
    side: str
    pair: str
    began: datetime
    activation_price: Decimal | None
    distance: Decimal | None
    mark: Decimal | None


# q: the price range of a pair. began: the database's time of its first price; a trigger counts that
# was active by then. Only pairs with a trigger are judged; with EXISTS the planner would read all
# that are armed.
_RANGES = """
SELECT data_connection_id AS source_id, symbol AS pair, low_bid, high_bid, low_ask, high_ask, fall,
  rise, statement_timestamp() - make_interval(secs => age) AS began
FROM unnest(%(source_id)s::bigint[], %(pair)s::text[], %(low_bid)s::numeric[],
  %(high_bid)s::numeric[], %(low_ask)s::numeric[], %(high_ask)s::numeric[], %(fall)s::numeric[],
  %(rise)s::numeric[], %(age)s::float8[])
  AS t(data_connection_id, symbol, low_bid, high_bid, low_ask, high_ask, fall, rise, age)
WHERE t.symbol = (SELECT a.pair FROM execution_ordertrigger a
  WHERE a.source_id = t.data_connection_id AND a.pair >= t.symbol AND a.is_armed
  ORDER BY a.pair LIMIT 1)"""
_OF_PAIR = "source_id = q.source_id AND pair = q.pair AND is_armed"
_AND_TRAILING = "AND kind = 'TRAILING'"
_OF_SIDE = f"{_OF_PAIR} AND side = q.side {_AND_TRAILING}"
_ACTIVE = "(active_since + interval '0')"  # so that the planner searches by the price, not by time


_NO_PEAK = "NULL::bigint AS peak_id"
_FIRED = "NULL::numeric AS activation_price, distance"  # it is active, or needs no activation


def _reached(
    side: str, price: str, comparison: str, condition: str, column: str = "level",
    details: str = _FIRED,
) -> str:  # fmt: skip
    of_pair = f"""SELECT order_id, {details} FROM execution_ordertrigger
    WHERE {_OF_PAIR} AND side = '{side}' AND {condition}"""
    return f"""
  SELECT t.order_id, q.{price} AS price, '{side}' AS side, q.pair, q.began, t.activation_price,
    t.distance, NULL::numeric AS mark, {_NO_PEAK}
  FROM q CROSS JOIN LATERAL ({reached_sql(of_pair, column, comparison, f"q.{price}")}) t"""


def _activated(side: str, price: str, comparison: str) -> str:
    condition = "active_since IS NULL AND armed_at <= q.began"
    details = "activation_price, distance"
    return _reached(side, price, comparison, condition, "activation_price", details)


_BEYOND = f"kind IN ('STOP', 'TRAILING') AND {_ACTIVE} <= q.began"
_TOUCHED = f"kind = 'IF_TOUCHED' AND {_ACTIVE} <= q.began"

# trailed: the pairs and sides with trailing stops. worst, best: of the prices that count for them.
# moved: the largest move against them within the batch. nearest: the smallest distance, and peak:
# the best price that one of them follows, so most batches search no further.
_TRAILED = f"""
  SELECT q.source_id, q.pair, q.began, s.*, n.distance AS nearest, p.peak,
    CASE s.side WHEN 'SELL' THEN p.peak - s.worst ELSE s.worst - p.peak END AS behind
  FROM q CROSS JOIN LATERAL (VALUES ('BUY', q.high_ask, q.low_ask, q.rise),
    ('SELL', q.low_bid, q.high_bid, q.fall)) s(side, worst, best, moved)
  CROSS JOIN LATERAL (
    SELECT distance FROM execution_ordertrigger
    WHERE {_OF_PAIR} AND side = s.side {_AND_TRAILING}
    ORDER BY distance LIMIT 1) n
  CROSS JOIN LATERAL (
    SELECT CASE s.side WHEN 'SELL' THEN max(price) ELSE min(price) END AS peak
    FROM execution_pricepeak
    WHERE source_id = q.source_id AND pair = q.pair AND side = s.side) p"""
_TRAILING = f"SELECT order_id, distance FROM execution_ordertrigger WHERE {_OF_SIDE}"
# Those that a move within the batch reaches, and those that are far enough from a peak.
_TRAILING_REACHED = f"""
  SELECT t.order_id, q.worst AS price, q.side, q.pair, q.began, NULL::numeric AS activation_price,
    t.distance, NULL::numeric AS mark, {_NO_PEAK}
  FROM trailed q CROSS JOIN LATERAL (
    {reached_sql(f"{_TRAILING} AND {_ACTIVE} <= q.began", "distance", "<=", "q.moved")}) t
  WHERE q.moved >= q.nearest
  UNION ALL
  SELECT t.order_id, q.worst AS price, q.side, q.pair, q.began, NULL::numeric AS activation_price,
    t.distance, p.peak AS mark, {_NO_PEAK}
  FROM trailed q CROSS JOIN LATERAL (
    SELECT price AS peak, began_at,
      CASE q.side WHEN 'SELL' THEN price - q.worst ELSE q.worst - price END AS behind
    FROM execution_pricepeak
    WHERE source_id = q.source_id AND pair = q.pair AND side = q.side
    OFFSET 0) p
  CROSS JOIN LATERAL (
    {reached_sql(f"{_TRAILING} AND {_ACTIVE} <= p.began_at", "distance", "<=", "p.behind")}) t
  WHERE q.behind >= q.nearest"""
# The newest peak counts for the newest trailing stop of a pair and side, if it began since then.
_PEAKS_REACHED = f"""
  SELECT NULL::bigint AS order_id, q.best AS price, q.side, q.pair, q.began,
    NULL::numeric AS activation_price, NULL::numeric AS distance, NULL::numeric AS mark,
    CASE WHEN p.began_at >= n.active_since THEN p.id END AS peak_id
  FROM trailed q CROSS JOIN LATERAL (
    SELECT active_since FROM execution_ordertrigger
    WHERE {_OF_SIDE} AND active_since <= q.began
    ORDER BY active_since DESC LIMIT 1) n
  LEFT JOIN LATERAL (
    SELECT id, began_at, price FROM execution_pricepeak
    WHERE source_id = q.source_id AND pair = q.pair AND side = q.side
    ORDER BY began_at DESC LIMIT 1) p ON true
  WHERE p.id IS NULL OR p.began_at < n.active_since
    OR CASE q.side WHEN 'SELL' THEN q.best > p.price ELSE q.best < p.price END"""
REACHED = Query(
    Reached,
    f"""
WITH q AS MATERIALIZED ({_RANGES}), trailed AS MATERIALIZED ({_TRAILED})
{_PEAKS_REACHED}
UNION ALL (
SELECT DISTINCT ON (order_id) * FROM (
  {_reached("BUY", "high_ask", "<=", _BEYOND)}
  UNION ALL {_reached("SELL", "low_bid", ">=", _BEYOND)}
  UNION ALL {_reached("BUY", "low_ask", ">=", _TOUCHED)}
  UNION ALL {_reached("SELL", "high_bid", "<=", _TOUCHED)}
  UNION ALL {_activated("BUY", "low_ask", ">=")}
  UNION ALL {_activated("SELL", "high_bid", "<=")}
  UNION ALL {_TRAILING_REACHED}
) hits ORDER BY order_id, CASE side WHEN 'SELL' THEN -mark ELSE mark END)  -- the best mark, if any
""",
)
REACHED_COLUMNS = (
    "source_id", "pair", "low_bid", "high_bid", "low_ask", "high_ask", "fall", "rise", "age",
)  # fmt: skip

# A peak never gets worse, even if another process has written it since.
WRITE_PEAKS = """
WITH reached AS (
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[],
    %s::numeric[]) AS t(id, source_id, pair, side, began, price)
), begun AS (
  INSERT INTO execution_pricepeak (source_id, pair, side, began_at, price)
  SELECT source_id, pair, side, began, price FROM reached WHERE id IS NULL
)
UPDATE execution_pricepeak p SET price = r.price FROM reached r
WHERE p.id = r.id AND CASE p.side WHEN 'SELL' THEN r.price > p.price ELSE r.price < p.price END
"""

# An order that another transaction has locked is left out; the next call fires it. Its age counts
# from now on, and its own trigger price is not sent.
#
# Of an OCO pair one leg fires and cancels the other: both are locked, the older one first, so of
# two processes that judge a pair at once only one gets it. Of two legs that were reached together
# the one that comes first in the parameters fires.
_CANCELLED = log_rows_sql(
    "cancelled m", code=f"'{Code.OCO_OTHER_LEG_TRIGGERED.value}'", detail="m.detail"
)
FIRE = Query(
    IdRow,
    f"""
WITH hit AS (
  SELECT * FROM unnest(%(id)s::bigint[], %(price)s::numeric[], %(began)s::timestamptz[])
    WITH ORDINALITY AS t(id, price, began, n)
), locked AS (
  SELECT o.id FROM execution_order o
  WHERE o.id = ANY(%(id)s::bigint[]) AND o.status = 'PENDING' AND o.pending_action = ''
    AND o.oco_group IS NULL
  ORDER BY o.id FOR NO KEY UPDATE SKIP LOCKED
), pairs AS (
  SELECT x.oco_group, x.connection_id, min(x.id) AS id, count(DISTINCT x.id) AS legs
  FROM execution_order h
  JOIN execution_order x ON x.oco_group = h.oco_group AND x.connection_id = h.connection_id
  WHERE h.id = ANY(%(id)s::bigint[]) AND {IS_LEG.format("h")}
  GROUP BY x.oco_group, x.connection_id
), older AS MATERIALIZED (
  SELECT o.id FROM execution_order o WHERE o.id IN (SELECT id FROM pairs)
  ORDER BY o.id FOR NO KEY UPDATE SKIP LOCKED
), legs AS MATERIALIZED (
  SELECT o.id, o.oco_group, o.connection_id, o.status, o.pending_action, o.oco_fired
  FROM older JOIN pairs USING (id)
  JOIN execution_order o
    ON o.oco_group = pairs.oco_group AND o.connection_id = pairs.connection_id
  ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED
), whole AS (
  SELECT l.oco_group, l.connection_id FROM legs l
  JOIN pairs p ON p.oco_group = l.oco_group AND p.connection_id = l.connection_id
  GROUP BY l.oco_group, l.connection_id, p.legs
  HAVING count(*) = p.legs AND NOT bool_or(l.oco_fired)
), chosen AS (
  SELECT DISTINCT ON (l.oco_group, l.connection_id) l.id
  FROM whole w JOIN legs l ON l.oco_group = w.oco_group AND l.connection_id = w.connection_id
  JOIN hit h ON h.id = l.id JOIN execution_ordertrigger t ON t.order_id = l.id AND t.is_armed
  WHERE l.status = 'PENDING' AND l.pending_action = ''
    AND (t.active_since IS NULL OR t.active_since <= h.began)
  ORDER BY l.oco_group, l.connection_id, h.n
), fired AS (
  UPDATE execution_ordertrigger t SET is_armed = false, fired_at = clock_timestamp(),
    fired_price = h.price
  FROM hit h JOIN (SELECT id FROM locked UNION ALL SELECT id FROM chosen) l USING (id)
  WHERE t.order_id = h.id AND t.is_armed
    -- A level that was changed since counts from its change on.
    AND (t.active_since IS NULL OR t.active_since <= h.began)
  RETURNING t.order_id, t.sent_as, t.fired_price
), moved AS (
  UPDATE execution_order o SET order_type = f.sent_as, stop_price = NULL,
    time_in_force = CASE o.time_in_force WHEN 'GTD' THEN 'GTC' ELSE o.time_in_force END,
    reason = '{Code.TRIGGERED.value}', detail = 'Trigger reached at ' || trim_scale(f.fired_price),
    due_at = clock_timestamp(), enqueued_at = clock_timestamp(), waiting_since = NULL,
    retried_at = %(now)s, oco_fired = o.oco_group IS NOT NULL
  FROM fired f WHERE o.id = f.order_id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.detail, o.oco_group
), cancelled AS (
  UPDATE execution_order o SET status = 'CANCELLED', pending_action = '', waiting_since = NULL,
    reason = '{Code.OCO_OTHER_LEG_TRIGGERED.value}', detail = 'by O-' || m.id,
    done_at = clock_timestamp(), fence = o.fence + 1
  FROM moved m JOIN legs l ON l.oco_group = m.oco_group AND l.connection_id = m.connection_id
  WHERE o.id = l.id AND l.id <> m.id AND o.status = 'PENDING'
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.detail
), disarmed AS (
  UPDATE execution_ordertrigger t SET is_armed = false FROM cancelled c
  WHERE t.order_id = c.id AND t.is_armed
), logged AS (
  {insert_log_sql(log_rows_sql("moved m", code=f"'{Code.TRIGGERED.value}'", detail="m.detail"))}
), cancellation_logged AS (
  {insert_log_sql(_CANCELLED)}
)
SELECT id FROM moved
""",
)

# Of hits that did not fire: those of orders that have ended are disarmed, the others kept.
DISARM_ENDED = """
UPDATE execution_ordertrigger t SET is_armed = false FROM execution_order o
WHERE t.order_id = ANY(%s::bigint[]) AND o.id = t.order_id AND t.is_armed AND o.status <> 'PENDING'
"""
STILL_ARMED = Query(
    IdRow,
    "SELECT t.order_id AS id FROM unnest(%s::bigint[], %s::timestamptz[]) AS h(id, began)"
    " JOIN execution_ordertrigger t ON t.order_id = h.id"
    " WHERE t.is_armed AND (t.active_since IS NULL OR t.active_since <= h.began)",
)

# Active since the batch: its best price is also the best one since the activation.
ACTIVATE = """
UPDATE execution_ordertrigger t SET active_since = a.began, level = a.level
FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[]) AS a(id, began, level)
WHERE t.order_id = a.id AND t.is_armed AND t.active_since IS NULL
"""


@dataclass(slots=True)
class Unjudged:
    """What the next call has to judge for one price source.

    ranges: prices that could not be judged. hits: triggers that fired while their order was locked.
    """

    ranges: PriceRanges = field(default_factory=dict)
    hits: list[TriggerHit] = field(default_factory=list)


class TriggerMonitor:
    """Judges quotes and keeps what could not be judged, by price source. Thread-safe."""

    def __init__(self) -> None:
        self._unjudged: dict[int, Unjudged] = {}
        self._newest: dict[tuple[int, str], datetime] = {}
        self._locks = SourceLocks()

    def process_quotes(
        self, source_id: int, quotes: Sequence[Quote], waited: float = 0.0
    ) -> list[int]:
        """Make the orders due whose trigger these quotes have reached; return their ids.

        Without quotes, judges what earlier calls have kept. waited: seconds since the first quote
        arrived, if they could not be judged at once.
        """
        with self._locks.of(source_id):
            in_order = self._without_older(source_id, quotes)
            earlier = self._unjudged.get(source_id, Unjudged())
            new = price_ranges(in_order, machine_time() - waited)
            if not (new or earlier.ranges or earlier.hits):
                return []
            # If this fails, the next call judges these.
            self._unjudged[source_id] = Unjudged(in_sequence(earlier.ranges, new), earlier.hits)
            fired, locked_out = _judge(source_id, earlier, new, in_order)
            del self._unjudged[source_id]
            if locked_out:
                self._unjudged[source_id] = Unjudged(hits=locked_out)
            if fired:
                failpoint("triggers.committed")
            return fired

    def _without_older(self, source_id: int, quotes: Sequence[Quote]) -> list[Quote]:
        """Return the quotes without those that are older than one of an earlier batch.

        A broker may send its last price again after a reconnect: no such price may fire anything.
        A time of the future is of before the clock was set back, and makes no quote an older one.
        """
        future = market_now() + timedelta(seconds=AHEAD_SECONDS)
        newest = {
            symbol: at
            for symbol in {quote.symbol for quote in quotes}
            if (at := self._newest.get((source_id, symbol))) is not None and at <= future
        }
        kept = [q for q in quotes if q.time >= newest.get(q.symbol, q.time)]
        for quote in kept:
            newest[quote.symbol] = max(quote.time, newest.get(quote.symbol, quote.time))
            self._newest[source_id, quote.symbol] = newest[quote.symbol]
        return kept


def _judge(
    source_id: int, earlier: Unjudged, new: PriceRanges, quotes: Sequence[Quote]
) -> tuple[list[int], list[TriggerHit]]:
    """Fire what the prices have reached; return the orders' ids, and hits that were locked out."""
    if earlier.ranges or earlier.hits:
        with transaction.atomic(), kept_plans():
            hits = list(earlier.hits)
            for ranges, known in ((earlier.ranges, ()), (new, quotes)):
                if ranges:
                    found = _reached_by(source_id, ranges)
                    hits += _hits_of(source_id, found, ranges, known)
            return _fire(hits)
    found = _reached_by(source_id, new)
    if all(one.order_id is None for one in found):
        if found:
            periodic_run(WRITE_PEAKS, _peaks(source_id, found))
        return [], []
    with transaction.atomic(), kept_plans():
        return _fire(_hits_of(source_id, found, new, quotes))


def _fire(hits: Sequence[TriggerHit]) -> tuple[list[int], list[TriggerHit]]:
    """Make the orders of these hits due; return their ids, and the hits that were locked out."""
    if not hits:
        return [], []
    first: dict[int, TriggerHit] = {}
    for hit in hits:  # each once, by its first hit, and in this order
        first.setdefault(hit.id, hit)
    fired = _fired(first.values())
    last = {hit.id: hit for hit in hits if hit.id not in fired}
    if later := [hit for hit in last.values() if hit is not first[hit.id]]:
        fired |= _fired(later)
    missed = [hit for hit in last.values() if hit.id not in fired]
    if missed:
        ids = [hit.id for hit in missed]
        run(DISARM_ENDED, (ids,))
        still_armed = rows(STILL_ARMED, (ids, [hit.began for hit in missed]))
        armed = {row.id for row in still_armed}
        missed = [hit for hit in missed if hit.id in armed]
    if fired:
        failpoint("triggers.written")
    return sorted(fired), missed


def _fired(hits: Iterable[TriggerHit]) -> set[int]:
    return {row.id for row in rows(FIRE, _fire_parameters(hits), planned_once=True)}


def _fire_parameters(hits: Iterable[TriggerHit]) -> dict[str, object]:
    listed = list(hits)
    return {
        "id": [hit.id for hit in listed],
        "price": [hit.price for hit in listed],
        "began": [hit.began for hit in listed],
        "now": market_now(),
    }


def _reached_by(source_id: int, ranges: PriceRanges) -> list[Reached]:
    now = machine_time()
    records = [
        (
            source_id, pair, p.low_bid, p.high_bid, p.low_ask, p.high_ask, p.fall, p.rise,
            now - p.began,
        )
        for pair, p in sorted(ranges.items())
    ]  # fmt: skip
    width = len(REACHED_COLUMNS)
    return periodic_rows(REACHED, dict(zip(REACHED_COLUMNS, columns(records, width), strict=True)))


def _hits_of(
    source_id: int, found: Sequence[Reached], ranges: PriceRanges, quotes: Sequence[Quote]
) -> list[TriggerHit]:
    """Return the triggers that these prices fire. Store new peaks, and activate what they activate.

    found: what the ranges have reached. quotes: of the ranges; empty if only the ranges are known.
    """
    if any(one.order_id is None for one in found):
        run(WRITE_PEAKS, _peaks(source_id, found), planned_once=True)
    hits = [TriggerHit(one.order_id, *one[1:-1]) for one in found if one.order_id is not None]
    activated = [hit for hit in hits if hit.activation_price is not None]
    fired = [hit for hit in hits if hit.activation_price is None]
    return _in_order_reached(fired + _activate(activated, ranges, quotes), quotes)


def _peaks(source_id: int, found: Sequence[Reached]) -> list[str]:
    """Return the parameters of WRITE_PEAKS."""
    peaks = [one for one in found if one.order_id is None]
    return columns(
        [(one.peak_id, source_id, one.pair, one.side, one.began, one.price) for one in peaks], 6
    )


def _in_order_reached(hits: list[TriggerHit], quotes: Sequence[Quote]) -> list[TriggerHit]:
    """Return hits with those of OCO pairs in the order in which these quotes reached them.

    Of two legs that one batch has reached, the first one fires.
    """
    if len(hits) < 2 or len(quotes) < 2:
        return hits
    legs = {leg.id: leg for leg in rows(LEGS, ([hit.id for hit in hits],))}
    reached = {
        hit.id: reached_at(legs[hit.id], quotes, mark=hit.mark, activation=hit.activation_price)
        for hit in hits
        if hit.id in legs
    }
    return sorted(hits, key=lambda hit: reached.get(hit.id, 0)) if reached else hits


def _activate(
    activated: Sequence[TriggerHit], ranges: PriceRanges, quotes: Sequence[Quote]
) -> list[TriggerHit]:
    """Activate trailing stops whose activation price was reached; return those hit right after.

    The quotes from the one that activates them on are judged. Of prices whose quotes are lost, the
    best one activates them, and the last one counts.
    """
    hits: list[TriggerHit] = []
    levels: list[tuple[int, datetime, Decimal]] = []
    for hit in activated:
        side, distance = Side(hit.side), hit.distance
        assert distance is not None  # the constraint `trigger_is_complete`
        prices = _from_activation(hit, ranges[hit.pair], quotes)
        mark = mark_after(prices, side, None)
        if is_trailing_stop_hit(prices, side, None, distance):
            last = prices.low_bid if side is Side.SELL else prices.high_ask
            hits.append(hit._replace(price=last))
        levels.append((hit.id, hit.began, stop_price_of(side, mark, distance)))
    if levels:
        run(ACTIVATE, columns(levels, 3))
    return hits


def _from_activation(hit: TriggerHit, prices: PriceRange, quotes: Sequence[Quote]) -> PriceRange:
    """Return the range of the quotes from the one that reached the activation price on."""
    activation, is_sell = hit.activation_price or Decimal(0), hit.side == Side.SELL

    def is_before(quote: Quote) -> bool:
        return quote.bid < activation if is_sell else quote.ask > activation

    from_there = dropwhile(is_before, (quote for quote in quotes if quote.symbol == hit.pair))
    if known := price_ranges(from_there, prices.began).get(hit.pair):
        return known
    best = Quote(hit.pair, prices.high_bid, prices.low_ask, hit.began)
    last = Quote(hit.pair, prices.last_bid, prices.last_ask, hit.began)
    return price_ranges((best, last), prices.began)[hit.pair]
