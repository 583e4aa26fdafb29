"""Condition exits: close positions once their account has done something with another signal.

The exit and its reservation are one transaction, so a condition fires once. An entry of the
position that still works ends in the same transaction. A condition that cannot hold any more is
stated on the position, and is not judged again.
"""

from django.db import transaction

from common.db.sql import Query, array, kept_plans, rows, run
from common.failpoints import failpoint
from common.reason_codes import Code
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
    opening_entry_join_sql,
)
from execution.exits.dust import HELD_BACK
from execution.exits.orders import ExitRequest, open_exits
from execution.monitoring.level_monitor import RETRY_SECONDS
from execution.submission.conditions import ConditionRow, Verdict, of_account_sql, verdict_of_signal
from execution.submission.exit_conditions import CONDITION_COLUMNS, SETTLED, text_of
from positions.condition_exits import CONDITIONED_SQL, MARK_OVER_SQL
from signals.effective_levels import exit_condition_sql

LIMIT = 1000

# The entry states whose subscriber the account is.
POSITIONS = Query(
    ConditionRow,
    f"""
SELECT p.id AS order_id, {CONDITION_COLUMNS}
FROM {CONDITIONED_SQL}
{opening_entry_join_sql("p")}
CROSS JOIN LATERAL {of_account_sql("w.signal_id", "e")} a
WHERE {SETTLED} AND NOT EXISTS (SELECT FROM execution_order o WHERE o.position_id = p.id
    AND o.filled_quantity = 0 AND o.leg LIKE 'when-%%'
    AND o.done_at > clock_timestamp() - make_interval(secs => {RETRY_SECONDS}))
  AND NOT {HELD_BACK}
ORDER BY p.id LIMIT %(limit)s
""",
)

# Entries that wait or work, by a partial index. The held leg of an OCO pair ends with its pair.
ENTRIES = Query(
    ConditionRow,
    f"""
SELECT o.id AS order_id, {CONDITION_COLUMNS}
FROM execution_order o CROSS JOIN LATERAL {exit_condition_sql("o.signal_id")} w
CROSS JOIN LATERAL {of_account_sql("w.signal_id")} a
WHERE o.has_exit_condition AND o.done_at IS NULL AND o.pending_action = ''
  AND o.status <> 'CANCEL_REQUESTED' AND (o.oco_group IS NULL OR o.oco_fired)
  AND w.signal_id IS NOT NULL AND {SETTLED}
ORDER BY o.id LIMIT %(limit)s
""",
)

# What is being sent is cancelled when its broker has it; if it fills first, its position is closed.
END_ENTRIES = f"""
WITH due AS (
  SELECT * FROM unnest(%s::bigint[], %s::text[]) AS t(id, text)
), locked AS (
  SELECT o.id, d.text FROM execution_order o JOIN due d USING (id)
  WHERE o.done_at IS NULL AND o.pending_action = '' AND o.status <> 'CANCEL_REQUESTED'
  ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED
), moved AS (
  UPDATE execution_order o SET
    status = CASE o.status WHEN 'PENDING' THEN 'CANCELLED' ELSE o.status END,
    reason = CASE o.status WHEN 'PENDING' THEN '{Code.CONDITION_EXIT.value}' ELSE o.reason END,
    detail = CASE o.status WHEN 'PENDING' THEN left(l.text, 300) ELSE o.detail END,
    done_at = CASE o.status WHEN 'PENDING' THEN clock_timestamp() END,
    pending_action = CASE o.status WHEN 'PENDING' THEN '' ELSE 'CANCEL' END,
    due_at = clock_timestamp()
  FROM locked l WHERE o.id = l.id
  RETURNING o.id, o.signal_id, o.connection_id, o.status, l.text
), notified AS (
  {
    insert_events_sql(
        event_rows_sql(
            "moved m",
            kind="'order.cancelled'",
            payload=f"jsonb_build_object('code', '{Code.CONDITION_EXIT.value}', 'detail', m.text)",
            where="m.status = 'CANCELLED'",
        )
    )
}
)
{insert_log_sql(log_rows_sql("moved m", code=f"'{Code.CONDITION_EXIT.value}'", detail="m.text"))}
"""

MARK_OVER = f"""
WITH over AS (
  {MARK_OVER_SQL}
)
INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)
SELECT signal_id, connection_id, '{Code.EXIT_CONDITION_FAILED.value}',
  'position ' || id || ': S-' || close_when_signal_id FROM over
"""


def close_settled() -> list[int]:
    """Write an exit for each position whose condition holds; return the order ids to enqueue.

    Entries of theirs that still work are ended before: orders are locked before positions. Skips
    what another session has locked; the next call finds it.
    """
    with transaction.atomic(), kept_plans():
        ended = [
            row
            for row in rows(ENTRIES, {"limit": LIMIT}, planned_once=True)
            if verdict_of_signal(row) is Verdict.HOLDS
        ]
        if ended:
            run(END_ENTRIES, ([row.order_id for row in ended], [text_of(row) for row in ended]))
        found = rows(POSITIONS, {"limit": LIMIT}, planned_once=True)
        requests = [
            ExitRequest(row.order_id, "when", code=Code.CONDITION_EXIT, detail=text_of(row))
            for row in found
            if verdict_of_signal(row) is Verdict.HOLDS
        ]
        written = open_exits(requests, skip_locked=True)
        over = [row.order_id for row in found if verdict_of_signal(row) is Verdict.NEVER]
        if over:
            run(MARK_OVER, (array(over),))
    if written or ended:
        failpoint("condition_exits.committed")
    return [exit_.order_id for exit_ in written]
