"""Store which levels a broker reports that it holds.

Only what the broker states counts: a LEVELS report, the levels in the first execution report, or
what a reconciliation has read. We monitor a level that the broker rejected. A level that it dropped
is placed again once (`monitoring/level_sync.py`), and we monitor it from the first moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from brokers.types import HeldLevels, OrderReport, ReportKind
from common.db.sql import IdRow, Query, array, columns, rows, run
from common.reason_codes import Code
from execution.base.reconciliation_requests import request_reconciliation
from positions.broker_levels import store_reported_levels_sql
from positions.joins import entry_position_join_sql
from positions.row_locks import lock_positions

_STATEMENTS = """WITH d AS (
  SELECT * FROM unnest(%s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::boolean[],
    %s::boolean[], %s::timestamptz[], %s::timestamptz[])
  AS t(cid, sl, tp, protected, refused, is_first, began, as_of)
)"""


_OF_ENTRIES = f"""d JOIN execution_order o ON o.client_order_id = d.cid
  {entry_position_join_sql("o")}"""


class ContradictedConnection(NamedTuple):
    """A connection with two reports that contradict each other."""

    connection_id: UUID


LEVELS = Query(
    ContradictedConnection,
    f"""
{_STATEMENTS}, {store_reported_levels_sql(_OF_ENTRIES)}, logged AS (
  INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)
  SELECT signal_id, connection_id,
    CASE WHEN refused THEN '{Code.STOPS_INVALID.value}' ELSE '{Code.STOP_DROPPED.value}' END,
    'position ' || id || ': ' || CASE
      WHEN refused THEN 'the broker does not hold the level, so we monitor it'
      WHEN levels_given_up THEN 'the broker dropped the level a second time; we monitor it'
      ELSE 'the broker does not hold the level; we monitor it and place it again' END
  FROM moved WHERE refused OR dropped
)
SELECT DISTINCT connection_id FROM moved WHERE contradicts
""",
)

# The levels of an entry are those that its position will have at the broker.
NOT_HELD = f"""
{_STATEMENTS}
UPDATE execution_order o SET stop_loss = d.sl, take_profit = d.tp
FROM d WHERE d.refused AND o.client_order_id = d.cid AND o.position_id IS NULL
"""

POSITIONS_OF = Query(
    IdRow,
    f"""
SELECT p.id FROM execution_order o {entry_position_join_sql("o")}
WHERE o.client_order_id = ANY(%s::text[])
""",
)


@dataclass(frozen=True, slots=True)
class LevelStatement:
    """What a broker states about the levels of an entry's position.

    is_first: it came with an execution, which may be delivered again after levels were moved.
    began: when the read of a reconciliation began. as_of: when a deferred report arrived.
    """

    client_order_id: str
    levels: HeldLevels
    refused: bool = False
    is_first: bool = False
    began: datetime | None = None
    as_of: datetime | None = None


def level_statements(reports: Iterable[OrderReport]) -> list[LevelStatement]:
    """Return what LEVELS reports state; a report without levels states nothing."""
    return [
        LevelStatement(
            report.client_order_id,
            report.levels,
            report.code is Code.STOPS_INVALID,
            as_of=report.as_of,
        )
        for report in reports
        if report.kind is ReportKind.LEVELS and report.levels is not None
    ]


def write_levels(statements: Iterable[LevelStatement]) -> None:
    """Store what brokers state about levels; from now on we monitor those that they rejected.

    Must run in a transaction. Of several statements about one position the last counts. If a report
    contradicts a recent one, a reconciliation of the account is requested.
    """
    latest = {statement.client_order_id: statement for statement in statements}
    if not latest:
        return
    found = rows(POSITIONS_OF, (array(latest),), planned_once=True)
    lock_positions([row.id for row in found])
    records = columns(
        [
            (
                cid, statement.levels.stop_loss, statement.levels.take_profit,
                statement.levels.protected,
                statement.refused, statement.is_first, statement.began, statement.as_of,
            )
            for cid, statement in latest.items()
        ],
        8,
    )  # fmt: skip
    if contradicting := rows(LEVELS, records, planned_once=True):
        request_reconciliation([row.connection_id for row in contradicting])
    if any(statement.refused for statement in latest.values()):  # its fills may be reported later
        run(NOT_HELD, records)
