"""Adds up the days of an installation's execution: one statement for all parts of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from analytics.installation.compute import MARKS_SQL, OUTCOMES
from analytics.replica import replica_rows
from common.db.sql import Query


@dataclass(frozen=True, slots=True)
class Scope:
    """UTC days from start to end, both included, of real or of paper money."""

    start: date
    end: date
    is_paper: bool = False


class SumRow(NamedTuple):
    """The sums of one value of a part, of entries or of exits.

    keys, counts: of its sketches. lines: how many values the part has.
    """

    part: str
    is_exit: bool
    value: str
    orders: int
    skipped: int
    denied: int
    unsent: int
    failed: int
    filled: int
    cancelled: int
    expired: int
    rejected: int
    unknown: int
    working: int
    limited: int
    beyond_limit: int
    pips_count: int
    pips_sum: Decimal
    pips_squares: Decimal
    pips_largest: Decimal | None
    bps_count: int
    bps_sum: Decimal
    bps_squares: Decimal
    bps_largest: Decimal | None
    unconverted: int
    missed: int
    missed_priced: int
    commissions: dict[str, str]
    missed_costs: dict[str, str]
    lines: int
    keys: list[int]
    counts: list[int]


class UntilRow(NamedTuple):
    """Until when a range is counted; None: no day of it was computed."""

    until: datetime | None


_ADDED = (
    "orders", *OUTCOMES, "limited", "beyond_limit", "pips_count", "pips_sum", "pips_squares",
    "bps_count", "bps_sum", "bps_squares", "unconverted", "missed", "missed_priced",
)  # fmt: skip
_RANGE = """part = asked.part AND is_exit = asked.is_exit AND is_paper = %(is_paper)s
    AND day >= %(start)s AND day <= %(end)s"""
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in _ADDED)
_INTEGERS = {name for name in _ADDED if not name.endswith(("_sum", "_squares"))}


def _of(name: str) -> str:
    return f"sum({name})::bigint AS {name}" if name in _INTEGERS else f"sum({name}) AS {name}"


def _column(name: str) -> str:
    return name if name == "value" else f"shown.{name}" if name == "lines" else f"line.{name}"


# Part by part, each by its own range of the index: if all are joined at once, the whole table is
# read. All else is summed of the lines shown only. First by currency, whose money is never added.
SUMS = Query(
    SumRow,
    f"""
SELECT asked.part, asked.is_exit, {", ".join(f"found.{name}" for name in SumRow._fields[2:])}
FROM unnest(%(parts)s::text[], %(exits)s::boolean[]) AS asked(part, is_exit)
CROSS JOIN LATERAL (
  WITH shown AS MATERIALIZED (
    SELECT value, count(*) OVER () AS lines,
      row_number() OVER (ORDER BY sum(filled) DESC, sum(orders) DESC, value)::int AS number
    FROM analytics_executionday WHERE {_RANGE} GROUP BY value HAVING sum(orders) > 0
    ORDER BY number LIMIT %(limit)s
  ), by_currency AS (
    SELECT value, currency, {_SUMS}, max(pips_largest) AS pips_largest,
      max(bps_largest) AS bps_largest, sum(commission) AS commission,
      sum(missed_cost) AS missed_cost
    FROM analytics_executionday
    WHERE {_RANGE} AND value IN (SELECT value FROM shown) GROUP BY value, currency
  ), line AS (
    SELECT value, {", ".join(map(_of, _ADDED))}, max(pips_largest) AS pips_largest,
      max(bps_largest) AS bps_largest,
      coalesce(jsonb_object_agg(currency, commission::text)
        FILTER (WHERE commission <> 0), '{{}}') AS commissions,
      coalesce(jsonb_object_agg(currency, missed_cost::text)
        FILTER (WHERE missed_priced > 0), '{{}}') AS missed_costs
    FROM by_currency GROUP BY value
  ), counted AS (  -- by numbers, which sort in a fraction of the time of texts
    SELECT s.number, k.key, sum(k.count)::bigint AS count
    FROM analytics_executionday e JOIN shown s USING (value)
    CROSS JOIN LATERAL unnest(e.sketch_keys, e.sketch_counts) k(key, count)
    WHERE {_RANGE} GROUP BY s.number, k.key
  ), sketch AS (
    SELECT number, array_agg(key) AS keys, array_agg(count) AS counts FROM counted GROUP BY number
  )
  SELECT {", ".join(_column(name) for name in SumRow._fields[2:-2])},
    coalesce(keys, '{{}}') AS keys, coalesce(counts, '{{}}') AS counts, shown.number
  FROM shown JOIN line USING (value) LEFT JOIN sketch USING (number)
) found
ORDER BY asked.part, asked.is_exit, found.number
""",
)
UNTIL = Query(
    UntilRow,
    f"""
SELECT max(computed_at) AS until FROM analytics_executionday
WHERE {MARKS_SQL} AND day >= %(start)s AND day <= %(end)s
""",
)


Sums = Mapping[tuple[str, bool], Sequence[SumRow]]
"""By part and whether it is of exits; nothing for a part without orders."""


def counted_until(scope: Scope) -> datetime | None:
    """Return until when a scope is counted; None if no day of it was computed yet."""
    (row,) = replica_rows(UNTIL, {"start": scope.start, "end": scope.end})
    return row.until


def sums_of(scope: Scope, asked: Sequence[tuple[str, bool]], *, limit: int) -> Sums:
    """Return the lines of parts, those with most fills first, at most `limit` of each.

    asked: parts, each with whether it is of exits.
    """
    found: dict[tuple[str, bool], list[SumRow]] = {}
    parameters = {
        "parts": [part for part, _ in asked],
        "exits": [is_exit for _, is_exit in asked],
        "is_paper": scope.is_paper,
        "start": scope.start,
        "end": scope.end,
        "limit": limit,
    }
    for row in replica_rows(SUMS, parameters):
        found.setdefault((row.part, row.is_exit), []).append(row)
    return found
