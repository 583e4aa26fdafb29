"""Keep the history of accounts short: each hour for 100 days, then one row a trading day.

Public through `connections.services`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from common.db.sql import Query, array, rows
from connections.models import ExecutionConnection
from connections.trading_day import offset_sql, trading_date_sql, zone_sql

HOURLY_FOR = timedelta(days=100)  # a quarter to date is at most 92 days
ACCOUNTS_AT_ONCE = 200


class _ThinnedRow(NamedTuple):
    deleted: int


# A row stays if it is the first of its trading day, or does not begin at a full hour: then a
# deposit, a resume or the start of a limit began it. The highest values of the rows that go are
# kept in the row before them, which so has them since its own start.
_DAY = trading_date_sql("h.period_start", zone=zone_sql(), offset=offset_sql())
_PART = "PARTITION BY connection_id, currency, day ORDER BY period_start"
_BEST = "(array_agg({name}_at ORDER BY {name} DESC, {name}_at))[1] AS {name}_at"
THIN = Query(
    _ThinnedRow,
    f"""
WITH old AS (
  SELECT h.*, {_DAY} AS day,
    h.period_start <> date_trunc('hour', h.period_start, 'UTC') OR EXISTS (
      SELECT FROM connections_cashflow f
      WHERE f.connection_id = h.connection_id AND f.at = h.period_start) AS begins_by_event
  FROM connections_accounthistory h
  JOIN connections_executionconnection c ON c.id = h.connection_id
  LEFT JOIN connections_tradingpreset t ON t.id = c.preset_id
  WHERE h.connection_id = ANY(%s::uuid[]) AND h.period_start < %s
), marked AS (
  SELECT *, begins_by_event OR row_number() OVER ({_PART}) = 1 AS stays FROM old
), parts AS (
  SELECT *, count(*) FILTER (WHERE stays) OVER ({_PART}) AS part FROM marked
), merged AS (
  SELECT min(id) FILTER (WHERE stays) AS id,
    max(peak_balance) AS peak_balance, {_BEST.format(name="peak_balance")},
    max(peak_equity) AS peak_equity, {_BEST.format(name="peak_equity")}
  FROM parts GROUP BY connection_id, currency, day, part HAVING count(*) > 1
), kept AS (
  UPDATE connections_accounthistory h SET peak_balance = m.peak_balance,
    peak_balance_at = m.peak_balance_at, peak_equity = m.peak_equity,
    peak_equity_at = m.peak_equity_at
  FROM merged m WHERE h.id = m.id
), gone AS (
  DELETE FROM connections_accounthistory h USING parts p WHERE h.id = p.id AND NOT p.stays
  RETURNING h.id
)
SELECT count(*)::int AS deleted FROM gone
""",
)


def thin_history(now: datetime) -> int:
    """Delete the hourly rows that are older than 100 days, except one a trading day.

    Returns how many. Safe to repeat, and to interrupt: each 200 accounts are one transaction. now:
    market time.
    """
    accounts = list(ExecutionConnection.objects.order_by("pk").values_list("pk", flat=True))
    return sum(
        _thin(accounts[first : first + ACCOUNTS_AT_ONCE], now - HOURLY_FOR)
        for first in range(0, len(accounts), ACCOUNTS_AT_ONCE)
    )


@transaction.atomic
def _thin(accounts: Sequence[UUID], before: datetime) -> int:
    return rows(THIN, (array(accounts), before))[0].deleted
