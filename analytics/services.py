"""Computation of the daily results, set-based and idempotent."""

from datetime import date, timedelta
from typing import NamedTuple

from django.db import transaction

from analytics.models import AnalyticsDaily
from analytics.quality.signals import compute_signal_quality
from analytics.replica import JOB_SECONDS, replica_rows
from analytics.results.costs import compute_costs
from analytics.results.rollup_sql import (
    COLUMNS,
    NAMES,
    OFFSET,
    RESULT,
    TRADE,
    ZONE,
    earliest,
    latest,
    midnight,
)
from analytics.signals import day_computed
from common.clocks import market_now
from common.db.sql import Query, database_now, run
from connections.selectors import connection_join_sql
from connections.trading_day import day_start_sql, trading_date, trading_date_sql

__all__ = ["compute_changed", "compute_costs", "compute_day", "compute_signal_quality"]

RECENT_DAYS = 3  # trading days that every run computes, changed or not
CORRECTION_DAYS = 60  # trading days that are computed again if a closed position was corrected
MARGIN_SECONDS = 60  # longer than any transaction may stay open (config/databases.py)

CLOSED_ON = trading_date_sql("p.closed_at", zone=ZONE, offset=OFFSET)
CLOSED = f"""
  FROM positions_executionposition p
  {connection_join_sql("p.connection_id")}
  LEFT JOIN connections_tradingpreset preset ON preset.id = c.preset_id
  CROSS JOIN LATERAL (SELECT {CLOSED_ON} AS day) AS x
"""

EXCLUDED = ", ".join(f"excluded.{name}" for name in NAMES)
STARTS = day_start_sql("%(day)s::date", zone=ZONE, offset=OFFSET)
ENDS = day_start_sql("(%(day)s::date + 1)", zone=ZONE, offset=OFFSET)
COMPUTE = f"""
WITH account AS MATERIALIZED (  -- computes the zone once for each account, not for each trade
  SELECT c.id, {STARTS} AS starts, {ENDS} AS ends
  FROM connections_executionconnection c
  LEFT JOIN connections_tradingpreset preset ON preset.id = c.preset_id
), trade AS (
  SELECT {TRADE}, %(day)s::date AS day
  FROM positions_executionposition p JOIN account ON account.id = p.connection_id
  WHERE p.closed_at >= %(earliest)s AND p.closed_at < %(latest)s
    AND p.closed_at >= account.starts AND p.closed_at < account.ends
), {RESULT}, gone AS (
  DELETE FROM analytics_analyticsdaily old
  WHERE old.day = %(day)s
    AND NOT EXISTS (SELECT FROM trade WHERE trade.connection_id = old.connection_id)
)
INSERT INTO analytics_analyticsdaily AS daily ({COLUMNS}, computed_at)
SELECT {COLUMNS}, %(read_at)s FROM result
ON CONFLICT (connection_id, day) DO UPDATE SET
  ({COLUMNS}, computed_at) = ({EXCLUDED}, excluded.computed_at)
"""


class ChangedDay(NamedTuple):
    """A trading day whose trades have changed since it was computed."""

    day: date


CHANGED = Query(
    ChangedDay,
    f"""
SELECT x.day
{CLOSED}
LEFT JOIN analytics_analyticsdaily daily
  ON daily.connection_id = p.connection_id AND daily.day = x.day
WHERE p.closed_at >= %(since)s AND (daily.id IS NULL
  OR p.last_activity_at >= daily.computed_at - make_interval(secs => %(margin)s))
UNION
SELECT daily.day FROM analytics_analyticsdaily daily
LEFT JOIN (SELECT p.connection_id, x.day, count(*) AS trades {CLOSED}
  WHERE p.closed_at >= %(since)s GROUP BY 1, 2) AS now
  ON now.connection_id = daily.connection_id AND now.day = daily.day
WHERE daily.day > %(since_day)s AND coalesce(now.trades, 0) <> daily.trades
ORDER BY day
""",
)


def compute_day(day: date) -> int:
    """Write one row for each connection that closed a position on a trading day; return how many.

    A row whose trades are gone (a correction moved them) is removed. The day is that of the
    connection's preset (`connections/trading_day.py`), by default it ends at 17:00 in New York.
    """
    with transaction.atomic():
        run("SET LOCAL jit = off")
        # Of two parallel runs the older snapshot could overwrite the newer one.
        run(
            "SELECT pg_advisory_xact_lock(hashtext('analytics.compute_day'), %s)", [day.toordinal()]
        )
        read_at = database_now()
        accounts = run(
            COMPUTE,
            {
                "day": day,
                "read_at": read_at,
                # The index on closed_at needs constants; every preset's day lies between these.
                "earliest": earliest(day),
                "latest": latest(day),
            },
        )
        day_computed.send(sender=AnalyticsDaily, day=day, accounts=accounts)
        return accounts


def compute_changed(*, recent: int = RECENT_DAYS, corrected: int = CORRECTION_DAYS) -> list[date]:
    """Compute the last `recent` trading days; return the days computed.

    Also computes those of the last `corrected` days whose trades have changed since, or that were
    never computed.
    """
    today = trading_date(market_now())
    since = today - timedelta(days=corrected)
    changed = replica_rows(
        CHANGED,
        {
            "margin": MARGIN_SECONDS,
            "since": midnight(since),
            # Trades of the first day may lie before `since`, so it cannot be compared.
            "since_day": since + timedelta(days=1),
        },
        patience=JOB_SECONDS,
    )
    days = {row.day for row in changed} | {today - timedelta(days=n) for n in range(recent)}
    for day in sorted(days):
        compute_day(day)
    return sorted(days)
