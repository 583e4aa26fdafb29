"""The newest signals that a user's accounts were candidates of, without reading all they traded."""

from typing import NamedTuple

from common.db.sql import Query, rows
from connections.selectors import ACCOUNTS_OF_USER_SQL
from signals.joins import signal_join_sql

ORDERS_OF_AN_ACCOUNT = (60, 1000)  # that are looked at; the second only if they show too few


class _Received(NamedTuple):
    """known_since: orders from this number on are known of every account; 0: all are."""

    known_since: int
    signal_id: int | None


# An account may have had many orders since, such as the exits of one trade: signals written before
# its oldest order that is looked at are not known, and so no older ones of other accounts count.
_LAST = Query(
    _Received,
    f"""
WITH last AS MATERIALIZED (
  SELECT account.id AS account, o.* FROM ({ACCOUNTS_OF_USER_SQL}) account CROSS JOIN LATERAL (
    SELECT x.id, x.signal_id, x.leg FROM execution_order x WHERE x.connection_id = account.id
    ORDER BY x.id DESC LIMIT %(each)s) o
), known AS (
  SELECT coalesce(max(oldest), 0) AS since FROM (
    SELECT min(id) AS oldest FROM last GROUP BY account HAVING count(*) >= %(each)s) f
), written AS (
  SELECT l.signal_id, l.id, s.published_at FROM last l {signal_join_sql("l.signal_id")}
  WHERE l.leg = 'entry' OR s.action <> 'OPEN'
  UNION ALL
  SELECT a.signal_id, a.id, s.published_at FROM execution_archivedorder a
  {signal_join_sql("a.signal_id")}
  WHERE a.connection_id IN ({ACCOUNTS_OF_USER_SQL})
)
SELECT k.since AS known_since, w.signal_id FROM known k LEFT JOIN LATERAL (
  SELECT signal_id FROM written WHERE id > k.since
  GROUP BY signal_id, published_at ORDER BY published_at DESC, signal_id DESC
  LIMIT %(count)s) w ON true
""",
)


def last_received(user_id: int, count: int) -> list[int] | None:
    """Return the ids of the last `count` signals that wrote orders for a user's accounts.

    Fewer: there are no more. None: the last orders of the accounts are of too few signals, so it
    is not known.
    """
    for each in ORDERS_OF_AN_ACCOUNT:
        found = rows(_LAST, {"user": user_id, "each": each, "count": count})
        signal_ids = [row.signal_id for row in found if row.signal_id is not None]
        if len(signal_ids) == count or not found[0].known_since:
            return signal_ids
    return None
