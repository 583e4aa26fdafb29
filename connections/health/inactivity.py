"""Alert owners of accounts without contact for a long time that are not in error.

In a maintenance window, which MetaTrader has for a whole weekend, a missing answer is no error; and
an account whose worker has died is not read at all. The owner must know nevertheless: a stop that
we monitor is not executed there. So we send one event for the inactivity (`connection.inactive`)
and one for its end (`connection.recovered`): soon if anything is open there, otherwise later.
"""

from typing import Any

from brokers.maintenance_windows import window_for
from common.db.sql import columns, rows
from connections.exposure import OpenItem, all_open_sql, describe_open_items
from connections.health import maintenance
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL

OPEN_SECONDS = 900  # without contact while anything is open; resets and restarts take minutes
IDLE_SECONDS = 7200  # without contact while nothing is open
BATCH_SIZE = 2000  # further ones in the next minute

# An account may have answered since we read what is open: then it gets no alert.
_ALERT_SQL = f"""
WITH inactive AS (
  SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[]) AS t (id, last_contact, message)
), locked AS (
  SELECT h.connection_id FROM connections_connectionhealth h JOIN inactive s
    ON s.id = h.connection_id AND h.last_connected_at = s.last_contact
  WHERE h.status = 'ACTIVE' AND h.inactivity_alerted_at IS NULL
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h
), alerted AS (
  UPDATE connections_connectionhealth h SET inactivity_alerted_at = clock_timestamp()
  FROM locked WHERE h.connection_id = locked.connection_id
  RETURNING h.connection_id
)
{INSERT_EVENTS_SQL}
SELECT '{EventKind.CONNECTION_INACTIVE.value}', coalesce(c.user_id, c.admin_id), c.id, NULL, NULL,
  jsonb_build_object('name', c.name, 'message', s.message)
FROM alerted JOIN connections_executionconnection c ON c.id = alerted.connection_id
JOIN inactive s ON s.id = c.id
RETURNING connection_id
"""


def inactive_sql() -> str:
    """Return the SELECT of inactive accounts and their open items; those with open items first.

    Switching off only stops entries: an account with open items is still monitored. One that was
    switched on recently has some minutes for its first contact.
    """
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
ORDER BY o.symbols IS NULL, random() LIMIT {BATCH_SIZE}
"""


def alert_inactive(*, awake_seconds: float) -> int:
    """Store an event for each account that was inactive for too long. Return how many.

    awake_seconds: how long this process has been reading accounts. After a time in which none of
    our processes ran, all accounts look inactive, which proves nothing. An account in an announced
    window in which its broker is closed gets its alert after the window.
    """
    if awake_seconds < OPEN_SECONDS:
        return 0
    closed = [
        open_window for open_window in maintenance.windows_open_now() if open_window.window.closed
    ]
    inactive = [
        (row.id, row.last_connected_at, _inactivity_message(row))
        for row in rows(inactive_sql())
        if not window_for(maintenance.maintenance_scope(row), closed)
    ]
    return len(rows(_ALERT_SQL, columns(inactive, 3))) if inactive else 0


def _inactivity_message(row: Any) -> str:
    items = [OpenItem(*item) for item in zip(row.symbols or (), row.whats or (), strict=True)]
    message = f"No contact since {row.last_connected_at:%d %b %H:%M} UTC."
    if items:
        off = "" if row.is_active else "It is switched off, but monitored for what is open there. "
        message += (
            f" {off}Open there: {describe_open_items(items)}. Until it answers, we cannot close"
            " anything there, and stops that we monitor are not executed."
        )
    return f"{message} Check that its program (terminal, gateway) and its worker are running."
