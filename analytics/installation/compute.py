"""Computes the figures of each UTC day of orders: set-based, idempotent, on a trading process.

A page over a month of a million orders reads sums of days, not orders. Today's are computed each
minute while anything happens, those of the last month once a day, as orders may fill or end late.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db import transaction

from analytics.installation.sketch import (
    BASIS_POINTS,
    PIPS,
    TO_FILL,
    TO_WIRE,
    bucket_sql,
    key_sql,
)
from analytics.models import ExecutionDay
from analytics.replica import JOB_SECONDS, replica_rows
from common.db.sql import Query, database_now, rows, run
from connections.selectors import account_join_sql, connection_join_sql, not_twin_sql
from execution.entry_quality import NEWEST_LINE_SQL, ORDER_DAYS, all_orders_sql
from positions.joins import median_move_sql

Part = ExecutionDay.Part
LATE = timedelta(days=30)  # for so long a day is computed again, once a day
SHARE_OF_TIME = 10  # a computation is repeated after ten times as long as it took
DAYS_OF_A_RUN = 60  # of those that were never computed
PLACES = {"1": 10, "2": 100, "3": 1000}
"""Value of a place in the fan-out → the last place that it covers; "4": all later ones."""

VALUES = {
    Part.BROKER: "x.broker",
    Part.SYMBOL: "x.pair",
    Part.HOUR: "x.hour",
    Part.ORDER_TYPE: "x.order_type",
    Part.ACCOUNT: "x.account",
    Part.PLACE: "x.place",
}
_DIMENSIONS = ", ".join(VALUES.values())
_BASE = "x.is_paper, x.is_exit, x.currency"
_SETS = ", ".join(f"({_BASE}, {value})" for value in VALUES.values())
_GROUPS = f"GROUPING SETS (({_BASE}), {_SETS})"
_PARTS = " ".join(f"WHEN GROUPING({sql}) = 0 THEN '{part.value}'" for part, sql in VALUES.items())
_PART = f"CASE {_PARTS} ELSE 'all' END"
_VALUE = f"coalesce({_DIMENSIONS}, '')"
_PLACES = " ".join(f"WHEN n.number <= {last} THEN '{value}'" for value, last in PLACES.items())
_PLACE = f"CASE {_PLACES} ELSE '4' END"
_WRITTEN = "o.created_at >= %(start)s AND o.created_at < %(end)s"
_MEASURED = "o.slippage_pips IS NOT NULL AND o.filled_quantity > 0"
_MOVED = "(o.avg_fill_price - o.expected_price) * o.sign"
_MS = "extract(epoch FROM {0} - {1})::float8 * 1000"

# What became of an order. Nothing is counted twice, so the outcomes add up to the orders.
OUTCOMES = ("skipped", "denied", "unsent", "failed", "filled", "cancelled", "expired", "rejected",
            "unknown", "working")  # fmt: skip
_OUTCOME = """CASE WHEN o.filled_quantity > 0 THEN 'filled'
      WHEN o.status IN ('SKIPPED', 'DENIED', 'FAILED') THEN lower(o.status)
      WHEN o.submitted_at IS NULL OR o.status = 'PENDING' THEN 'unsent'
      WHEN o.status IN ('CANCELLED', 'EXPIRED', 'REJECTED', 'UNKNOWN') THEN lower(o.status)
      ELSE 'working' END"""
_COUNTS = ",\n    ".join(
    f"count(*) FILTER (WHERE x.outcome = '{outcome}') AS {outcome}" for outcome in OUTCOMES
)
_SUMS = ",\n    ".join(
    f"""count(x.{unit}) AS {unit}_count, coalesce(sum(x.{unit}), 0) AS {unit}_sum,
    coalesce(sum(x.{unit} * x.{unit}), 0) AS {unit}_squares, max(abs(x.{unit})) AS {unit}_largest"""
    for unit in ("pips", "bps")
)
_KEYS = ", ".join(
    f"({key_sql(kind, bucket_sql(f'x.{value}::float8'))})"
    for kind, value in (
        (PIPS, "pips"), (BASIS_POINTS, "bps"), (TO_WIRE, "to_wire"), (TO_FILL, "to_fill")
    )
)  # fmt: skip
_GROUP_COLUMNS = "part, is_paper, is_exit, currency, value"
_FIGURES = (
    "orders", *OUTCOMES, "limited", "beyond_limit",
    *(f"{unit}_{name}" for unit in ("pips", "bps")
      for name in ("count", "sum", "squares", "largest")),
    "commission", "unconverted", "missed", "missed_priced", "missed_cost",
)  # fmt: skip
_FIGURE_COLUMNS = ", ".join(_FIGURES)

# An entry is missed that was to be sent and has filled nothing, where the venue or the way to it
# was the cause. Its cost is what those earned for whom the same signal was closed.
COMPUTE = f"""
WITH o AS MATERIALIZED (
  SELECT o.*, c.type AS broker, c.type = 'paper' AS is_paper, coalesce(a.currency, '') AS currency,
    {_OUTCOME} AS outcome
  FROM ({all_orders_sql(_WRITTEN)}) o
  {connection_join_sql("o.connection_id")}
  {account_join_sql("o.connection_id")}
  WHERE {not_twin_sql("o.connection_id")}
), missed AS MATERIALIZED (
  SELECT o.id, o.signal_id, o.quantity * o.expected_price * o.conversion_rate AS worth FROM o
  WHERE NOT o.is_exit AND o.outcome IN ('failed', 'rejected', 'expired', 'cancelled')
), move AS MATERIALIZED (
  SELECT m.signal_id, {median_move_sql("m.signal_id")} AS move
  FROM (SELECT DISTINCT signal_id FROM missed) m
), place AS MATERIALIZED (
  SELECT n.id, {_PLACE} AS place FROM (
    SELECT o.id, row_number() OVER (PARTITION BY o.signal_id ORDER BY o.id) AS number FROM o
    WHERE NOT o.is_exit AND o.is_first AND o.outcome <> 'skipped') n
), x AS MATERIALIZED (
  SELECT o.is_paper, o.is_exit, o.currency, o.broker, o.pair,
    to_char(o.created_at AT TIME ZONE 'UTC', 'HH24') AS hour, o.order_type,
    o.connection_id::text AS account, p.place, o.outcome,
    o.worst_price IS NOT NULL AND o.filled_quantity > 0 AS is_limited, o.is_beyond,
    CASE WHEN {_MEASURED} THEN CASE WHEN o.slippage_unit = 'PIPS' THEN o.slippage_pips
      WHEN o.pip > 0 THEN round({_MOVED} / o.pip, 18) END END AS pips,
    CASE WHEN {_MEASURED} AND o.expected_price > 0
      THEN round({_MOVED} / o.expected_price * 10000, 18) END AS bps,
    CASE WHEN o.order_type = 'MARKET' THEN {_MS.format("o.submitted_at", "o.created_at")}
      END AS to_wire,
    CASE WHEN o.order_type = 'MARKET' THEN {_MS.format("o.filled_at", "o.submitted_at")}
      END AS to_fill,
    o.commission, o.is_unconverted, m.id IS NOT NULL AS is_missed,
    round(v.move * m.worth, 18) AS missed_cost
  FROM o LEFT JOIN place p ON p.id = o.id LEFT JOIN missed m ON m.id = o.id
  LEFT JOIN move v ON v.signal_id = m.signal_id
), summed AS (
  SELECT {_PART} AS part, {_BASE}, {_VALUE} AS value, count(*) AS orders,
    {_COUNTS},
    count(*) FILTER (WHERE x.is_limited) AS limited,
    count(*) FILTER (WHERE x.is_beyond) AS beyond_limit,
    {_SUMS},
    coalesce(sum(x.commission), 0) AS commission,
    count(*) FILTER (WHERE x.is_unconverted) AS unconverted,
    count(*) FILTER (WHERE x.is_missed) AS missed, count(x.missed_cost) AS missed_priced,
    coalesce(sum(x.missed_cost), 0) AS missed_cost
  FROM x GROUP BY {_GROUPS}
  HAVING GROUPING(x.place) = 1 OR x.place IS NOT NULL
), counted AS (
  SELECT {_PART} AS part, {_BASE}, {_VALUE} AS value, k.key, count(*) AS count
  FROM x CROSS JOIN LATERAL (VALUES {_KEYS}) k(key)
  WHERE k.key IS NOT NULL
  GROUP BY k.key, {_GROUPS}
  HAVING GROUPING(x.place) = 1 OR x.place IS NOT NULL
), sketch AS (
  SELECT {_GROUP_COLUMNS}, array_agg(key) AS keys, array_agg(count::int) AS counts
  FROM counted GROUP BY {_GROUP_COLUMNS}
), gone AS (
  DELETE FROM analytics_executionday old WHERE old.day = %(day)s AND NOT EXISTS (
    SELECT FROM summed s WHERE s.part = old.part AND s.is_paper = old.is_paper
      AND s.is_exit = old.is_exit AND s.currency = old.currency AND s.value = old.value)
    AND old.newest_line IS NULL
)
INSERT INTO analytics_executionday AS e (day, {_GROUP_COLUMNS}, {_FIGURE_COLUMNS}, sketch_keys,
  sketch_counts, seconds, computed_at)
