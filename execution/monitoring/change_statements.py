"""The statements of changes of working orders: claim, settle, end.

The alias `h` is a change, `o` its order. A change is claimed before its call, for as long as the
call may take. Only the result of the last call counts (`calls`).
"""

from typing import NamedTuple

from common.db.sql import IdRow, Query, records_sql
from common.reason_codes import Code
from connections.selectors import SPEC_COLUMNS, connection_join_sql
from connections.session_lanes import in_held_lanes_sql
from execution.base.change_events import changed_event_sql
from execution.base.statements import (
    AT_BROKER_SQL,
    OPEN_CHANGE_SQL,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
)
from execution.monitoring.change_rows import ChangeRow
from signals.joins import signal_join_sql

_IS_DUE = f"h.state IN {OPEN_CHANGE_SQL} AND h.due_at <= statement_timestamp()"
_INSERT_CHANGED_EVENTS = insert_events_sql(changed_event_sql("counted m", "m.state = 'DONE'"))

ANY_DUE = Query(IdRow, f"SELECT h.id FROM execution_entrychange h WHERE {_IS_DUE} LIMIT 1")


# ---- the claim ----------------------------------------------------------------------------------
# A requested change is sent; of another one the order is read.
_DUE = f"""
  SELECT h.id, h.state AS was, h.state = 'REQUESTED' AS is_sent
  FROM execution_entrychange h JOIN execution_order o ON o.id = h.order_id
  WHERE {_IS_DUE} AND o.status = ANY({AT_BROKER_SQL}) AND {in_held_lanes_sql("o.connection_id")}
  ORDER BY h.due_at LIMIT 500 FOR NO KEY UPDATE OF h SKIP LOCKED
"""
_CALL_ENDS = "clock_timestamp() + make_interval(secs => %(longest)s)"
_CLAIMED = f"""
  UPDATE execution_entrychange h SET calls = h.calls + 1, due_at = {_CALL_ENDS},
    state = CASE WHEN due.is_sent THEN 'SENT' ELSE h.state END,
    sends = h.sends + due.is_sent::int,
    sent_at = CASE WHEN due.is_sent THEN clock_timestamp() ELSE h.sent_at END,
    answer_by = CASE WHEN due.is_sent THEN {_CALL_ENDS} ELSE h.answer_by END
  FROM due WHERE h.id = due.id
  RETURNING h.*, due.was
"""
CLAIM = Query(
    ChangeRow,
    f"""
WITH due AS ({_DUE}), claimed AS ({_CLAIMED})
SELECT o.id, h.id AS change_id, h.was, h.calls, h.sends, h.absences, h.answer_by, h.raises_risk,
  extract(epoch FROM clock_timestamp() - h.requested_at)::float8 AS age,
  h.code = '{Code.LEVELS_FROZEN.value}' AS was_frozen,
  h.quantity, h.limit_price, h.stop_price, h.old_quantity, h.old_limit_price, h.old_stop_price,
  o.pending_action <> '' AS is_cancelled, o.pair, o.symbol, o.side, o.order_type,
  o.filled_quantity, o.client_order_id, o.broker_order_id, o.connection_id,
  s.feed_id, s.currency_pair AS signal_pair, {SPEC_COLUMNS}, c.broker_host, c.lane
FROM claimed h JOIN execution_order o ON o.id = h.order_id
{signal_join_sql("o.signal_id")}
{connection_join_sql("o.connection_id")}
ORDER BY o.id
""",
)


