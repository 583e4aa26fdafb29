"""What closes a position once its account has done something with another signal.

An entry whose position would be closed at once is not sent: the claim judges the condition of its
signal, too (`monitoring/condition_exits.py` judges those of positions and of working entries).
"""

from collections.abc import Sequence

from common.db.sql import Query, array, rows
from execution.submission.conditions import (
    ConditionRow,
    Verdict,
    of_account_sql,
    verdict_of_signal,
)
from execution.submission.rows import OrderRow
from signals.effective_levels import exit_condition_sql
from signals.models import exit_condition_text

# The columns of a ConditionRow but its id. a: what the account did with the other signal; w: the
# condition, with signal_id and state.
CONDITION_COLUMNS = """NULL::timestamptz AS not_before, w.signal_id AS after_signal_id,
  w.state AS after_state, a.orders, a.is_live, a.is_filled, a.is_open, a.close_reason"""

LOAD = Query(
    ConditionRow,
    f"""
SELECT o.id AS order_id, {CONDITION_COLUMNS}
FROM execution_order o CROSS JOIN LATERAL {exit_condition_sql("o.signal_id")} w
CROSS JOIN LATERAL {of_account_sql("w.signal_id")} a
WHERE o.id = ANY(%s::bigint[]) AND w.signal_id IS NOT NULL
""",
)

# Not over the verdict itself, which is Python's: whether it may be another one than WAITS.
SETTLED = """(a.orders = 0 OR a.is_filled AND w.state = 'NOT_FILLED'
  OR NOT a.is_live AND (w.state IN ('FILLED', 'NOT_FILLED') OR NOT a.is_open))"""


def closing_conditions(pending: Sequence[OrderRow]) -> dict[int, str]:
    """Return which due entries would be closed at once, by order id: why, for their owner.

    Without such conditions nothing is read.
    """
    having = [row.id for row in pending if row.has_exit_condition]
    if not having:
        return {}
    return {
        row.order_id: text_of(row)
        for row in rows(LOAD, (array(having),))
        if verdict_of_signal(row) is Verdict.HOLDS
    }


def text_of(row: ConditionRow) -> str:
    """Return a condition for people: `once S-7 is closed`."""
    return exit_condition_text(row.after_signal_id, row.after_state)