SELECT %(day)s, {_GROUP_COLUMNS}, {_FIGURE_COLUMNS}, coalesce(k.keys, '{{}}'),
  coalesce(k.counts, '{{}}'), 0, %(read_at)s
FROM summed LEFT JOIN sketch k USING ({_GROUP_COLUMNS})
ORDER BY {_GROUP_COLUMNS}
ON CONFLICT (part, is_paper, is_exit, day, value, currency) DO UPDATE SET
  ({_FIGURE_COLUMNS}, sketch_keys, sketch_counts, computed_at) =
  ({", ".join(f"excluded.{name}" for name in _FIGURES)}, excluded.sketch_keys,
   excluded.sketch_counts, excluded.computed_at)
"""

# The mark that a day was computed, also one without orders. No account has this currency.
MARK_CURRENCY = "-"
MARK = f"""
INSERT INTO analytics_executionday AS e (day, part, is_paper, is_exit, value, currency,
  {_FIGURE_COLUMNS}, sketch_keys, sketch_counts, newest_line, seconds, computed_at)
VALUES (%(day)s, 'all', false, false, '', '{MARK_CURRENCY}',
  {", ".join("NULL" if name.endswith("_largest") else "0" for name in _FIGURES)}, '{{}}', '{{}}',
  %(newest_line)s, extract(epoch FROM clock_timestamp() - %(read_at)s), %(read_at)s)
