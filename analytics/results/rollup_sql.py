"""SQL fragments that compute results from closed trades, by connection and trading day.

The daily job stores the rows. Selectors compute the latest days on each query, so a trade counts
from the moment it is closed.
"""

from datetime import UTC, date, datetime, time, timedelta

from connections.selectors import PRESET_OF_ACCOUNT_SQL
from connections.trading_day import offset_sql, trading_date_sql, zone_sql
from positions.joins import NET_SQL

# Noon of the day before in UTC+14 to noon of the next day in UTC-12, and more.
EARLIEST, LATEST = timedelta(hours=-3), timedelta(hours=25)
LIVE_DAYS = 3  # trading days that selectors compute: today, and what the job may have missed

ZONE, OFFSET = zone_sql("preset"), offset_sql("preset")

NAMES = (
    "connection_id", "day", "trades", "wins", "losses", "gross_profit", "gross_loss", "commission",
    "swap", "total_pnl", "highest_prefix", "lowest_prefix", "max_drawdown", "duration_seconds",
    "unconverted_fees",
)  # fmt: skip
COLUMNS = ", ".join(NAMES)

TRADE = f"""p.connection_id, p.closed_at, p.id, p.commission, p.swap, p.unconverted_fees,
    {NET_SQL} AS net,
    extract(epoch FROM p.closed_at - p.opened_at) AS seconds"""

TRADE_DATE = trading_date_sql("p.closed_at", zone="account.zone", offset="account.day_offset")

# From `trade` (TRADE and the day) to `result` (COLUMNS).
RESULT = f"""running AS (
  SELECT *, sum(net) OVER in_order AS prefix
  FROM trade WINDOW in_order AS (
    PARTITION BY connection_id, day ORDER BY closed_at, id ROWS UNBOUNDED PRECEDING)
), drawdown AS (
  SELECT *, greatest(max(prefix) OVER so_far, 0) - prefix AS below_peak
  FROM running WINDOW so_far AS (
    PARTITION BY connection_id, day ORDER BY closed_at, id ROWS UNBOUNDED PRECEDING)
), fees AS (
  SELECT connection_id, day, jsonb_object_agg(currency, trim_scale(fee)::text) AS fees FROM (
    SELECT connection_id, day, e.key AS currency, sum(e.value::numeric) AS fee
    FROM trade CROSS JOIN jsonb_each_text(unconverted_fees) e
    WHERE unconverted_fees <> '{{}}' GROUP BY 1, 2, 3) x
  GROUP BY connection_id, day
), aggregated AS (
  SELECT connection_id, day, count(*), count(*) FILTER (WHERE net > 0),
    count(*) FILTER (WHERE net < 0), coalesce(sum(net) FILTER (WHERE net > 0), 0),
    coalesce(-sum(net) FILTER (WHERE net < 0), 0), sum(commission), sum(swap), sum(net),
    greatest(max(prefix), 0), least(min(prefix), 0), max(below_peak), sum(seconds)
  FROM drawdown GROUP BY connection_id, day
), result ({COLUMNS}) AS (  -- joined: a subquery would read all trades again for each row
  SELECT aggregated.*, coalesce(fees.fees, '{{}}')
  FROM aggregated LEFT JOIN fees USING (connection_id, day)
)"""

# The chosen accounts, with the zone and the start of their trading days.
ACCOUNT = f"""account AS MATERIALIZED (
  SELECT c.id, {ZONE} AS zone, {OFFSET} AS day_offset
  {PRESET_OF_ACCOUNT_SQL}
  WHERE %(all)s OR c.id = ANY(%(connections)s::uuid[])
)"""

# `daily`: stored rows of finished days, and the latest days computed now.
DAILY = f"""{ACCOUNT}, trade AS (
  SELECT {TRADE}, x.day
  FROM positions_executionposition p JOIN account ON account.id = p.connection_id
  CROSS JOIN LATERAL (SELECT {TRADE_DATE} AS day) AS x
  WHERE p.closed_at >= %(live_earliest)s AND x.day >= %(live_from)s
    AND x.day >= %(start)s AND x.day <= %(end)s
), {RESULT}, daily AS (
  SELECT {COLUMNS} FROM analytics_analyticsdaily
  WHERE day >= %(start)s AND day <= %(end)s AND day < %(live_from)s
    AND (%(all)s OR connection_id = ANY(%(connections)s::uuid[]))
  UNION ALL SELECT {COLUMNS} FROM result
)"""


def earliest(day: date) -> datetime:
    """Return a time before which no preset's trading day of this date has begun."""
    return midnight(day - timedelta(days=1)) + EARLIEST


def latest(day: date) -> datetime:
    """Return a time after which every preset's trading day of this date has ended."""
    return midnight(day + timedelta(days=1)) + LATEST


def midnight(day: date) -> datetime:
    """Return the start of a calendar day in UTC."""
    return datetime.combine(day, time(), UTC)
