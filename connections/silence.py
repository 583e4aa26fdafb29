"""Telling of accounts that nobody has heard of for long, though nothing calls that an error.

A maintenance window forgives who does not answer, MetaTrader's for a whole weekend; and an account
whose worker has died is asked by nobody. Neither is in error, but its owner must know: a stop that
we keep is not executed there. So silence itself is told, once (`connection.silent`), and its end
(`connection.recovered`). Whoever has something open is told soon, the others before the next week.
"""

from typing import Any

from brokers.windows import maintenance_of
from common.sql import rows
from connections import maintenance
from connections.open import in_words, what_is_open
from events.models import EventKind

OPEN_SECONDS = 900  # of silence, where something is open; resets and restarts take minutes
IDLE_SECONDS = 7200  # where nothing is
AT_ONCE = 500  # others in another minute

_SILENT = f"""
SELECT c.id, c.type, c.exchange_name, c.broker_host, c.settings, h.last_connected_at,
  h.last_connected_at < clock_timestamp() - interval '{IDLE_SECONDS} seconds' AS is_long
FROM connections_connectionhealth h JOIN connections_executionconnection c ON c.id = h.connection_id
WHERE h.status = 'ACTIVE' AND h.silence_told_at IS NULL AND c.is_active AND c.archived_at IS NULL
  AND h.last_connected_at < clock_timestamp() - interval '{OPEN_SECONDS} seconds'
ORDER BY random() LIMIT {AT_ONCE}
"""

# It may have answered while we looked at what is open.
_TELL = f"""
WITH told AS (
  UPDATE connections_connectionhealth SET silence_told_at = clock_timestamp()
  WHERE connection_id = %(id)s AND status = 'ACTIVE' AND silence_told_at IS NULL
    AND last_connected_at = %(heard_at)s
  RETURNING connection_id
)
INSERT INTO events_event (kind, user_id, connection_id, payload)
SELECT '{EventKind.CONNECTION_SILENT.value}', coalesce(c.user_id, c.admin_id), c.id,
  jsonb_build_object('name', c.name, 'message', %(message)s::text)
FROM told JOIN connections_executionconnection c ON c.id = told.connection_id
RETURNING connection_id
"""


def tell_silent(*, awake_seconds: float) -> int:
    """Write an event for each account that has been silent for too long. Returns how many.

    awake_seconds: how long this process has been asking accounts; after a time in which nothing of
    ours ran everybody was silent, which says nothing of anybody. An account in a window in which
    its broker is closed, as it has announced, is told of only afterwards.
    """
    if awake_seconds < OPEN_SECONDS:
        return 0
    closed = [one for one in maintenance.open_now() if one.window.closed]
    return sum(
        _tell(row) for row in rows(_SILENT) if not maintenance_of(maintenance.whose(row), closed)
    )


def _tell(row: Any) -> int:
    found = what_is_open(row.id)
    if not found and not row.is_long:
        return 0
    message = f"Nothing was heard of it since {row.last_connected_at:%d %b %H:%M} UTC."
    if found:
        message += (
            f" Open there: {in_words(found)}. Until it answers we can close nothing there and no"
            " stop that we keep is executed."
        )
    message += " Look whether its program (terminal, gateway) and its worker run."
    told = {"id": row.id, "heard_at": row.last_connected_at, "message": message}
    return len(rows(_TELL, told))
