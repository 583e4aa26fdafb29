"""Statements of recovery epochs; `epochs.py` runs them."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from common.db.sql import IdRow, Query
from common.reason_codes import Code
from connections.selectors import account_join_sql, connection_join_sql
from execution.base.statements import (
    ALL_PENDING_SQL,
    LIVE_SQL,
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
    opens_position_sql,
)
from positions.joins import position_join_sql


class ReleasableExit(NamedTuple):
    """A held exit that may be released."""

    id: int
    position_id: int


class ForgottenOrder(NamedTuple):
    """An order that a broker accepted and that has no row. likely: ids of orders it may be."""

    connection_id: UUID
    client_order_id: str
    first_at: datetime
    likely: list[int]


FENCES_AHEAD = 1000
"""How far an order's fencing token jumps, so that no process from before the restore has it."""

# Ids of the lost rows are not used again: people, webhooks and brokers still know the old rows by
# them.
NUMBERS_AHEAD = {
    "signals_signal": 10_000,
    "positions_executionposition": 100_000,
    "execution_order": 1_000_000,
    "events_event": 1_000_000,
}
SKIP_NUMBERS = """
SELECT setval(s.name, nextval(s.name) + %(ahead)s)
FROM (SELECT pg_get_serial_sequence(%(table)s, 'id')::regclass AS name) s
"""

# In two parts, each by a partial index, so that finished orders are not read.
LIVE = Query(
    IdRow,
    f"""
SELECT id FROM execution_order WHERE {ALL_PENDING_SQL} AND created_at <= %(since)s
UNION ALL
SELECT id FROM execution_order WHERE status IN {LIVE_SQL} AND created_at <= %(since)s
""",
)
LOCK = "SELECT id FROM execution_order WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

_ENDED = event_rows_sql(
    "moved m",
    kind="'order.' || lower(m.status)",
    payload="jsonb_build_object('code', m.reason)",
)
_LOGGED = f"""
, logged AS (
  {insert_log_sql(log_rows_sql("moved m", code="m.reason", detail="%(detail)s"))}
), events AS (
  {insert_events_sql(_ENDED)}
)
SELECT id FROM moved
"""


# A row without a client order id may have got one and been sent since. That id is lost, so the
# order cannot be looked up. An entry ends; a fill that a person links to it still counts.
def _end_unsent_sql(status: str, code: Code, whose: str) -> str:
    """Return SQL that ends orders that have no client order id. whose: a condition."""
    return f"""
WITH moved AS (
  UPDATE execution_order SET status = '{status}', reason = '{code.value}',
    detail = '', pending_action = '', fence = fence + {FENCES_AHEAD}, done_at = clock_timestamp()
  WHERE id = ANY(%(ids)s) AND status = 'PENDING' AND client_order_id IS NULL
    AND {whose}
  RETURNING id, signal_id, connection_id, status, reason
){_LOGGED}"""


END_ENTRIES = Query(IdRow, _end_unsent_sql("EXPIRED", Code.RESTORED_UNSENT, "position_id IS NULL"))
HOLD_EXITS = Query(IdRow, _end_unsent_sql("FAILED", Code.RESTORED_EXIT, "position_id IS NOT NULL"))

# Looked up under the id of the attempt that it waited for. An absence before `answer_by` proves
# nothing: processes from before the restore may still be sending.
LOOK_UP_ORDERS = Query(
    IdRow,
    f"""
WITH moved AS (
  UPDATE execution_order SET status = 'UNKNOWN', reason = '{Code.RESTORED.value}', detail = '',
    fence = fence + {FENCES_AHEAD}, worker_id = '', absence_confirmations = 0,
    lookup_after = clock_timestamp(),
    answer_by = %(answer_by)s, client_order_id = left(client_order_id, -1) || attempt,
    submitted_at = coalesce(submitted_at, created_at)
  WHERE id = ANY(%(ids)s) AND client_order_id IS NOT NULL
    AND status IN ('PENDING', 'SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED',
      'CANCEL_REQUESTED')
  RETURNING id, signal_id, connection_id, status, reason
){_LOGGED}""",
)

