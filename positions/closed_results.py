"""Results of closed positions since a time, for loss limits."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common.db.sql import Query, columns, rows
from positions.joins import NET_SQL
from signals.joins import is_of_feed_sql


class ClosedRequest(NamedTuple):
    """Which closed positions to add up. since: market time. feed_id: None for all feeds."""

    connection_id: UUID
    since: datetime
    feed_id: int | None


class ClosedSum(NamedTuple):
    """net: the result after commission and swap. streak: losing trades in a row."""

    place: int
    net: Decimal
    streak: int


class LastClose(NamedTuple):
    """When a connection last had an activity on a position that is closed (machine time)."""

    connection_id: UUID
    at: datetime


# A trade may have several positions: each slice opens one on a hedging account.
SUMS = Query(
    ClosedSum,
    f"""
WITH trades AS (
  SELECT r.place, sum({NET_SQL}) AS net, max(p.closed_at) AS closed_at, max(p.id) AS id,
    EXISTS (SELECT FROM positions_executionposition n WHERE n.connection_id = r.connection_id
      AND n.signal_id = p.signal_id AND n.quantity > 0) AS is_open
  FROM unnest(%s::uuid[], %s::timestamptz[], %s::bigint[])
    WITH ORDINALITY AS r (connection_id, since, feed_id, place)
  JOIN positions_executionposition p
    ON p.connection_id = r.connection_id AND p.closed_at >= r.since
  WHERE r.feed_id IS NULL OR {is_of_feed_sql("p.signal_id", "r.feed_id")}
  GROUP BY r.place, r.connection_id, p.signal_id
)
SELECT place::int, sum(net) AS net,
  (count(*) FILTER (WHERE only_losses AND NOT is_open))::int AS streak
FROM (
  SELECT place, net, is_open, bool_and(is_open OR net < 0) OVER (
    PARTITION BY place ORDER BY closed_at DESC, id DESC) AS only_losses
  FROM trades
) judged GROUP BY place ORDER BY place
""",
)

LAST_CLOSES = Query(
    LastClose,
    """
SELECT connection_id, max(last_activity_at) AS at FROM positions_executionposition
WHERE closed_at >= %s GROUP BY connection_id
""",
)


def closed_sums(requests: Sequence[ClosedRequest]) -> dict[int, ClosedSum]:
    """Return the sums by the place of their request; requests without a closed position have none.

    A trade that broke even ends a streak of losses. One that is open in part counts in the result
    only: whether it is lost is not known yet.
    """
    if not requests:
        return {}
    return {row.place - 1: row for row in rows(SUMS, columns(requests, 3))}


def last_closes(since: datetime) -> list[LastClose]:
    """Return the connections that closed a position since a market time."""
    return rows(LAST_CLOSES, (since,))
