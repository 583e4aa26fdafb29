"""Which levels a broker says that it holds: written down, and nothing else is.

A broker's own word only: a LEVELS report, what comes with the first execution, or what a comparison
has read. A level that one refused becomes ours to watch; one that it has dropped is placed again
once (`monitoring/pending_actions.py`), and we watch it from the first moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from brokers.types import HeldLevels, OrderReport, ReportKind
from common.reason_codes import Code
from common.sql import array, columns, rows, run
from execution.base.reconciliation_requests import request_reconciliation
from execution.exits.levels_sql import lacks_level
from execution.exits.reservations import lock_positions

# Levels that a broker has confirmed, dropped, confirmed again and dropped again within so long are
# not placed a third time: a plugin, or the owner's expert advisor, would drop them for ever.
DROPS_APART_SECONDS = 300

# A broker's answer and its events come by different ways: of two reports within so long that differ
# either may be the older one. (What is later than that by our own doing is compared by
# `dispatch/report_writer.py`.)
CONTRADICTION_SECONDS = 5

_STATEMENTS = """WITH d AS (
  SELECT * FROM unnest(%s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::boolean[],
    %s::boolean[], %s::timestamptz[], %s::timestamptz[])
  AS t(cid, sl, tp, protected, refused, is_first, began, as_of)
)"""

# A level that we have not placed there is its owner's: a comparison tells of it, and nobody here
# takes it away. What a read says counts if nothing has happened to the position since it began,
# what had to wait if nothing has since it came.
LEVELS = f"""
{_STATEMENTS}, news AS (
  SELECT p.id, d.sl, d.tp, d.protected, d.refused,
    p.sl_guardian = 'BROKER' AND p.sl IS NOT NULL AND d.sl IS NULL
      OR p.tp_guardian = 'BROKER' AND p.tp IS NOT NULL AND d.tp IS NULL AS lacks,
    NOT p.protection_suspended AND NOT p.levels_given_up AND p.quantity > 0
      AND (p.broker_sl IS NOT NULL OR p.broker_tp IS NOT NULL
      OR p.level_sync_attempts = 0) AS is_new,
    NOT {lacks_level("p.")} AS was_whole,
    p.levels_reported_at IS NULL OR (d.sl, d.tp) IS DISTINCT FROM (p.broker_sl,
      p.broker_tp) AS differs,
    d.began IS NULL AND coalesce(p.levels_reported_at > clock_timestamp()
      - interval '{CONTRADICTION_SECONDS} s', false) AS follows_another,
    coalesce(p.levels_dropped_at > clock_timestamp() - interval '{DROPS_APART_SECONDS} s', false)
      AS is_again
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
      AND (p.levels_given_up OR n.is_new AND n.was_whole AND n.is_again),
    levels_dropped_at = CASE WHEN n.lacks AND n.is_new AND n.was_whole THEN clock_timestamp()
      ELSE p.levels_dropped_at END,
    sl_guardian = CASE WHEN n.refused AND NOT p.protection_suspended AND p.sl_guardian = 'BROKER'
      AND n.sl IS DISTINCT FROM p.sl THEN 'ENGINE' ELSE p.sl_guardian END,
    tp_guardian = CASE WHEN n.refused AND NOT p.protection_suspended AND p.tp_guardian = 'BROKER'
      AND n.tp IS DISTINCT FROM p.tp THEN 'ENGINE' ELSE p.tp_guardian END
  FROM news n WHERE p.id = n.id
  RETURNING p.id, p.signal_id, p.connection_id, n.refused,
    n.lacks AND n.is_new AND n.differs AS dropped, n.follows_another AND n.differs AS contradicts,
    p.levels_given_up
), logged AS (
  INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)
  SELECT signal_id, connection_id,
    CASE WHEN refused THEN '{Code.STOPS_INVALID.value}' ELSE '{Code.STOP_DROPPED.value}' END,
    'position ' || id || ': ' || CASE
      WHEN refused THEN 'the broker does not hold the level, so we watch it'
      WHEN levels_given_up THEN 'placed again, and the broker dropped it again: we watch the level'
      ELSE 'the broker does not hold the level; we watch it, and place it again' END
  FROM moved WHERE refused OR dropped
)
SELECT DISTINCT connection_id FROM moved WHERE contradicts
"""

# The levels that an entry carries are those that its position will have at the broker.
NOT_HELD = f"""
{_STATEMENTS}
UPDATE execution_order o SET stop_loss = d.sl, take_profit = d.tp
FROM d WHERE d.refused AND o.client_order_id = d.cid AND o.position_id IS NULL
"""

POSITIONS_OF = """
SELECT p.id FROM execution_order o JOIN positions_executionposition p
  ON p.connection_id = o.connection_id AND p.signal_id = o.signal_id
WHERE o.client_order_id = ANY(%s::text[])
"""


@dataclass(frozen=True, slots=True)
class LevelStatement:
    """What a broker says of the levels of an entry's position.

    is_first: it came with an execution, which may be told again when levels have been moved.
    began: of a comparison, when its read began. as_of: of a report that had to wait, when it came.
    """

    client_order_id: str
    levels: HeldLevels
    refused: bool = False
    is_first: bool = False
    began: datetime | None = None
    as_of: datetime | None = None


def level_statements(reports: Iterable[OrderReport]) -> list[LevelStatement]:
    """What LEVELS reports say. One that says nothing is no word."""
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
    """Write down what brokers say; a level that one refused becomes ours to watch at once.

    Must run in a transaction. Of several words about one position the last counts. Where a report
    contradicts another of a moment ago, a comparison of the account is requested.
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
    if any(statement.refused for statement in latest.values()):  # its fills may be told after this
        run(NOT_HELD, records)
