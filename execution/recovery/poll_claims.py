"""Claims of accounts that are polled: which are due, and when each is due again."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from common.db.sql import Query
from connections.selectors import (
    HOST_IS_UP_SQL,
    SPEC_COLUMNS,
    AccountRow,
    connection_join_sql,
    has_accounts_sql,
)
from connections.session_lanes import IN_HELD_LANES_SQL
from execution.base.statements import counts_as_live_sql
from positions.joins import has_open_position_sql


@dataclass(frozen=True, slots=True)
class DueAccount(AccountRow):
    """An account to poll.

    since: start of the executions to read, by the broker's clock. fills_failing_since: when the
    first of the reads failed that have failed in a row; began: when this poll was claimed. Both by
    the database's clock.
    """

    since: datetime | None
    fills_failing_since: datetime | None
    began: datetime
    broker_holds_levels: bool


# Since when the account has had what is open or looked up. What it had before was polled until it
# ended.
_OPEN_SINCE = f"""least(
    (SELECT min(p.opened_at) FROM positions_executionposition p
     WHERE p.connection_id = c.id AND p.quantity > 0),
    (SELECT min(s.published_at) FROM execution_order o JOIN signals_signal s ON s.id = o.signal_id
     WHERE o.connection_id = c.id
       AND {counts_as_live_sql("o")}))"""

# After a day without anything open, executions are read since the first of what is open now: a
# broker lists only so many days, and months would be read page by page.
# The claim lasts for the calls; if this process dies, another one takes the account after that.
DUE = Query(
    DueAccount,
    f"""
WITH due AS (
  SELECT r.connection_id FROM execution_accountsyncstate r
  {connection_join_sql("r.connection_id")}
  WHERE {has_accounts_sql("%(broker_types)s::text[]")}  -- else all accounts would be read
    AND c.type = ANY(%(broker_types)s::text[]) AND c.archived_at IS NULL AND {IN_HELD_LANES_SQL}
    AND {HOST_IS_UP_SQL}
    AND (r.poll_after IS NULL OR r.poll_after <= clock_timestamp())
    AND (EXISTS (SELECT FROM execution_order o WHERE o.connection_id = c.id
        AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED'))
      OR {has_open_position_sql("c.id")})
  ORDER BY r.poll_after NULLS FIRST LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED
), claimed AS (
  UPDATE execution_accountsyncstate r
  SET fills_failing_since = CASE WHEN r.poll_after > clock_timestamp() - interval '2 minutes'
      THEN r.fills_failing_since END,  -- else the account was not polled since
    poll_after = clock_timestamp() + make_interval(secs => %(lease)s),
    poll_began_at = clock_timestamp()
  FROM due WHERE r.connection_id = due.connection_id
  RETURNING r.connection_id, r.fills_synced_until, r.fills_failing_since
)
SELECT t.connection_id, {SPEC_COLUMNS}, c.broker_host,
  CASE WHEN t.fills_synced_until > %(yesterday)s OR t.fills_failing_since IS NOT NULL
      THEN t.fills_synced_until
    ELSE greatest(t.fills_synced_until, {_OPEN_SINCE}) END AS since,
  t.fills_failing_since, statement_timestamp() AS began,
  EXISTS (SELECT FROM positions_executionposition p WHERE p.connection_id = c.id
    AND p.quantity > 0 AND (p.sl_guardian = 'BROKER' OR p.tp_guardian = 'BROKER'))
    AS broker_holds_levels
FROM claimed t {connection_join_sql("t.connection_id")}
""",
)


class WokenRow(NamedTuple):
    """In how many seconds the first of the accounts that were woken meanwhile is due, if any."""

    seconds: float | None


# Rows are locked in the order of their ids, as `request_reconciliation` locks them. What was woken
# during its poll is polled again at once, unless the poll failed: then the retry reads the same.
END_CLAIM = Query(
    WokenRow,
    """
WITH polled AS (
  SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::double precision[],
    %s::boolean[], %s::boolean[])
    AS t(connection_id, fills_synced_until, began, seconds, is_answered, has_failed_fills)
), locked AS (
  SELECT r.connection_id, coalesce(t.is_answered AND r.woken_at >= r.poll_began_at, false)
    AS is_woken
  FROM execution_accountsyncstate r JOIN polled t USING (connection_id)
  ORDER BY r.connection_id FOR NO KEY UPDATE OF r
), ended AS (
  UPDATE execution_accountsyncstate r SET fills_synced_until = coalesce(t.fills_synced_until,
    r.fills_synced_until),
    fills_failing_since = CASE WHEN t.has_failed_fills
      THEN coalesce(r.fills_failing_since, clock_timestamp()) END,
    poll_began_at = NULL,
    poll_after = greatest(clock_timestamp(), CASE WHEN l.is_woken
      THEN r.woken_at ELSE t.began + make_interval(secs => t.seconds) END)
  FROM polled t JOIN locked l USING (connection_id) WHERE r.connection_id = t.connection_id
  RETURNING r.poll_after, l.is_woken
)
SELECT extract(epoch FROM min(poll_after) FILTER (WHERE is_woken) - clock_timestamp())::float8
  AS seconds
FROM ended
""",
)


EXTEND_CLAIM = """
UPDATE execution_accountsyncstate SET poll_after = clock_timestamp() + make_interval(secs => %s)
WHERE connection_id IN (SELECT connection_id FROM execution_accountsyncstate
  WHERE connection_id = ANY(%s::uuid[]) ORDER BY connection_id FOR NO KEY UPDATE)
"""
