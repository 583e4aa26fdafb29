"""Results of one day for all connections, against an ORM loop over them."""

import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from uuid import UUID

from analytics.models import AnalyticsDaily
from analytics.results.rollup import Rollup, fold, of_trade
from analytics.services import compute_day
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Result, compared
from connections.trading_day import bounds
from positions.models import ExecutionPosition

TARGET = 100.0
BASELINE_MAX = 250  # the baseline is linear and slow
DAYS, TRADES_PER_DAY = 10, 10  # of each connection
DAY = date(2026, 3, 11)

SEED = """
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, pip, conversion_rate, realized_pnl, commission, close_reason,
  opened_at, closed_at)
SELECT c.id, s.id, 'EUR/USD', 'EURUSD', 'BUY', 0, 1000, 1.1, 0.0001, 1,
  ((s.number * 37 + c.number * 11) %% 401 - 190) / 10.0, 0.35, 'tp', s.at - interval '1 hour', s.at
FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM connections_executionconnection
  WHERE id = ANY(%(ids)s)) c
CROSS JOIN (SELECT id, row_number() OVER (ORDER BY id) AS number,
    %(end)s::timestamptz - interval '30 minutes' - make_interval(
      days => ((row_number() OVER (ORDER BY id) - 1) / %(trades_per_day)s)::int,
      mins => ((row_number() OVER (ORDER BY id) - 1) %% %(trades_per_day)s)::int * 20) AS at
  FROM signals_signal WHERE strategy_id = 'analytics') s
"""


def analytics(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure compute_day() for connections with ten trades on that day and ninety before."""
    environment.run(workers=0)
    environment.reset()
    _seed(environment, data, count)
    few = min(count, BASELINE_MAX)
    seconds, plain_seconds = [], []
    for number in range(environment.rounds + 1):
        ours, our_rollups = _timed(lambda *_: compute_day(DAY), data, count)
        plain, plain_rollups = _timed(_plain, data, few)
        if len(our_rollups) != count or not plain_rollups.items() <= our_rollups.items():
            raise BenchError("the two ways to compute a day have different results")
        if number:  # the first is the warm-up
            seconds.append(ours)
            plain_seconds.append(plain)
    environment.reset()
    return compared(
        "analytics", count=count, seconds=seconds, baseline="an ORM loop over the connections",
        baseline_count=few, baseline_seconds=plain_seconds, target=TARGET,
        trades=count * TRADES_PER_DAY, positions=count * TRADES_PER_DAY * DAYS,
    )  # fmt: skip


def _seed(environment: BenchEnvironment, data: BenchData, count: int) -> None:
    data.published_signals(
        data.feed(count), DAYS * TRADES_PER_DAY, strategy="analytics", targets=()
    )
    environment.sql(SEED, {
        "ids": data.connections(count), "end": bounds(DAY)[1], "trades_per_day": TRADES_PER_DAY,
    })  # fmt: skip
    environment.sql("VACUUM ANALYZE")


def _timed(
    compute: Callable[[BenchData, int], object], data: BenchData, count: int
) -> tuple[float, dict[UUID, Rollup]]:
    AnalyticsDaily.objects.all().delete()
    start = time.perf_counter()
    compute(data, count)
    seconds = time.perf_counter() - start
    return seconds, {row.connection_id: row.rollup for row in AnalyticsDaily.objects.all()}


def _plain(data: BenchData, count: int) -> None:
    start, end = bounds(DAY)
    for connection_id in data.connections(count):
        trades = ExecutionPosition.objects.filter(
            connection_id=connection_id, closed_at__gte=start, closed_at__lt=end
        ).order_by("closed_at", "id")
        day = fold(
            of_trade(
                realized_pnl=trade.realized_pnl, commission=trade.commission, swap=trade.swap,
                duration_seconds=_seconds(trade),
            )
            for trade in trades
        )  # fmt: skip
        AnalyticsDaily.objects.update_or_create(
            connection_id=connection_id, day=DAY, defaults=_columns(day)
        )


def _seconds(trade: ExecutionPosition) -> Decimal:
    assert trade.closed_at is not None
    return Decimal(str((trade.closed_at - trade.opened_at).total_seconds()))


def _columns(day: Rollup) -> dict[str, Decimal | int]:
    return {
        "trades": day.trades, "wins": day.wins, "losses": day.losses,
        "gross_profit": day.gross_profit, "gross_loss": day.gross_loss,
        "commission": day.commission, "swap": day.swap, "total_pnl": day.total,
        "highest_prefix": day.highest, "lowest_prefix": day.lowest, "max_drawdown": day.drawdown,
        "duration_seconds": day.duration_seconds,
    }  # fmt: skip
