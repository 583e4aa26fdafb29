"""Store which levels a broker reports that it holds.

Only what the broker states counts: a LEVELS report, the levels in the first execution report, or
what a reconciliation has read. We monitor a level that the broker rejected. A level that it dropped
is placed again once (`monitoring/pending_actions.py`), and we monitor it from the first moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from brokers.types import HeldLevels, OrderReport, ReportKind
from common.reason_codes import Code
from common.sql import IdRow, Query, array, columns, rows, run
from execution.base.reconciliation_requests import request_reconciliation
from execution.exits.reservations import lock_positions
from positions.levels import lacks_level_sql

# Levels that a broker has confirmed and dropped twice within this time are not placed a third time:
# a plugin, or the owner's expert advisor, would drop them again each time.
DROPS_APART_SECONDS = 300

# A broker's replies and its events arrive on different channels: of two reports within this time
# that differ, either may be the older one. (For reports that we ourselves delay for longer,
# `dispatch/report_writer.py` requests a reconciliation.)
CONTRADICTION_SECONDS = 5

_STATEMENTS = """WITH d AS (
  SELECT * FROM unnest(%s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::boolean[],
    %s::boolean[], %s::timestamptz[], %s::timestamptz[])
  AS t(cid, sl, tp, protected, refused, is_first, began, as_of)
)"""


class ContradictedConnection(NamedTuple):
    """A connection with two reports that contradict each other."""

    connection_id: UUID


# A level that we have not placed is the owner's: a reconciliation reports it, and we do not remove
# it. What was read counts if the position has had no activity since the read began; a deferred
# report counts if there was none since it arrived.
LEVELS = Query(
    ContradictedConnection,
    f"""
{_STATEMENTS}, reported AS (
  SELECT p.id, d.sl, d.tp, d.protected, d.refused,
    p.sl_guardian = 'BROKER' AND p.sl IS NOT NULL AND d.sl IS NULL
      OR p.tp_guardian = 'BROKER' AND p.tp IS NOT NULL AND d.tp IS NULL AS lacks,
    NOT p.protection_suspended AND NOT p.levels_given_up AND p.quantity > 0
      AND (p.broker_sl IS NOT NULL OR p.broker_tp IS NOT NULL
      OR p.level_sync_attempts = 0) AS is_new,
    NOT {lacks_level_sql("p.")} AS was_complete,
    p.levels_reported_at IS NULL OR (d.sl, d.tp) IS DISTINCT FROM (p.broker_sl,
      p.broker_tp) AS differs,
    d.began IS NULL AND coalesce(p.levels_reported_at > clock_timestamp()
      - interval '{CONTRADICTION_SECONDS} s', false) AS follows_another,
    coalesce(p.levels_dropped_at > clock_timestamp() - interval '{DROPS_APART_SECONDS} s', false)
      AS is_repeated
  FROM d JOIN execution_order o ON o.client_order_id = d.cid
  JOIN positions_executionposition p
    ON p.connection_id = o.connection_id AND p.signal_id = o.signal_id
  WHERE NOT (d.is_first AND p.levels_reported_at IS NOT NULL)
    AND (d.began IS NULL OR p.last_activity_at < d.began AND NOT p.protection_suspended
      AND coalesce(p.level_sync_due_at <= clock_timestamp(), true))
    AND (d.as_of IS NULL OR p.last_activity_at < d.as_of)
), moved AS (
  UPDATE positions_executionposition p SET
    broker_sl = CASE WHEN p.sl_guardian = 'BROKER' OR p.broker_sl IS NOT NULL THEN n.sl END,
    broker_tp = CASE WHEN p.tp_guardian = 'BROKER' OR p.broker_tp IS NOT NULL THEN n.tp END,
    broker_sl_quantity = n.protected, last_activity_at = clock_timestamp(),
    levels_reported_at = clock_timestamp(),
    levels_given_up = n.lacks
      AND (p.levels_given_up OR n.is_new AND n.was_complete AND n.is_repeated),
    levels_dropped_at = CASE WHEN n.lacks AND n.is_new AND n.was_complete THEN clock_timestamp()
      ELSE p.levels_dropped_at END,
    sl_guardian = CASE WHEN n.refused AND NOT p.protection_suspended AND p.sl_guardian = 'BROKER'
      AND n.sl IS DISTINCT FROM p.sl THEN 'ENGINE' ELSE p.sl_guardian END,
    tp_guardian = CASE WHEN n.refused AND NOT p.protection_suspended AND p.tp_guardian = 'BROKER'
      AND n.tp IS DISTINCT FROM p.tp THEN 'ENGINE' ELSE p.tp_guardian END
  FROM reported n WHERE p.id = n.id
  RETURNING p.id, p.signal_id, p.connection_id, n.refused,
    n.lacks AND n.is_new AND n.differs AS dropped, n.follows_another AND n.differs AS contradicts,
    p.levels_given_up
), logged AS (
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
    """
SELECT p.id FROM execution_order o JOIN positions_executionposition p
  ON p.connection_id = o.connection_id AND p.signal_id = o.signal_id
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
    lock_positions([row.id for row in rows(POSITIONS_OF, (array(latest),))])
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
    if contradicting := rows(LEVELS, records):
        request_reconciliation([row.connection_id for row in contradicting])
    if any(statement.refused for statement in latest.values()):  # its fills may be reported later
        run(NOT_HELD, records)
