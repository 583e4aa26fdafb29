"""Results of closed trades over a period, in total and by feed, pair, account, hour and month.

All of one currency, and real or paper money: sums of several currencies do not exist. A trade
belongs to the trading day of its last fill (docs/analytics.md), the hours are of the reader's zone.

The caller passes connections that the reader may see, and calls these functions where all signals
are visible (`users.tenancy.for_all_tenants`): the feed of a trade may be hidden from its owner
since they left it, the trade is still theirs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from analytics.replica import replica_rows
from analytics.results.rollup_sql import OFFSET, ZONE
from analytics.results.statistics import Streaks, TradeSums
from common.clocks import market_clock
from common.db.sql import Query, array
from connections.selectors import PRESET_OF_ACCOUNT_SQL
from connections.trading_day import day_start_sql, trading_date_sql
from positions.joins import NET_SQL, closed_trades_join_sql
from signals.joins import feed_name_sql, signal_join_sql

ALL = date(2000, 1, 1)  # before any trade
STEP = timedelta(microseconds=1)
BREAKDOWNS = ("feed", "pair", "account", "hour")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which trades: of these accounts (of one currency), trading days [start, end].

    zone: of the hours of the day. feed_id, pair: only trades of these.
    """

    connection_ids: Sequence[UUID]
    start: date
    end: date
    zone: str = "UTC"
    feed_id: int | None = None
    pair: str | None = None

    @property
    def is_part_of_accounts(self) -> bool:
        """Whether it leaves out trades of its accounts, so that their equity says nothing."""
        return self.feed_id is not None or self.pair is not None

    def parameters(self) -> dict[str, object]:
        return {
            "connections": array(self.connection_ids),
            "start": self.start,
            "end": self.end,
            "zone": self.zone,
            "feed": self.feed_id,
            "pair": self.pair,
            "is_real_time": market_clock() is None,
        }


class SumsRow(NamedTuple):
    """Sums of the trades of one part. kind: `total`, or a breakdown.

    key: its value as text, '' of the total.
    """

    kind: str
    key: str
    feed_name: str
    trades: int
    wins: int
    losses: int
    gross_profit: Decimal
    gross_loss: Decimal
    commission: Decimal
    swap: Decimal
    with_swap: int
    seconds: Decimal
    spread: Decimal
    with_spread: int
    slippage: Decimal
    with_slippage: int
    corrected: int
    corrected_at: datetime | None
    costs_at: datetime | None

    @property
    def sums(self) -> TradeSums:
        """The trades as sums, from which ratios are computed."""
        return TradeSums(
            trades=self.trades, wins=self.wins, losses=self.losses,
            gross_profit=self.gross_profit, gross_loss=self.gross_loss,
            commission=self.commission, swap=self.swap, seconds=self.seconds,
        )  # fmt: skip


class DayRow(NamedTuple):
    """The net result of one trading day. total: the running sum since the first day."""

    day: date
    trades: int
    wins: int
    net: Decimal
    total: Decimal

    @property
    def month(self) -> tuple[int, int]:
        """Its calendar month."""
        return self.day.year, self.day.month


class MonthRow(NamedTuple):
    """The trades of a calendar month of trading days."""

    year: int
    month: int
    trades: int
    wins: int
    net: Decimal


class RunRow(NamedTuple):
    """What depends on the order of the trades."""

    wins: int
    losses: int
    current: int
    drawdown: Decimal
    best: Decimal
    worst: Decimal
    has_fees: bool


class FeeRow(NamedTuple):
    """Fees without a rate: in no other figure."""

    currency: str
    fee: Decimal


class FeedRow(NamedTuple):
    id: int
    name: str


class TradeRow(NamedTuple):
    """One closed trade, for exports. spread, slippage: None if not known."""

    id: int
    connection_id: UUID
    signal_id: int
    feed_id: int
    pair: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    opened_at: datetime
    closed_at: datetime
    close_reason: str
    gross: Decimal
    commission: Decimal
    swap: Decimal
    net: Decimal
    spread: Decimal | None
    slippage: Decimal | None
    unconverted_fees: dict[str, str]


_STARTS = day_start_sql("%(start)s::date", zone=ZONE, offset=OFFSET)
_ENDS = day_start_sql("(%(end)s::date + 1)", zone=ZONE, offset=OFFSET)
_ACCOUNT = f"""account AS MATERIALIZED (
  SELECT c.id, {ZONE} AS zone, {OFFSET} AS day_offset, {_STARTS} AS starts, {_ENDS} AS ends
  {PRESET_OF_ACCOUNT_SQL} WHERE c.id = ANY(%(connections)s::uuid[])
)"""
_JOINS = f"""FROM account
  {closed_trades_join_sql("account.id", "account.starts", "account.ends")}
  {signal_join_sql("p.signal_id")}
  LEFT JOIN analytics_tradecost cost ON cost.position_id = p.id
  WHERE (%(feed)s::bigint IS NULL OR s.feed_id = %(feed)s)
    AND (%(pair)s::text IS NULL OR p.pair = %(pair)s)"""
