"""Brokers that tell nothing by themselves: their working orders and open positions are polled.

One pick of due accounts for each process and round, with SKIP LOCKED; what is told goes through
apply_reports like everything else. An account is due each `update_interval_seconds` of its
settings, FILLCAST_UPDATE_INTERVAL_SECONDS unless it says so.
"""

from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings

from brokers.messages import ConnectionSpec
from brokers.registry import adapter_for, kinds
from common.clocks import market_now
from common.errors import MisconfiguredError
from common.sql import array, columns, rows, run
from execution.calls import asking
from execution.drift.reconcile import reconcile
from execution.drift.resting import begin, settle_orders

LEAST_SECONDS = 0.2
ALL_SECONDS = 5  # between comparisons where executions cannot be asked for
OVERLAP = timedelta(seconds=60)  # the broker's clock and books may lag behind ours

READINGS = """
INSERT INTO execution_accountreading (connection_id)
SELECT c.id FROM connections_executionconnection c
WHERE c.type = ANY(%(kinds)s::text[]) AND c.archived_at IS NULL
  AND NOT EXISTS (SELECT FROM execution_accountreading r WHERE r.connection_id = c.id)
ON CONFLICT DO NOTHING
"""

# While an account is being asked nobody else takes it; if its process dies, somebody does then.
DUE = """
WITH due AS (
  SELECT r.connection_id, clock_timestamp() AS began FROM execution_accountreading r
  JOIN connections_executionconnection c ON c.id = r.connection_id
  WHERE c.type = ANY(%(kinds)s::text[]) AND c.archived_at IS NULL
    AND c.broker_host NOT IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
    AND (r.poll_after IS NULL OR r.poll_after <= clock_timestamp())
    AND (EXISTS (SELECT FROM execution_order o WHERE o.connection_id = c.id
        AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED'))
      OR EXISTS (SELECT FROM positions_executionposition p WHERE p.connection_id = c.id
        AND p.quantity > 0))
  ORDER BY r.poll_after NULLS FIRST LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED
), taken AS (
  UPDATE execution_accountreading r
  SET poll_after = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM due WHERE r.connection_id = due.connection_id
  RETURNING r.connection_id, r.fills_until
)
SELECT t.connection_id, c.type, c.account, c.exchange_name, c.settings, c.sealed_credentials,
  c.broker_host, coalesce(c.user_id, c.admin_id) AS owner_id, coalesce(t.fills_until, least(
    (SELECT min(p.opened_at) FROM positions_executionposition p
     WHERE p.connection_id = c.id AND p.quantity > 0),
    (SELECT min(s.published_at) FROM execution_order o JOIN signals_signal s ON s.id = o.signal_id
     WHERE o.connection_id = c.id AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED',
       'CANCEL_REQUESTED')))) AS since
FROM taken t JOIN connections_executionconnection c ON c.id = t.connection_id
"""

DONE = """
UPDATE execution_accountreading r SET fills_until = coalesce(t.fills_until, r.fills_until),
  poll_after = greatest(clock_timestamp(), t.began + make_interval(secs => t.every))
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::double precision[])
  AS t(connection_id, fills_until, began, every)
WHERE r.connection_id = t.connection_id
"""


def poll(limit: int = 200) -> int:
    """Ask the accounts that are due what became of their orders; return how many were asked."""
    silent = kinds_without_events()
    if not silent:
        return 0
    run(READINGS, {"kinds": array(silent)})
    lease = 3 * settings.FILLCAST_CALL_TIMEOUT_SECONDS
    due = rows(DUE, {"kinds": array(silent), "limit": limit, "lease": lease})
    if not due:
        return 0
    read_to = market_now()
    able = [row for row in due if asking.can_tell_fills(row)]
    since = {row.connection_id: (row.since or read_to) - OVERLAP for row in able}
    failed = asking.learn_fills(able, since)
    accounts = {row.connection_id: row for row in due}
    look = begin(accounts)
    settle_orders(look, asking.open_orders(due))  # what is left of it is the comparison's
    others = [row for row in due if row not in able]
    if others:
        reconcile([row.connection_id for row in others])
    heard = {row.connection_id for row in able} - failed
    run(DONE, columns([_done(row, look.began, read_to, heard) for row in due], 4))
    return len(due)


def _done(row: Any, began: datetime, read_to: datetime, heard: set[UUID]) -> tuple[Any, ...]:
    seconds = interval_of(row.settings)
    if not asking.can_tell_fills(row):
        seconds = max(ALL_SECONDS, seconds)
    return row.connection_id, read_to if row.connection_id in heard else None, began, seconds


def interval_of(connection_settings: Any) -> float:
    """Seconds between two polls of an account; nonsense in its settings counts as not said."""
    said = connection_settings.get("update_interval_seconds")
    if isinstance(said, bool) or not isinstance(said, int | float):
        said = settings.FILLCAST_UPDATE_INTERVAL_SECONDS
    return max(LEAST_SECONDS, float(said))


@cache
def kinds_without_events() -> tuple[str, ...]:
    """The broker kinds of this process that tell nothing by themselves."""
    return tuple(kind for kind in kinds() if _is_silent(kind))


def _is_silent(kind: str) -> bool:
    try:
        can = adapter_for(kind).capabilities(ConnectionSpec(connection_id="", account=""))
    except (ImportError, MisconfiguredError):
        return False  # another process has this kind's library and polls it
    return not can.event_stream
