"""My execution of each signal against the median of all persons who traded the same one.

Real and paper money have medians of their own: a simulated fill shows no broker's execution. The
medians are computed by the daily job, over all tenants. A person with several accounts counts once
in each, by the median of these. A tenant sees one only where at least OTHERS other persons filled,
so that it shows no single one. Paper twins are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from analytics.replica import JOB_SECONDS, replica_rows
from common.clocks import market_now
from common.db.sql import IdRow, Query, array, rows, run
from connections.selectors import connection_join_sql, not_twin_sql
from connections.trading_day import bounds
from execution.entry_quality import filled_entries_sql
from positions.joins import CLOSED_SINCE_SQL
from signals.joins import published_sql, signal_join_sql

OTHERS = 5  # persons besides oneself
RECENT = timedelta(days=4)  # what each run computes again
BATCH = 500
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # before any signal

# An entry that has filled since then has a position that is open, or was closed since. So a signal
# whose entry waited for weeks gets its median, too.
DUE = Query(
    IdRow,
    f"""
SELECT s.id FROM {published_sql("s", "%(since)s")}
UNION SELECT p.signal_id {CLOSED_SINCE_SQL}
ORDER BY 1
""",
)
ANY_MEDIAN = "SELECT 1 AS found FROM analytics_signalquality LIMIT 1"
_OF_BATCH = "o.signal_id = ANY(%(signals)s::bigint[])"
_MEDIAN = "(percentile_disc(0.5) WITHIN GROUP (ORDER BY {0}))::numeric(38, 18)"
# Accounts without a user are the installation's: one person.
COMPUTE_QUALITY = f"""
INSERT INTO analytics_signalquality AS q
  (signal_id, is_paper, persons, unit, slippage, bps, to_wire_ms, to_fill_ms, computed_at)
WITH person AS (
  SELECT e.signal_id, c.type = 'paper' AS is_paper, c.user_id,
    min(e.unit) AS first_unit, max(e.unit) AS last_unit,
    {_MEDIAN.format("e.slippage")} AS slippage, {_MEDIAN.format("e.bps")} AS bps,
    {_MEDIAN.format("e.to_wire")} AS to_wire, {_MEDIAN.format("e.to_fill")} AS to_fill
  FROM ({filled_entries_sql(f"{_OF_BATCH} AND {not_twin_sql('o.connection_id')}")}) e
  {connection_join_sql("e.connection_id")}
  GROUP BY 1, 2, 3
)
SELECT signal_id, is_paper, count(*),
  CASE WHEN min(first_unit) = max(last_unit) THEN min(first_unit) ELSE '' END,
  CASE WHEN min(first_unit) = max(last_unit) THEN {_MEDIAN.format("slippage")} END,
  {_MEDIAN.format("bps")}, {_MEDIAN.format("to_wire")}, {_MEDIAN.format("to_fill")},
  clock_timestamp()
FROM person GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (signal_id, is_paper) DO UPDATE SET
  (persons, unit, slippage, bps, to_wire_ms, to_fill_ms, computed_at) = (excluded.persons,
   excluded.unit, excluded.slippage, excluded.bps, excluded.to_wire_ms, excluded.to_fill_ms,
   excluded.computed_at)
"""


class SignalExecution(NamedTuple):
    """One signal on my accounts, and the medians of all persons who traded it (None: too few
    others), with real money or, if these are paper accounts, on paper ones.

    slippage, all_slippage: in `unit`, + is worse; bps: basis points of the expected price; cost:
    account currency. Latencies in milliseconds, of market entries: to_wire from the publication's
    orders to the send, to_fill from then on. others: persons besides me, 0 if they are too few.
    """

    signal_id: int
    published_at: datetime
    pair: str
    side: str
    accounts: int
    unit: str
    slippage: Decimal | None
    bps: Decimal | None
    cost: Decimal | None
    to_wire: Decimal | None
    to_fill: Decimal | None
    others: int
    all_slippage: Decimal | None
    all_bps: Decimal | None
    all_to_wire: Decimal | None
    all_to_fill: Decimal | None
    computed_at: datetime | None

    @property
    def number(self) -> str:
        """The signal's number as people know it."""
        return f"S-{self.signal_id}"


class ExecutionSums(NamedTuple):
    """The aggregate over signals. compared: how many have a median of at least OTHERS others.

    all_*: the median over those of all persons' medians; mine_*: of mine over the same signals.
    better, worse: on how many of them my slippage was smaller, or larger. cost: over the
    `with_cost` signals of which it is known.
    """

    signals: int
    compared: int
    better: int
    worse: int
    cost: Decimal | None
    with_cost: int
    bps: Decimal | None
    mine_bps: Decimal | None
    all_bps: Decimal | None
    to_wire: Decimal | None
    mine_to_wire: Decimal | None
    all_to_wire: Decimal | None
    to_fill: Decimal | None
    mine_to_fill: Decimal | None
    all_to_fill: Decimal | None
    computed_at: datetime | None