_EXACT_DAY = trading_date_sql("p.closed_at", zone="account.zone", offset="account.day_offset")
# Clocks change by three hours at most, so only near its start a day is not the local date. The
# exact expression costs five times as much, and here it is computed for each trade.
_LOCAL = "((p.closed_at AT TIME ZONE account.zone) - account.day_offset)"
_DAY = f"""CASE WHEN {_LOCAL}::time BETWEEN '03:00' AND '21:00' THEN {_LOCAL}::date
    ELSE {_EXACT_DAY} END"""
_SPREAD = "cost.entry_spread + cost.exit_spread"
# Corrected: changed once its trading day had ended, so that figures of that day were others before.
# In a replay the two times are of different clocks.
_CORRECTED = "%(is_real_time)s AND p.last_activity_at > p.closed_at + interval '1 day'"

SUMS = Query(
    SumsRow,
    f"""
WITH {_ACCOUNT}, trade AS (
  SELECT p.connection_id, p.pair, s.feed_id, {NET_SQL} AS net, p.commission, p.swap,
    extract(hour FROM p.closed_at AT TIME ZONE %(zone)s)::int AS hour,
    extract(epoch FROM p.closed_at - p.opened_at) AS seconds, {_SPREAD} AS spread, cost.slippage,
    {_DAY} AS day, cost.computed_at,
    CASE WHEN {_CORRECTED} THEN p.last_activity_at END AS corrected_at
  {_JOINS}
)
SELECT CASE WHEN grouping(feed_id) = 0 THEN 'feed' WHEN grouping(pair) = 0 THEN 'pair'
    WHEN grouping(connection_id) = 0 THEN 'account' WHEN grouping(hour) = 0 THEN 'hour'
    WHEN grouping(day) = 0 THEN 'day' ELSE 'total' END AS kind,
  coalesce(feed_id::text, pair, connection_id::text, hour::text,
    day::text, '') AS key,
  coalesce({feed_name_sql("feed_id")}, '') AS feed_name,
  count(*)::int AS trades, (count(*) FILTER (WHERE net > 0))::int AS wins,
  (count(*) FILTER (WHERE net < 0))::int AS losses,
  coalesce(sum(net) FILTER (WHERE net > 0), 0) AS gross_profit,
  coalesce(-sum(net) FILTER (WHERE net < 0), 0) AS gross_loss,
  coalesce(sum(commission), 0) AS commission, coalesce(sum(swap), 0) AS swap,
  (count(*) FILTER (WHERE swap <> 0))::int AS with_swap, coalesce(sum(seconds), 0) AS seconds,
  coalesce(sum(spread), 0) AS spread, count(spread)::int AS with_spread,
  coalesce(sum(slippage), 0) AS slippage, count(slippage)::int AS with_slippage,
  count(corrected_at)::int AS corrected, max(corrected_at) AS corrected_at,
  max(computed_at) AS costs_at
FROM trade GROUP BY GROUPING SETS ((), (feed_id), (pair), (connection_id), (hour), (day))
ORDER BY kind, sum(net) DESC, key
""",
)

MONTHS = Query(
    MonthRow,
    f"""
WITH {_ACCOUNT}
SELECT extract(year FROM day)::int AS year, extract(month FROM day)::int AS month,
  count(*)::int AS trades, (count(*) FILTER (WHERE net > 0))::int AS wins, sum(net) AS net
FROM (SELECT {NET_SQL} AS net, {_DAY} AS day {_JOINS}) trade GROUP BY 1, 2 ORDER BY 1, 2
""",
)

# A run of wins or losses keeps the difference of two numberings: of all trades, and of its outcome.
RUNS = Query(
    RunRow,
    f"""
WITH {_ACCOUNT}, trade AS (
  SELECT {NET_SQL} AS net, p.closed_at, p.id, sign({NET_SQL})::int AS outcome,
    p.unconverted_fees <> '{{}}' AS has_fees {_JOINS}
), numbered AS (
  SELECT net, outcome, has_fees, row_number() OVER in_order AS place,
    sum(net) OVER in_order AS total,
    row_number() OVER in_order - row_number() OVER (
      PARTITION BY outcome ORDER BY closed_at, id) AS run
  FROM trade WINDOW in_order AS (ORDER BY closed_at, id)
), runs AS (
  SELECT outcome, count(*)::int AS length, max(place) AS last FROM numbered GROUP BY outcome, run
), fallen AS (
  SELECT greatest(max(total) OVER (ORDER BY place), 0) - total AS below_peak, net, has_fees
  FROM numbered
)
SELECT coalesce((SELECT max(length) FROM runs WHERE outcome = 1), 0) AS wins,
  coalesce((SELECT max(length) FROM runs WHERE outcome = -1), 0) AS losses,
  coalesce((SELECT length * outcome FROM runs ORDER BY last DESC LIMIT 1), 0) AS current,
  coalesce(max(below_peak), 0) AS drawdown, coalesce(max(net), 0) AS best,
  coalesce(min(net), 0) AS worst, coalesce(bool_or(has_fees), false) AS has_fees
FROM fallen
""",
)