# ---- the end of the order -----------------------------------------------------------------------
# A change that filled more than the order had before was done; others were not.
_ENDED = f"""
  SELECT h.id, h.order_id, o.filled_quantity,
    CASE WHEN o.filled_quantity > h.old_quantity THEN 'DONE' ELSE 'REFUSED' END AS state
  FROM execution_entrychange h JOIN execution_order o ON o.id = h.order_id
  WHERE h.state IN {OPEN_CHANGE_SQL} AND o.done_at IS NOT NULL
  ORDER BY h.order_id LIMIT 500 FOR NO KEY UPDATE OF h, o SKIP LOCKED
"""
_MOVED = f"""
  UPDATE execution_entrychange h SET state = e.state, done_at = clock_timestamp(),
    code = CASE e.state WHEN 'DONE' THEN '' ELSE '{Code.ORDER_ENDED.value}' END
  FROM ended e WHERE h.id = e.id
  RETURNING h.*
"""
# A change that was sent may have been made: a late fill may need the larger quantity, and its lost
# answer may have had executions.
_COUNTED_AT_END = """
  UPDATE execution_order o SET
    quantity = CASE WHEN h.state = 'DONE' THEN greatest(o.filled_quantity, h.quantity)
      WHEN h.sends = 0 THEN greatest(o.filled_quantity, h.old_quantity) ELSE o.quantity END,
    margin = CASE h.state WHEN 'DONE' THEN h.margin ELSE h.old_margin END,
    risk = CASE h.state WHEN 'DONE' THEN h.risk ELSE h.old_risk END,
    lookup_after = CASE WHEN h.sends > 0 AND o.status <> 'FILLED'
      THEN least(o.lookup_after, clock_timestamp())
      ELSE o.lookup_after END
  FROM moved h WHERE o.id = h.order_id
  RETURNING o.id, o.signal_id, o.connection_id, h.id AS change_id, h.state
"""
END = f"""
WITH ended AS ({_ENDED}), moved AS ({_MOVED}), counted AS ({_COUNTED_AT_END})
{_INSERT_CHANGED_EVENTS}
"""


# ---- the results of calls -----------------------------------------------------------------------
class SettledRecord(NamedTuple):
    """What is stored of a call's result. id: the change's. See `ChangeOutcome`."""

    id: int
    calls: int
    state: str
    code: str
    detail: str
    seconds: float
    absences: int
    look_up: bool
    unsent: bool


_SETTLED = f"""
  UPDATE execution_entrychange h SET state = r.state, code = r.code, detail = left(r.detail, 300),
    absences = r.absences, sends = h.sends - r.unsent::int,
    due_at = clock_timestamp() + make_interval(secs => r.seconds),
    done_at = CASE WHEN r.state IN {OPEN_CHANGE_SQL} THEN NULL ELSE clock_timestamp() END
  FROM result r
  WHERE h.id = r.id AND h.calls = r.calls AND h.state IN {OPEN_CHANGE_SQL}
  RETURNING h.*, r.look_up
"""
# The margin and the risk are those of what the order has; while the change is open, the larger
# ones.
_COUNTED = """
  UPDATE execution_order o SET
    margin = CASE h.state WHEN 'DONE' THEN h.margin WHEN 'REFUSED' THEN h.old_margin
      ELSE o.margin END,
    risk = CASE h.state WHEN 'DONE' THEN h.risk WHEN 'REFUSED' THEN h.old_risk ELSE o.risk END,
    lookup_after = CASE WHEN h.look_up AND o.status <> 'FILLED'
      THEN least(o.lookup_after, clock_timestamp()) ELSE o.lookup_after END
  FROM settled h WHERE o.id = h.order_id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, h.state, h.code, h.detail,
    h.id AS change_id
"""
_INSERT_LOG = insert_log_sql(
    log_rows_sql(
        "counted m",
        code=f"CASE m.state WHEN 'DONE' THEN '{Code.ORDER_CHANGED.value}'"
        f" WHEN 'UNKNOWN' THEN '{Code.CHANGE_UNANSWERED.value}' ELSE m.code END",
        detail="m.detail",
        where=f"m.state = 'DONE' OR m.code NOT IN ('', '{Code.LEVELS_FROZEN.value}')",
    )
)
SETTLE = Query(
    IdRow,
    f"""
WITH result AS (SELECT * FROM {records_sql(SettledRecord)}),
  settled AS ({_SETTLED}), counted AS ({_COUNTED}),
  notified AS ({_INSERT_CHANGED_EVENTS}), logged AS ({_INSERT_LOG})
SELECT id FROM settled
""",
)
