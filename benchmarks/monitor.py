"""Finding reached stop losses and take profits, against writing prices into each position."""

import math
import statistics
import time
from decimal import Decimal
from typing import Any

from django.db import transaction

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment
from benchmarks.results import Result, compared
from brokers.types import Quote
from common.clocks import market_now
from common.db.sql import kept_plans
from execution.monitoring.level_monitor import find_hits
from prices.services import store_quotes

CONNECTIONS, SYMBOLS, FINDS, TARGET, MILLION_MS = 1_000, 100, 20, 1_000.0, 10.0
QUIET, MOVED = (Decimal("100.00"), Decimal("100.02")), (Decimal("99.90"), Decimal("100.12"))

# One position in a thousand has its stop within the move; none is reached at the quiet price. All
# rows refer to existing ones, so no key and no trigger is checked row by row.
SEED = """
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl, tp, sl_guardian, tp_guardian, price_source_id, pip,
  conversion_rate, opened_at)
SELECT c.ids[1 + g %% %(accounts)s], c.signals[1 + g / %(accounts)s], p.pair, p.pair,
  CASE WHEN p.buys THEN 'BUY' ELSE 'SELL' END, 1000, 1000, 100,
  100 + p.away * CASE WHEN g %% 1009 = 0 THEN 0.08 ELSE 1 + (g %% 997) * 0.001 END,
  100 - p.away * (2 + (g %% 991) * 0.001), 'ENGINE', 'ENGINE', %(source)s, 0.01, 1, now()
FROM generate_series(0, %(n)s - 1) g
CROSS JOIN (SELECT %(ids)s::uuid[] AS ids, %(signals)s::bigint[] AS signals) c
CROSS JOIN LATERAL (SELECT 'S' || (g / %(accounts)s + g) %% %(symbols)s || '/USD' AS pair,
  (g / 3) %% 2 = 0 AS buys, CASE WHEN (g / 3) %% 2 = 0 THEN -1 ELSE 1 END AS away) p
"""
# What a monitor that keeps prices in its rows would do: store the profit of each position.
WRITE_ALL = """
UPDATE positions_executionposition p SET last_activity_at = clock_timestamp(),
  realized_pnl = (CASE p.side WHEN 'BUY' THEN q.bid - p.entry_price ELSE p.entry_price - q.ask END)
    * p.quantity * p.conversion_rate
FROM prices_latestquote q WHERE q.data_connection_id = p.price_source_id AND q.symbol = p.pair
"""


def monitor(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    environment.run(workers=0)
    environment.reset()
    seed_positions(environment, data, count)
    finds, hits, writes = [], 0, []
    for _ in range(1 if count >= 1_000_000 else environment.rounds):  # writing takes long
        seconds, hits = _find(data)
        finds += seconds
        start = time.perf_counter()
        environment.sql(WRITE_ALL)
        writes.append(time.perf_counter() - start)
        environment.sql("VACUUM ANALYZE positions_executionposition")
    environment.reset()
    find_ms = 1000 * statistics.median(finds)
    return compared(
        "monitor", count=count, seconds=finds, baseline="one UPDATE of all rows",
        baseline_count=count, baseline_seconds=writes, target=TARGET,
        also=count < 1_000_000 or find_ms <= MILLION_MS, symbols=SYMBOLS, hits=hits,
    )  # fmt: skip


def seed_positions(environment: BenchEnvironment, data: BenchData, count: int) -> None:
    """Write open positions with levels, and quotes that reach none of them."""
    with environment.without_checks():
        environment.sql(SEED, {**refer(data, math.ceil(count / CONNECTIONS)), "n": count})
    _quote(data, QUIET)
    environment.sql("VACUUM ANALYZE")


def refer(data: BenchData, signals: int) -> dict[str, Any]:
    """Return what rows of positions refer to: accounts, so many new signals, source, symbols."""
    new = data.published_signals(
        data.feed(CONNECTIONS), signals, strategy="monitor", pair="S0/USD", targets=[Decimal(102)]
    )
    return {"ids": data.connections(CONNECTIONS), "accounts": CONNECTIONS, "signals": new,
            "source": data.source.pk, "symbols": SYMBOLS}  # fmt: skip


def _quote(data: BenchData, prices: tuple[Decimal, Decimal]) -> None:
    now = market_now()
    store_quotes(
        data.source.pk, [Quote(f"S{number}/USD", *prices, now) for number in range(SYMBOLS)]
    )


def _find(data: BenchData) -> tuple[list[float], int]:
    """Find the levels that a move reaches, several times; return the seconds of each time and the
    number of levels.
    """
    _quote(data, MOVED)
    seconds, hits = [], 0
    for _ in range(FINDS):
        with transaction.atomic(), kept_plans():
            start = time.perf_counter()
            hits = len(find_hits())
            seconds.append(time.perf_counter() - start)
    return seconds, hits