FEES = Query(
    FeeRow,
    f"""
WITH {_ACCOUNT}
SELECT e.key AS currency, sum(e.value::numeric) AS fee
FROM (SELECT p.unconverted_fees AS fees {_JOINS} AND p.unconverted_fees <> '{{}}') trade
CROSS JOIN jsonb_each_text(fees) e GROUP BY 1 ORDER BY 1
""",
)

FEEDS = Query(
    FeedRow,
    f"""
WITH {_ACCOUNT}
SELECT feed_id AS id, {feed_name_sql("feed_id")} AS name
FROM (SELECT DISTINCT s.feed_id {_JOINS}) traded ORDER BY name, id
""",
)

TRADES = Query(
    TradeRow,
    f"""
WITH {_ACCOUNT}
SELECT p.id, p.connection_id, p.signal_id, s.feed_id, p.pair, p.side,
  p.opened_quantity AS quantity, p.entry_price, p.opened_at, p.closed_at, p.close_reason,
  p.realized_pnl AS gross, p.commission, p.swap, {NET_SQL} AS net, {_SPREAD} AS spread,
  cost.slippage, p.unconverted_fees
{_JOINS} AND (p.closed_at, p.id) > (%(after)s::timestamptz, %(after_id)s::bigint)
ORDER BY p.closed_at, p.id LIMIT %(limit)s
""",
)


@dataclass(frozen=True, slots=True)
class TradeResults:
    """All figures of closed trades of a scope. total: one row, of all trades.

    breakdowns: by kind, the largest result first; hours and days in order, only those with trades.
    """

    scope: Scope
    total: SumsRow
    breakdowns: dict[str, list[SumsRow]]
    days: list[DayRow]
    streaks: Streaks
    run: RunRow
    fees: dict[str, Decimal] = field(default_factory=dict)

    @property
    def sums(self) -> TradeSums:
        return self.total.sums


def trade_results(scope: Scope) -> TradeResults:
    """Return the sums, breakdowns, streaks and fees of a scope, in two or three statements."""
    parts = replica_rows(SUMS, scope.parameters())
    (run,) = replica_rows(RUNS, scope.parameters())
    breakdowns = {kind: [row for row in parts if row.kind == kind] for kind in BREAKDOWNS}
    breakdowns["hour"].sort(key=lambda row: int(row.key))
    fees: dict[str, Decimal] = {}
    if run.has_fees:
        fees = {row.currency: row.fee for row in replica_rows(FEES, scope.parameters())}
    return TradeResults(
        scope=scope,
        total=next(row for row in parts if row.kind == "total"),
        breakdowns=breakdowns,
        days=_days(row for row in parts if row.kind == "day"),
        streaks=Streaks(run.wins, run.losses, run.current),
        run=run,
        fees=fees,
    )


def _days(parts: Iterable[SumsRow]) -> list[DayRow]:
    """Return the days in order, with their running sum."""
    total = Decimal(0)
    days = []
    for row in sorted(parts, key=lambda row: row.key):
        net = row.sums.total
        total += net
        days.append(DayRow(date.fromisoformat(row.key), row.trades, row.wins, net, total))
    return days


def months_of(days: Iterable[DayRow]) -> list[MonthRow]:
    """Return the months of all days, in order."""
    found = []
    for (year, month), group in groupby(days, key=lambda day: day.month):
        listed = list(group)
        net = sum((day.net for day in listed), Decimal(0))
        trades, wins = sum(day.trades for day in listed), sum(day.wins for day in listed)
        found.append(MonthRow(year, month, trades, wins, net))
    return found


def result_months(scope: Scope) -> list[MonthRow]:
    """Return the months with a closed trade, in order."""
    return replica_rows(MONTHS, scope.parameters())


def result_feeds(scope: Scope) -> dict[int, str]:
    """Return the names of the feeds with a closed trade on the accounts, whatever is filtered."""
    every = replace(scope, feed_id=None, pair=None)
    return {row.id: row.name for row in replica_rows(FEEDS, every.parameters())}


def trades_after(scope: Scope, after: datetime, after_id: int, *, limit: int) -> list[TradeRow]:
    """Return closed trades in closing order, those after (closed_at, id)."""
    parameters = {**scope.parameters(), "after": after, "after_id": after_id, "limit": limit}
    return replica_rows(TRADES, parameters)


class ClosedBetween(NamedTuple):
    """The net result that an account closed between two times."""

    connection_id: UUID
    net: Decimal


CLOSED_BETWEEN = Query(
    ClosedBetween,
    f"""
SELECT t.id AS connection_id, sum({NET_SQL}) AS net
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[]) AS t (id, after, until)
{closed_trades_join_sql("t.id", "t.after", "t.until")}
GROUP BY t.id
""",
)


def closed_between(spans: Sequence[tuple[UUID, datetime, datetime]]) -> dict[UUID, Decimal]:
    """Return the net results that accounts closed after a time until another, by account."""
    if not spans:
        return {}
    moved = [(account, after + STEP, until + STEP) for account, after, until in spans]
    columns = [array(column) for column in zip(*moved, strict=True)]
    return {row.connection_id: row.net for row in replica_rows(CLOSED_BETWEEN, columns)}