# Held exits that were certainly not sent: the broker holds their whole position, and nothing was
# executed on it that we did not know at the backup. On a netting account the quantity proves
# nothing, so the exit must be among %(unsent)s (`netting_exits.py`), and no execution without an id
# of ours may have come since: it could be the exit's, attributed to another position.
RELEASABLE_EXITS = Query(
    ReleasableExit,
    f"""
SELECT o.id, o.position_id FROM execution_order o
{position_join_sql("o.position_id")}
JOIN connections_connectionhealth h ON h.connection_id = o.connection_id
{account_join_sql("o.connection_id")}
WHERE o.id = ANY(%(ids)s) AND o.status = 'FAILED' AND o.reason = '{Code.RESTORED_EXIT.value}'
  AND h.reconciled_at > %(answer_by)s AND p.missing_since IS NULL AND p.broker_position_id <> ''
  AND (a.position_mode IS DISTINCT FROM 'NETTING' OR o.id = ANY(%(unsent)s::bigint[])
    AND NOT EXISTS (SELECT FROM execution_driftitem d
      WHERE d.connection_id = o.connection_id AND d.state = 'OPEN')
    AND NOT EXISTS (SELECT FROM execution_order x JOIN execution_fill f ON f.order_id = x.id
      WHERE x.connection_id = o.connection_id AND x.client_order_id IS NULL
        AND f.recorded_at > %(opened_at)s))
  AND o.quantity <= p.quantity - p.reserved
  AND NOT EXISTS (SELECT FROM execution_driftitem d
    WHERE d.connection_id = o.connection_id AND d.state = 'OPEN'
      AND (d.position_id = p.id OR d.kind = '{Code.UNKNOWN_ORDER.value}'))
  AND NOT EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id
    AND x.status IN ('SUBMITTING', 'UNKNOWN'))
  AND NOT EXISTS (SELECT FROM execution_order x JOIN execution_fill f ON f.order_id = x.id
    WHERE x.position_id = p.id AND f.recorded_at > %(opened_at)s AND x.id <> ALL(%(ids)s))
  AND NOT EXISTS (SELECT FROM execution_order x JOIN execution_fill f ON f.order_id = x.id
    WHERE {opens_position_sql("x", "p")}
      AND f.recorded_at > %(opened_at)s AND x.id <> ALL(%(ids)s))
ORDER BY o.position_id, o.id
""",
)
RELEASE_EXIT = Query(
    IdRow,
    f"""
WITH moved AS (
  UPDATE execution_order SET status = 'PENDING', reason = '{Code.RESTORE_CLEARED.value}',
    done_at = NULL, due_at = clock_timestamp(), enqueued_at = clock_timestamp(), fence = fence + 1
  WHERE id = %(id)s AND status = 'FAILED' AND reason = '{Code.RESTORED_EXIT.value}'
    AND quantity <= (SELECT p.quantity - p.reserved FROM positions_executionposition p
      WHERE p.id = position_id)
  RETURNING id, signal_id, connection_id, status, reason
), logged AS (
  {insert_log_sql(log_rows_sql("moved m", code="m.reason"))}
)
SELECT id FROM moved
""",
)

# Orders that a broker's books show with our tag and that have no row, nor were archived. `likely`:
# the orders that waited on that account when the backup was made; a person decides which it is.
FORGOTTEN = Query(
    ForgottenOrder,
    f"""
SELECT j.connection_id, j.client_order_id, j.first_at, coalesce((
    SELECT array_agg(o.id ORDER BY o.id) FROM execution_order o
    WHERE o.connection_id = j.connection_id
      AND o.reason IN ('{Code.RESTORED_UNSENT.value}', '{Code.RESTORED_EXIT.value}')), '{{}}')
  AS likely
FROM unnest(%(connections)s::uuid[], %(ids)s::text[], %(first_at)s::timestamptz[])
  AS j(connection_id, client_order_id, first_at)
{connection_join_sql("j.connection_id")}
WHERE NOT EXISTS (SELECT FROM execution_order o
    WHERE o.client_order_id = ANY(ARRAY(
      SELECT left(j.client_order_id, -1) || digit FROM generate_series(0, 9) AS digit))
      AND o.connection_id = j.connection_id)
  AND NOT EXISTS (SELECT FROM execution_archivedorder a
    WHERE a.client_order_id = ANY(ARRAY(
      SELECT left(j.client_order_id, -1) || digit FROM generate_series(0, 9) AS digit))
      AND a.connection_id = j.connection_id)
  AND NOT EXISTS (SELECT FROM execution_driftitem d WHERE d.connection_id = j.connection_id
    AND d.kind = '{Code.FORGOTTEN_ORDER.value}' AND d.key = j.client_order_id)
""",
)

# Adopted, linked or reported by the broker since: its order has a row now.
RESOLVE_KNOWN = f"""
UPDATE execution_driftitem d SET state = 'RESOLVED', resolved_at = clock_timestamp(),
  resolution = CASE WHEN d.resolution = '' THEN 'Its order exists here now.' ELSE d.resolution END
WHERE d.kind = '{Code.FORGOTTEN_ORDER.value}' AND d.state <> 'RESOLVED'
  AND EXISTS (SELECT FROM execution_order o WHERE o.client_order_id = d.key
    AND o.connection_id = d.connection_id)
"""
