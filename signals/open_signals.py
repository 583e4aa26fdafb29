"""Signals that have something open. The app that trades registers the condition as SQL."""

from collections.abc import Collection
from dataclasses import dataclass

from common.db.sql import array, rows
from signals.models import Direction

_sources: list[str] = []
_OF_FEED = """
SELECT s.id, s.direction FROM signals_signal s
WHERE s.feed_id = %(feed)s AND s.currency_pair = %(pair)s AND s.direction = ANY(%(sides)s::text[])
  AND s.action = 'OPEN' AND s.published_at IS NOT NULL
"""
# Each pair is one step along the index signal_opened_trades, however many trades it has had.
TRADED_PAIRS = """
WITH RECURSIVE traded AS (
  (SELECT s.currency_pair AS pair FROM signals_signal s
   WHERE s.feed_id = %(feed)s AND s.action = 'OPEN' AND s.published_at IS NOT NULL
   ORDER BY s.currency_pair LIMIT 1)
  UNION ALL
  SELECT (SELECT s.currency_pair FROM signals_signal s
    WHERE s.feed_id = %(feed)s AND s.action = 'OPEN' AND s.published_at IS NOT NULL
      AND s.currency_pair > t.pair ORDER BY s.currency_pair LIMIT 1)
  FROM traded t WHERE t.pair IS NOT NULL
)
SELECT pair FROM traded WHERE starts_with(pair, %(prefix)s)
"""


# By the index signal_refers_to.
_CLOSED = """
SELECT f.refers_to_id AS id FROM signals_signal f WHERE f.refers_to_id = ANY(%s::bigint[])
  AND f.action = 'CLOSE' AND f.close_fraction = 1 AND f.published_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class OpenSignal:
    """A published OPEN signal that has a position, or an entry that may become one."""

    id: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class OpenPair:
    """A pair of which a feed has something open.

    is_ended: the feed has closed all of it, and only accounts with unfilled exits still hold it.
    """

    pair: str
    is_ended: bool


def register_open_signals(source: str) -> None:
    """Add an SQL condition: a row `s` of signals_signal has something open. It needs an index."""
    _sources.append(source)


def open_signals(feed_id: int, pair: str, direction: Direction | None = None) -> list[OpenSignal]:
    """Return the open signals of a feed for a symbol (and a side), the oldest first.

    They may be open in any account: call it inside `for_all_tenants`.
    """
    if not _sources:
        return []
    sides = [direction] if direction else list(Direction)
    signals = rows(open_signals_sql(), {"feed": feed_id, "pair": pair, "sides": sides})
    return [OpenSignal(row.id, Direction(row.direction)) for row in signals]


def open_pairs(feed_id: int, base: str, direction: Direction | None = None) -> list[OpenPair]:
    """Return the pairs of a base of which a feed has something open (on a side).

    It may be open in any account: call it inside `for_all_tenants`.
    """
    ids_of = {
        pair: {signal.id for signal in open_signals(feed_id, pair, direction)}
        for pair in _traded_pairs(feed_id, f"{base}/")
    }
    return [OpenPair(pair, ids <= closed_by_feed(ids)) for pair, ids in ids_of.items() if ids]


def all_open_signals(feed_id: int, direction: Direction | None = None) -> list[OpenSignal]:
    """Return the open signals of a feed for all symbols (of a side), the oldest first.

    They may be open in any account: call it inside `for_all_tenants`.
    """
    signals = [
        signal
        for pair in _traded_pairs(feed_id, "")
        for signal in open_signals(feed_id, pair, direction)
    ]
    return sorted(signals, key=lambda signal: signal.id)


def _traded_pairs(feed_id: int, prefix: str) -> list[str]:
    """Return the pairs that a feed has ever traded and that begin with the prefix."""
    return [row.pair for row in rows(TRADED_PAIRS, {"feed": feed_id, "prefix": prefix})]


def closed_by_feed(ids: Collection[int]) -> set[int]:
    """Return the ids among these that their feed has closed entirely by another signal."""
    return {row.id for row in rows(_CLOSED, (array(ids),))}


def open_signals_sql() -> str:
    """Return the statement of `open_signals`; parameters: feed, pair, sides."""
    return " UNION ".join(f"{_OF_FEED} AND {source}" for source in _sources) + " ORDER BY id"


def last_is_unended(feed_id: int, pair: str, direction: Direction) -> bool:
    """Whether the feed has not yet closed or cancelled its latest signal of this side.

    Its sender may still want to end it, even if stops at the brokers have closed all positions.
    """
    latest = rows(
        """
        SELECT s.cancelled_at IS NULL AND NOT EXISTS (
          SELECT FROM signals_signal f WHERE f.refers_to_id = s.id AND f.action = 'CLOSE'
            AND f.close_fraction = 1 AND f.published_at IS NOT NULL) AS is_unended
        FROM signals_signal s
        WHERE s.feed_id = %s AND s.currency_pair = %s AND s.direction = %s AND s.action = 'OPEN'
          AND s.published_at IS NOT NULL
        ORDER BY s.published_at DESC LIMIT 1
        """,
        (feed_id, pair, direction),
    )
    return bool(latest and latest[0].is_unended)
