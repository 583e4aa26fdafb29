"""Results over any range of trading days.

They are computed from the daily rows and, for the latest days, from the closed trades, so a trade
counts from the moment it is closed. Every function takes the connections that the caller may see;
None means all (operators).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from analytics.quality.entries import Quality, execution_quality
from analytics.replica import replica_rows
from analytics.results.rollup import Rollup
from analytics.results.rollup_sql import DAILY, LIVE_DAYS, earliest
from common.clocks import market_now
from common.db.sql import Query
from connections.trading_day import trading_date

__all__ = [
    "CurvePoint",
    "Quality",
    "equity_curve",
    "equity_curves",
    "execution_quality",
    "totals",
    "unconverted_fees",
]


class TotalsRow(NamedTuple):
    """A connection, and the fields of its `Rollup`."""

    connection_id: UUID
    trades: int
    wins: int
    losses: int
    gross_profit: Decimal
    gross_loss: Decimal
    commission: Decimal
    swap: Decimal
    total: Decimal
    highest: Decimal
    lowest: Decimal
    drawdown: Decimal
    duration_seconds: Decimal


class FeeRow(NamedTuple):
    """The unconverted fees of a connection in one currency."""

    connection_id: UUID
    currency: str
    fee: Decimal


class CurveRow(NamedTuple):
    """A currency, whether of paper accounts, and the fields of its `CurvePoint`."""

    currency: str
    is_paper: bool
    day: date
    trades: int
    pnl: Decimal
    total: Decimal
    below_peak: Decimal


# `base`: the running sum before the day. `peak`: its maximum, since a drawdown may begin on an
# earlier day.
TOTALS = Query(
    TotalsRow,
    f"""
WITH {DAILY}, based AS (
  SELECT *, sum(total_pnl) OVER earlier - total_pnl AS base
  FROM daily
  WINDOW earlier AS (PARTITION BY connection_id ORDER BY day ROWS UNBOUNDED PRECEDING)
), peaked AS (
  SELECT *, max(base + highest_prefix) OVER before AS peak
  FROM based WINDOW before AS (PARTITION BY connection_id ORDER BY day
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT connection_id, sum(trades)::bigint AS trades, sum(wins)::bigint AS wins,
  sum(losses)::bigint AS losses, sum(gross_profit) AS gross_profit, sum(gross_loss) AS gross_loss,
  sum(commission) AS commission, sum(swap) AS swap, sum(total_pnl) AS total,
  greatest(max(base + highest_prefix), 0) AS highest,
  least(min(base + lowest_prefix), 0) AS lowest,
  max(greatest(max_drawdown, peak - (base + lowest_prefix))) AS drawdown,
  sum(duration_seconds) AS duration_seconds
FROM peaked GROUP BY connection_id
""",
)

UNCONVERTED_FEES_SQL = Query(
    FeeRow,
    f"""
WITH {DAILY}
SELECT connection_id, e.key AS currency, sum(e.value::numeric) AS fee
FROM daily CROSS JOIN jsonb_each_text(unconverted_fees) e
GROUP BY 1, 2 ORDER BY 1, 2
""",
)

# paper_apart: whether paper accounts have curves of their own.
CURVE = Query(
    CurveRow,
    f"""
WITH {DAILY}, by_day AS (
  SELECT coalesce(snapshot.currency, '') AS currency,
    %(paper_apart)s AND coalesce(c.type = 'paper', false) AS is_paper, daily.day,
    sum(daily.total_pnl) AS pnl, sum(daily.trades)::bigint AS trades
  FROM daily
  LEFT JOIN connections_executionconnection c ON c.id = daily.connection_id
  LEFT JOIN connections_accountsnapshot snapshot ON snapshot.connection_id = daily.connection_id
  GROUP BY 1, 2, 3
), summed AS (
  SELECT *, sum(pnl) OVER so_far AS total FROM by_day
  WINDOW so_far AS (PARTITION BY currency, is_paper ORDER BY day ROWS UNBOUNDED PRECEDING)
)
SELECT currency, is_paper, day, trades, pnl, total,
  greatest(max(total) OVER so_far, 0) - total AS below_peak
FROM summed
WINDOW so_far AS (PARTITION BY currency, is_paper ORDER BY day ROWS UNBOUNDED PRECEDING)
ORDER BY is_paper, currency, day
""",
)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The end of one trading day. total: the sum of net results since the curve's start."""

    day: date
    trades: int
    pnl: Decimal
    total: Decimal
    below_peak: Decimal  # difference to the highest end of a day so far


def totals(connection_ids: Sequence[UUID] | None, start: date, end: date) -> dict[UUID, Rollup]:
    """Return each connection's results from `start` to `end`, both included.

    They equal those of the closed trades in closing order, including the drawdown. Connections
    without a closed trade in that time are left out.
    """
    totals_by_connection = replica_rows(TOTALS, _parameters(connection_ids, start, end))
    return {row.connection_id: Rollup(*row[1:]) for row in totals_by_connection}


def unconverted_fees(
    connection_ids: Sequence[UUID] | None, start: date, end: date
) -> dict[UUID, dict[str, Decimal]]:
    """Return the fees that no result contains, by connection and currency."""
    fees: dict[UUID, dict[str, Decimal]] = {}
    for row in replica_rows(UNCONVERTED_FEES_SQL, _parameters(connection_ids, start, end)):
        fees.setdefault(row.connection_id, {})[row.currency] = row.fee
    return fees


def equity_curve(
    connection_ids: Sequence[UUID] | None, start: date, end: date
) -> dict[str, list[CurvePoint]]:
    """Return the running result at the end of each trading day, by account currency.

    Connections of one currency are added up, whatever the order of their trades within a day. Days
    without a closed trade have no point. The currency is '' for accounts that were never read.
    """
    curves = _curves(connection_ids, start, end, paper_apart=False)
    return {currency: points for (_, currency), points in curves.items()}


def equity_curves(
    connection_ids: Sequence[UUID], start: date, end: date
) -> dict[tuple[bool, str], list[CurvePoint]]:
    """Return the same with paper accounts apart, by (is paper, currency), real money first."""
    return _curves(connection_ids, start, end, paper_apart=True)


def _curves(
    connection_ids: Sequence[UUID] | None, start: date, end: date, *, paper_apart: bool
) -> dict[tuple[bool, str], list[CurvePoint]]:
    curves: dict[tuple[bool, str], list[CurvePoint]] = {}
    parameters = {**_parameters(connection_ids, start, end), "paper_apart": paper_apart}
    for row in replica_rows(CURVE, parameters):
        point = CurvePoint(row.day, row.trades, row.pnl, row.total, row.below_peak)
        curves.setdefault((row.is_paper, row.currency), []).append(point)
    return curves


def _parameters(connection_ids: Sequence[UUID] | None, start: date, end: date) -> dict[str, object]:
    """Return the parameters of the statements on days. connection_ids: None for all accounts."""
    live_from = trading_date(market_now()) - timedelta(days=LIVE_DAYS - 1)
    return {
        "all": connection_ids is None,
        "connections": list(connection_ids or ()),
        "start": start,
        "end": end,
        "live_from": live_from,
        "live_earliest": earliest(live_from),
    }
