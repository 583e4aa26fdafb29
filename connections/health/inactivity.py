"""Telling of accounts that nobody has heard of for long, though nothing calls that an error.

A maintenance window forgives who does not answer, MetaTrader's for a whole weekend; and an account
whose worker has died is asked by nobody. Neither is in error, but its owner must know: a stop that
we keep is not executed there. So silence itself is told, once (`connection.inactive`), and its end
(`connection.recovered`). Whoever has something open is told soon, the others before the next week.
"""

from collections.abc import Sequence
from typing import Any

from brokers.maintenance_windows import window_for
from common.sql import columns, rows
from connections.exposure import OpenItem, all_open_sql, describe_open_items
from connections.health import maintenance
from events.models import EventKind

OPEN_SECONDS = 900  # of silence, where something is open; resets and restarts take minutes
IDLE_SECONDS = 7200  # where nothing is
AT_ONCE = 2000  # others in another minute

# It may have answered while we looked at what is open.
_ALERT_SQL = f"""
WITH silent AS (
  SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[]) AS t (id, heard_at, message)
), locked AS (
  SELECT h.connection_id FROM connections_connectionhealth h JOIN silent s
    ON s.id = h.connection_id AND h.last_connected_at = s.heard_at
  WHERE h.status = 'ACTIVE' AND h.inactivity_alerted_at IS NULL
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h
), told AS (
  UPDATE connections_connectionhealth h SET inactivity_alerted_at = clock_timestamp()
  FROM locked WHERE h.connection_id = locked.connection_id
  RETURNING h.connection_id
)
INSERT INTO events_event (kind, user_id, connection_id, payload)
SELECT '{EventKind.CONNECTION_INACTIVE.value}', coalesce(c.user_id, c.admin_id), c.id,
  jsonb_build_object('name', c.name, 'message', s.message)
FROM told JOIN connections_executionconnection c ON c.id = told.connection_id
JOIN silent s ON s.id = c.id
RETURNING connection_id
"""


def inactive_sql() -> str:
    """The silent accounts, with what is open there; those that have something open come first.
    Switching off keeps entries away and nothing else: what is open there is watched. Who was asked
    by nobody until it was switched on has some minutes to be heard."""
    return f"""
SELECT c.id, c.type, c.exchange_name, c.broker_host, c.settings, c.is_active, h.last_connected_at,
  o.symbols, o.whats
FROM connections_connectionhealth h JOIN connections_executionconnection c ON c.id = h.connection_id
CROSS JOIN LATERAL (SELECT array_agg(symbol) AS symbols, array_agg(what) AS whats
  FROM {all_open_sql()} o WHERE o.connection_id = h.connection_id) o
WHERE h.status = 'ACTIVE' AND h.inactivity_alerted_at IS NULL AND c.archived_at IS NULL
  AND h.last_connected_at < clock_timestamp() - interval '{OPEN_SECONDS} seconds'
  AND (o.symbols IS NOT NULL OR c.is_active
    AND h.last_connected_at < clock_timestamp() - interval '{IDLE_SECONDS} seconds')
  AND (h.monitored_since IS NULL
    OR h.monitored_since < clock_timestamp() - interval '{OPEN_SECONDS} seconds')
ORDER BY o.symbols IS NULL, random() LIMIT {AT_ONCE}
"""


def alert_inactive(*, awake_seconds: float) -> int:
    """Write an event for each account that has been silent for too long. Returns how many.

    awake_seconds: how long this process has been asking accounts; after a time in which nothing of
    ours ran everybody was silent, which says nothing of anybody. An account in a window in which
    its broker is closed, as it has announced, is told of only afterwards.
    """
    if awake_seconds < OPEN_SECONDS:
        return 0
    closed = [one for one in maintenance.windows_open_now() if one.window.closed]
    inactive = [
        (row.id, row.last_connected_at, _inactivity_message(row))
        for row in rows(inactive_sql())
        if not window_for(maintenance.maintenance_scope(row), closed)
    ]
    return _store_alerts(inactive)


def _store_alerts(inactive: Sequence[tuple[Any, ...]]) -> int:
    return len(rows(_ALERT_SQL, columns(inactive, 3))) if inactive else 0


def _inactivity_message(row: Any) -> str:
    found = [OpenItem(*one) for one in zip(row.symbols or (), row.whats or (), strict=True)]
    message = f"Nothing was heard of it since {row.last_connected_at:%d %b %H:%M} UTC."
    if found:
        off = "" if row.is_active else "It is switched off, yet watched for what is open there. "
        message += (
            f" {off}Open there: {describe_open_items(found)}. Until it answers we can close "
            f"nothing there and"
            " no stop that we keep is executed."
        )
    return f"{message} Look whether its program (terminal, gateway) and its worker run."
