"""Daily results, written set-based and as often as wanted: computing a day again changes nothing
unless its trades did."""

from datetime import date, timedelta

from django.db import transaction

from analytics.days import DEFAULT_ZONE, trading_day
from analytics.rollup_sql import COLUMNS, FOLD, NAMES, TRADE, ZONE, earliest, latest, midnight
from common.clocks import market_now
from common.sql import rows, run

ALWAYS_BACK = 3  # trading days that are computed at each run, whatever has changed
CORRECTED_BACK = 60  # days in which a later correction of a closed position is looked for
MARGIN_SECONDS = 60  # longer than any transaction may stay open (config/databases.py)

CLOSED = f"""
  FROM positions_executionposition p
  JOIN connections_executionconnection c ON c.id = p.connection_id
  LEFT JOIN connections_tradingpreset preset ON preset.id = c.preset_id
  CROSS JOIN LATERAL (
    SELECT ((p.closed_at AT TIME ZONE {ZONE}) + interval '7 hours')::date AS day) AS its
"""

EXCLUDED = ", ".join(f"excluded.{name}" for name in NAMES)
COMPUTE = f"""
WITH account AS MATERIALIZED (  -- the zone's arithmetic once an account, not once a trade
  SELECT c.id, (%(day)s::date - 1 + time '17:00') AT TIME ZONE {ZONE} AS starts,
    (%(day)s::date + time '17:00') AT TIME ZONE {ZONE} AS ends
  FROM connections_executionconnection c
  LEFT JOIN connections_tradingpreset preset ON preset.id = c.preset_id
), trade AS (
  SELECT {TRADE}, %(day)s::date AS day
  FROM positions_executionposition p JOIN account ON account.id = p.connection_id
  WHERE p.closed_at >= %(earliest)s AND p.closed_at < %(latest)s
    AND p.closed_at >= account.starts AND p.closed_at < account.ends
), {FOLD}, gone AS (
  DELETE FROM analytics_analyticsdaily old
  WHERE old.day = %(day)s
    AND NOT EXISTS (SELECT FROM trade WHERE trade.connection_id = old.connection_id)
)
INSERT INTO analytics_analyticsdaily AS daily ({COLUMNS}, computed_at)
SELECT {COLUMNS}, %(read_at)s FROM folded
ON CONFLICT (connection_id, day) DO UPDATE SET
  ({COLUMNS}, computed_at) = ({EXCLUDED}, excluded.computed_at)
"""

CHANGED = f"""
SELECT its.day
{CLOSED}
LEFT JOIN analytics_analyticsdaily daily
  ON daily.connection_id = p.connection_id AND daily.day = its.day
WHERE p.closed_at >= %(since)s AND (daily.id IS NULL
  OR p.last_activity_at >= daily.computed_at - make_interval(secs => %(margin)s))
UNION
SELECT daily.day FROM analytics_analyticsdaily daily
LEFT JOIN (SELECT p.connection_id, its.day, count(*) AS trades {CLOSED}
  WHERE p.closed_at >= %(since)s GROUP BY 1, 2) AS now
  ON now.connection_id = daily.connection_id AND now.day = daily.day
WHERE daily.day > %(since_day)s AND coalesce(now.trades, 0) <> daily.trades
ORDER BY day
"""


def compute_day(day: date) -> int:
    """Write one row for each connection that closed a position on this trading day; return how
    many. Rows whose trades are gone (a correction moved them) are removed.

    Which day a position belongs to is said by its connection's preset: the day ends at 17:00 in
    `trading_day_zone`, New York's where there is no preset.
    """
    with transaction.atomic():
        run("SET LOCAL jit = off")
        # Two at a time would let the older snapshot overwrite the newer one.
        run(
            "SELECT pg_advisory_xact_lock(hashtext('analytics.compute_day'), %s)", [day.toordinal()]
        )
        (now,) = rows("SELECT clock_timestamp() AS read_at")
        return run(
            COMPUTE,
            {
                "day": day,
                "zone": DEFAULT_ZONE,
                "read_at": now.read_at,
                # every zone's day lies between these; the index on closed_at needs constants
                "earliest": earliest(day),
                "latest": latest(day),
            },
        )


def compute_changed(*, back: int = ALWAYS_BACK, corrected: int = CORRECTED_BACK) -> list[date]:
    """Compute the last `back` trading days, and of the last `corrected` ones those whose trades
    have changed since, or that were never computed. Returns the days."""
    today = trading_day(market_now())
    since = today - timedelta(days=corrected)
    with transaction.atomic():
        run("SET LOCAL jit = off")
        found = rows(
            CHANGED,
            {
                "zone": DEFAULT_ZONE,
                "margin": MARGIN_SECONDS,
                "since": midnight(since),
                # trades of the first days may lie before `since`: those days cannot be compared
                "since_day": since + timedelta(days=1),
            },
        )
    days = {row.day for row in found} | {today - timedelta(days=n) for n in range(back)}
    for day in sorted(days):
        compute_day(day)
    return sorted(days)
