"""Time exits: close positions whose closing time has come, also late after a downtime.

The exit and its reservation are one transaction, so a time fires once. While the position is open
and its exit has failed (the market is closed, for example), another one follows.
"""

from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from common.clocks import market_now
from common.db.sql import Query, kept_plans, rows
from common.failpoints import failpoint
from common.reason_codes import Code
from execution.exits.dust import HELD_BACK
from execution.exits.orders import ExitRequest, open_exits
from execution.monitoring.level_monitor import RETRY_SECONDS
from positions.time_exits import due_sql


class DuePosition(NamedTuple):
    """A position to close, and its closing time."""

    id: int
    close_at: datetime


DUE = Query(
    DuePosition,
    due_sql(f"""
    AND NOT EXISTS (SELECT FROM execution_order o WHERE o.position_id = p.id
      AND o.filled_quantity = 0 AND o.leg LIKE 'time-%%'
      AND o.done_at > clock_timestamp() - make_interval(secs => {RETRY_SECONDS}))
    AND NOT {HELD_BACK}"""),
)


def close_due() -> list[int]:
    """Write an exit for each position whose time has come; return the order ids to enqueue.

    Skips positions that another session has locked; the next call finds them.
    """
    with transaction.atomic(), kept_plans():
        requests = [
            ExitRequest(
                row.id, "time", code=Code.TIME_EXIT, detail=f"at {row.close_at:%Y-%m-%d %H:%M:%S}"
            )
            for row in rows(DUE, {"now": market_now()}, planned_once=True)
        ]
        written = open_exits(requests, skip_locked=True)
    if written:
        failpoint("time_exits.committed")
    return [exit_.order_id for exit_ in written]