ON CONFLICT (part, is_paper, is_exit, day, value, currency) DO UPDATE SET
  newest_line = excluded.newest_line, seconds = excluded.seconds, computed_at = excluded.computed_at
"""

MARKS_SQL = f"""part = 'all' AND NOT is_paper AND NOT is_exit AND value = ''
  AND currency = '{MARK_CURRENCY}'"""
ANY_TO_DO = f"""
SELECT coalesce(
  (SELECT m.newest_line < ({NEWEST_LINE_SQL}) OR m.computed_at < clock_timestamp() - interval '1 h'
   FROM analytics_executionday m WHERE {MARKS_SQL} ORDER BY m.day DESC LIMIT 1),
  true) AS is_due
"""
"""Whether anything was done with an order since the newest day was computed, or an hour passed."""


class MarkRow(NamedTuple):
    """A day that was computed, when, and how long it took."""

    day: date
    computed_at: datetime
    seconds: float


class DayRow(NamedTuple):
    """A day with orders."""

    day: date


class LineRow(NamedTuple):
    """The number of the newest line of the execution log."""

    line: int


MARKS = Query(
    MarkRow, f"SELECT day, computed_at, seconds FROM analytics_executionday WHERE {MARKS_SQL}"
)
DAYS = Query(DayRow, ORDER_DAYS)
NEWEST_LINE = Query(LineRow, f"SELECT ({NEWEST_LINE_SQL}) AS line")


def compute_day(day: date) -> None:
    """Write the figures of the orders that were written on a UTC day. Safe to repeat."""
    with transaction.atomic():
        run("SET LOCAL jit = off")
        # Of two parallel runs the older snapshot could overwrite the newer one.
        run("SELECT pg_advisory_xact_lock(hashtext('analytics.execution_day'), %s)",
            [day.toordinal()])  # fmt: skip
        read_at, (newest,) = database_now(), rows(NEWEST_LINE)
        start = datetime.combine(day, time(), UTC)
        run(
            COMPUTE,
            {"day": day, "start": start, "end": start + timedelta(days=1), "read_at": read_at},
        )
        run(MARK, {"day": day, "read_at": read_at, "newest_line": newest.line})


def compute_due() -> list[date]:
    """Compute today, and the days of before that are due; return which.

    Those of the last month once a day, others that were never computed a few at a time, the newest
    first.
    """
    now = database_now()
    today = now.date()
    marks = {row.day: row for row in rows(MARKS)}
    days = {today} if _is_over(marks.get(today), now) else set()
    midnight = datetime.combine(today, time(), UTC)
    days |= {
        day for day, mark in marks.items() if today - LATE <= day < today
        and mark.computed_at < midnight
    }  # fmt: skip
    if today not in marks:  # once a day: it reads all orders
        days |= _never_computed(set(marks), midnight)
    for day in sorted(days, reverse=True):
        compute_day(day)
    return sorted(days)


def _is_over(mark: MarkRow | None, now: datetime) -> bool:
    """Whether the pause after the last computation of a day is over."""
    pause = timedelta(seconds=mark.seconds * SHARE_OF_TIME) if mark else timedelta()
    return mark is None or now - mark.computed_at >= pause


def _never_computed(known: set[date], before: datetime) -> set[date]:
    found = {row.day for row in replica_rows(DAYS, {"before": before}, patience=JOB_SECONDS)}
    return set(sorted(found - known, reverse=True)[:DAYS_OF_A_RUN])