_MINE = filled_entries_sql("o.connection_id = ANY(%(connections)s::uuid[])")
_HAS_OTHERS = f"q.persons - 1 >= {OTHERS}"  # the one is the reader, who filled
# The median of my accounts of one signal, so that it compares with a median.
_COMPARED = f"""mine AS (
  SELECT e.signal_id, count(*)::int AS accounts,
    min(e.pair) AS pair, min(e.side) AS side,
    CASE WHEN count(DISTINCT e.unit) = 1 THEN min(e.unit) ELSE '' END AS unit,
    {_MEDIAN.format("e.slippage")} AS slippage, {_MEDIAN.format("e.bps")} AS bps,
    sum(e.cost)::numeric(38, 18) AS cost, {_MEDIAN.format("e.to_wire")} AS to_wire,
    {_MEDIAN.format("e.to_fill")} AS to_fill
  FROM ({_MINE}) e GROUP BY e.signal_id
), compared AS (
  SELECT mine.signal_id, s.published_at, mine.pair, mine.side, mine.accounts, mine.unit,
    CASE WHEN mine.unit <> '' THEN mine.slippage END AS slippage, mine.bps, mine.cost,
    mine.to_wire, mine.to_fill,
    CASE WHEN {_HAS_OTHERS} THEN q.persons - 1 ELSE 0 END AS others,
    CASE WHEN {_HAS_OTHERS} AND q.unit = mine.unit THEN q.slippage END AS all_slippage,
    CASE WHEN {_HAS_OTHERS} THEN q.bps END AS all_bps,
    CASE WHEN {_HAS_OTHERS} THEN q.to_wire_ms END AS all_to_wire,
    CASE WHEN {_HAS_OTHERS} THEN q.to_fill_ms END AS all_to_fill,
    CASE WHEN {_HAS_OTHERS} THEN q.computed_at END AS computed_at
  FROM mine {signal_join_sql("mine.signal_id")}
  LEFT JOIN analytics_signalquality q
    ON q.signal_id = mine.signal_id AND q.is_paper = %(is_paper)s
  WHERE s.published_at >= %(start)s AND s.published_at < %(end)s
    AND (%(feed)s::bigint IS NULL OR s.feed_id = %(feed)s)
    AND (%(pair)s::text IS NULL OR mine.pair = %(pair)s)
)"""

SIGNALS = Query(
    SignalExecution,
    f"""
WITH {_COMPARED}
SELECT * FROM compared
WHERE %(before)s::bigint IS NULL OR (published_at, signal_id) < (
  SELECT b.published_at, b.id FROM {published_sql("b")} AND b.id = %(before)s)
ORDER BY published_at DESC, signal_id DESC LIMIT %(limit)s
""",
)

_MIDDLE = "(percentile_disc(0.5) WITHIN GROUP (ORDER BY {0}){1})::numeric(38, 18)"


def _middle(value: str, where: str = "") -> str:
    return _MIDDLE.format(value, f" FILTER (WHERE {where})" if where else "")


SUMS = Query(
    ExecutionSums,
    f"""
WITH {_COMPARED}
SELECT count(*)::int AS signals, count(all_bps)::int AS compared,
  (count(*) FILTER (WHERE bps < all_bps))::int AS better,
  (count(*) FILTER (WHERE bps > all_bps))::int AS worse, sum(cost)::numeric(38, 18) AS cost,
  count(cost)::int AS with_cost,
  {_middle("bps")} AS bps, {_middle("bps", "all_bps IS NOT NULL")} AS mine_bps,
  {_middle("all_bps", "bps IS NOT NULL")} AS all_bps,
  {_middle("to_wire")} AS to_wire, {_middle("to_wire", "all_to_wire IS NOT NULL")} AS mine_to_wire,
  {_middle("all_to_wire", "to_wire IS NOT NULL")} AS all_to_wire,
  {_middle("to_fill")} AS to_fill, {_middle("to_fill", "all_to_fill IS NOT NULL")} AS mine_to_fill,
  {_middle("all_to_fill", "to_fill IS NOT NULL")} AS all_to_fill,
  min(computed_at) AS computed_at
FROM compared
""",
)


@dataclass(frozen=True, slots=True)
class SignalScope:
    """Which signals, on which of my accounts. Days are those of the default trading day.

    connection_ids: the chosen accounts, all with real money, or all paper ones (is_paper).
    """

    connection_ids: Sequence[UUID]
    start: date
    end: date
    is_paper: bool
    feed_id: int | None = None
    pair: str | None = None

    def parameters(self) -> dict[str, object]:
        return {
            "connections": array(self.connection_ids),
            "start": bounds(self.start)[0],
            "end": bounds(self.end)[1],
            "is_paper": self.is_paper,
            "feed": self.feed_id,
            "pair": self.pair,
        }


def signal_executions(
    scope: SignalScope, *, before: int | None = None, limit: int = 30
) -> list[SignalExecution]:
    """Return the signals that filled, the newest publication first.

    before: the id of a signal, to go on with those published before it.

    Call it where all signals are visible (`for_all_tenants`): a feed that the user has left is
    hidden, but what its signals cost on their accounts is theirs.
    """
    return replica_rows(SIGNALS, {**scope.parameters(), "before": before, "limit": limit})


def execution_sums(scope: SignalScope) -> ExecutionSums:
    """Return the aggregate over all signals of the scope. Call it as `signal_executions`."""
    return replica_rows(SUMS, scope.parameters())[0]


def compute_signal_quality(now: datetime | None = None, *, recent: timedelta = RECENT) -> int:
    """Write the medians of signals that were published or traded recently; return how many.

    Without any medians it computes those of all signals, in one transaction: a part of them would
    pass for all. now: market time. Safe to repeat. It needs the rows of all tenants, as workers
    have them.
    """
    if rows(ANY_MEDIAN):
        return _compute_since((now or market_now()) - recent)
    with transaction.atomic():
        return _compute_since(BEGINNING)


def _compute_since(since: datetime) -> int:
    signals = [row.id for row in replica_rows(DUE, {"since": since}, patience=JOB_SECONDS)]
    batches = (signals[start : start + BATCH] for start in range(0, len(signals), BATCH))
    return sum(map(_compute, batches))


def _compute(signals: list[int]) -> int:
    with transaction.atomic():
        run("SET LOCAL jit = off")
        run("SELECT pg_advisory_xact_lock(hashtext('analytics.compute_signal_quality'))")
        return run(COMPUTE_QUALITY, {"signals": array(signals)})
