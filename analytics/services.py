"""Daily results, written set-based and as often as wanted: computing a day again changes nothing
unless its trades did."""

from datetime import UTC, date, datetime, time, timedelta

from django.db import transaction

from analytics.days import DEFAULT_ZONE, trading_day
from common.clocks import market_now
from common.sql import rows, run

ALWAYS_BACK = 3  # trading days that are computed at each run, whatever has changed
CORRECTED_BACK = 60  # days in which a later correction of a closed position is looked for
EARLIEST, LATEST = timedelta(hours=2), timedelta(hours=6)  # 17:00 from UTC+14 to UTC-12, and more
MARGIN_SECONDS = 60  # longer than any transaction may stay open (config/databases.py)

# One connection's trading day is the wall-clock date in its zone, 7 hours ahead: 17:00 is midnight.
ZONE = "coalesce(nullif(preset.trading_day_zone, ''), %(zone)s)"
CLOSED = f"""
  FROM positions_executionposition p
  JOIN connections_executionconnection c ON c.id = p.connection_id
  LEFT JOIN connections_tradingpreset preset ON preset.id = c.preset_id
  CROSS JOIN LATERAL (
    SELECT ((p.closed_at AT TIME ZONE {ZONE}) + interval '7 hours')::date AS day) AS its
"""

COMPUTE = f"""
WITH account AS MATERIALIZED (  -- the zone's arithmetic once an account, not once a trade
  SELECT c.id, (%(day)s::date - 1 + time '17:00') AT TIME ZONE {ZONE} AS starts,
    (%(day)s::date + time '17:00') AT TIME ZONE {ZONE} AS ends
  FROM connections_executionconnection c
  LEFT JOIN connections_tradingpreset preset ON preset.id = c.preset_id
), trade AS (
  SELECT p.connection_id, p.closed_at, p.id, p.commission, p.unconverted_fees,
    p.realized_pnl - p.commission AS net,
    extract(epoch FROM p.closed_at - p.opened_at) AS seconds
  FROM positions_executionposition p JOIN account ON account.id = p.connection_id
  WHERE p.closed_at >= %(earliest)s AND p.closed_at < %(latest)s
    AND p.closed_at >= account.starts AND p.closed_at < account.ends
), running AS (
  SELECT *, sum(net) OVER in_order AS prefix
  FROM trade WINDOW in_order AS (
    PARTITION BY connection_id ORDER BY closed_at, id ROWS UNBOUNDED PRECEDING)
), fallen AS (
  SELECT *, greatest(max(prefix) OVER so_far, 0) - prefix AS below_peak
  FROM running WINDOW so_far AS (
    PARTITION BY connection_id ORDER BY closed_at, id ROWS UNBOUNDED PRECEDING)
), beside AS (
  SELECT connection_id, jsonb_object_agg(currency, trim_scale(fee)::text) AS fees FROM (
    SELECT connection_id, e.key AS currency, sum(e.value::numeric) AS fee
    FROM trade CROSS JOIN jsonb_each_text(unconverted_fees) e GROUP BY 1, 2) x
  GROUP BY connection_id
), gone AS (
  DELETE FROM analytics_analyticsdaily old
  WHERE old.day = %(day)s
    AND NOT EXISTS (SELECT FROM trade WHERE trade.connection_id = old.connection_id)
)
INSERT INTO analytics_analyticsdaily AS daily (connection_id, day, trades, wins, losses,
  gross_profit, gross_loss, commission, total_pnl, highest_prefix, lowest_prefix, max_drawdown,
  duration_seconds, unconverted_fees, computed_at)
SELECT connection_id, %(day)s, count(*), count(*) FILTER (WHERE net > 0),
  count(*) FILTER (WHERE net < 0), coalesce(sum(net) FILTER (WHERE net > 0), 0),
  coalesce(-sum(net) FILTER (WHERE net < 0), 0), sum(commission), sum(net),
  greatest(max(prefix), 0), least(min(prefix), 0), max(below_peak), sum(seconds),
  coalesce((SELECT fees FROM beside WHERE beside.connection_id = fallen.connection_id), '{{}}'),
  %(read_at)s
FROM fallen GROUP BY connection_id
ON CONFLICT (connection_id, day) DO UPDATE SET
  (trades, wins, losses, gross_profit, gross_loss, commission, total_pnl, highest_prefix,
   lowest_prefix, max_drawdown, duration_seconds, unconverted_fees, computed_at) =
  (excluded.trades, excluded.wins, excluded.losses, excluded.gross_profit, excluded.gross_loss,
   excluded.commission, excluded.total_pnl, excluded.highest_prefix, excluded.lowest_prefix,
   excluded.max_drawdown, excluded.duration_seconds, excluded.unconverted_fees,
   excluded.computed_at)
"""

CHANGED = f"""
SELECT its.day
{CLOSED}
LEFT JOIN analytics_analyticsdaily daily
  ON daily.connection_id = p.connection_id AND daily.day = its.day
WHERE p.closed_at >= %(since)s AND (daily.id IS NULL
  OR p.touched_at >= daily.computed_at - make_interval(secs => %(margin)s))
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
                "earliest": _midnight(day - timedelta(days=1)) + EARLIEST,
                "latest": _midnight(day + timedelta(days=1)) + LATEST,
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
                "since": _midnight(since),
                # trades of the first days may lie before `since`: those days cannot be compared
                "since_day": since + timedelta(days=1),
            },
        )
    days = {row.day for row in found} | {today - timedelta(days=n) for n in range(back)}
    for day in sorted(days):
        compute_day(day)
    return sorted(days)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
