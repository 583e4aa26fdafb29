"""Balances and equities by trading day, with the deposits and withdrawals between them.

Public through `connections.selectors`.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common.clocks import market_clock
from common.db.sql import Query, array, rows
from connections.trading_day import offset_sql, trading_date_sql, zone_sql

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EquityReading(NamedTuple):
    """An account as it was read at a market time, and what came and went since the row before.

    day: its trading day. deposits, withdrawals: positive, since the account's previous reading in
    the same answer; 0 for its first one. credits: the part of them that changed the equity only
    (deposits less withdrawals). is_first_of_day: the day's opening. is_latest: the last state.
    """

    connection_id: UUID
    day: date
    at: datetime
    balance: Decimal
    equity: Decimal
    deposits: Decimal
    withdrawals: Decimal
    credits: Decimal
    is_first_of_day: bool
    is_latest: bool


_DAY = trading_date_sql("r.at", zone="account.zone", offset="account.day_offset")
# Thinned history keeps the first row of each trading day, and the first after each flow.
_READINGS = Query(
    EquityReading,
    f"""
WITH account AS MATERIALIZED (
  SELECT c.id, s.currency, s.balance, s.equity, {zone_sql()} AS zone, {offset_sql()} AS day_offset,
    %(clock_start)s::timestamptz
      + (s.read_at - %(clock_anchor)s::timestamptz) * %(clock_speed)s::float8 AS read_at
  FROM connections_executionconnection c
  JOIN connections_accountsnapshot s ON s.connection_id = c.id
  LEFT JOIN connections_tradingpreset t ON t.id = c.preset_id
  WHERE c.id = ANY(%(connections)s::uuid[])
), dated AS (
  SELECT account.id, r.*, {_DAY} AS day
  FROM account CROSS JOIN LATERAL (
    SELECT h.read_at AS at, h.balance, h.equity, false AS is_latest
    FROM connections_accounthistory h
    WHERE h.connection_id = account.id AND h.currency = account.currency
      AND h.period_start >= %(earliest)s AND h.period_start < %(latest)s
      AND h.read_at < account.read_at
    UNION ALL SELECT account.read_at, account.balance, account.equity, true) r
), placed AS (
  SELECT *, row_number() OVER (PARTITION BY id, day ORDER BY at) = 1 AS is_first_of_day,
    lag(at) OVER (PARTITION BY id ORDER BY at) AS before
  FROM dated WHERE day >= %(start)s AND day <= %(end)s::date + 1
), picked AS (
  SELECT *, lag(at) OVER (PARTITION BY id ORDER BY at) AS previous FROM placed
  WHERE is_first_of_day OR day <= %(end)s::date AND (is_latest OR EXISTS (
    SELECT FROM connections_cashflow f WHERE f.connection_id = placed.id
      AND f.at > placed.before AND f.at <= placed.at))
)
SELECT p.id AS connection_id, p.day, p.at, p.balance, p.equity,
  coalesce(flow.deposits, 0) AS deposits, coalesce(flow.withdrawals, 0) AS withdrawals,
  coalesce(flow.credits, 0) AS credits, p.is_first_of_day, p.is_latest
FROM picked p LEFT JOIN LATERAL (
  SELECT sum(f.amount) FILTER (WHERE f.amount > 0) AS deposits,
    -sum(f.amount) FILTER (WHERE f.amount < 0) AS withdrawals,
    sum(f.amount) FILTER (WHERE f.is_credit) AS credits
  FROM connections_cashflow f
  WHERE f.connection_id = p.id AND f.at > p.previous AND f.at <= p.at) flow ON true
ORDER BY p.id, p.at
""",
)


def equity_readings(connection_ids: Sequence[UUID], start: date, end: date) -> list[EquityReading]:
    """Return the readings that trading days begin and end with, by account and time.

    Of each account: the first of each trading day from `start` to the day after `end`, the first
    after each deposit or withdrawal, and the latest one. Only those in the account's present
    currency. A day on which it was not read has none.
    """
    if not connection_ids:
        return []
    clock = market_clock()
    parameters = {
        "connections": array(connection_ids),
        "start": start,
        "end": end,
        # A trading day begins at most 15 hours before the date and ends as much after it.
        "earliest": datetime.combine(start, datetime.min.time(), UTC) - timedelta(days=2),
        "latest": datetime.combine(end, datetime.min.time(), UTC) + timedelta(days=4),
        "clock_start": clock.start if clock else _EPOCH,
        "clock_anchor": clock.anchor if clock else _EPOCH,
        "clock_speed": clock.speed if clock else 1.0,
    }
    return rows(_READINGS, parameters)
