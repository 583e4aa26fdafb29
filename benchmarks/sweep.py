"""What workers ask every two seconds, beside n finished orders (and a tenth as many closed
positions, since most of the time goes into writing them): a touch of the
live rows, whatever has piled up behind them.

The same statements over the same live rows, before and after n finished ones are written (none of
them through our code: rows as they are at the end). Each statement is rolled back. `stale` is the
ratio before ANALYZE, as in the minutes until autovacuum has seen a table that has grown.
"""

import json
import math
import time
from typing import Any

from django.db import transaction

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Baseline, Result
from common.clocks import market_now
from common.sql import array, rows, run
from connections.session_lanes import held_lanes_parameters
from execution.monitoring import level_sync, pending_actions
from execution.recovery import stale_orders, sweeps
from execution.submission import claim_sql

CONNECTIONS, LIVE, CHUNK, CLOSED = 1_000, 1_000, 500_000, 10
ROUNDS, TARGET = 40, 1.5

SIGNALS = """
INSERT INTO signals_signal (feed_id, action, currency_pair, direction, order_type, target_prices,
  target_fractions, close_fraction, time_in_force, strategy_id, trade_plan_id, risk_category,
  content_hash, origin, note, approval, published_at, valid_until)
SELECT %s, 'OPEN', 'EUR/USD', 'BUY', 'MARKET', '{1.11}', '{1}', 1, 'GTC', 'sweep', '', 'normal', '',
  'HAND', '', 'APPROVED', now() - interval '1 hour', now() - interval '1 minute'
FROM generate_series(1, %s)
"""
# The newest signal's orders are the live ones, a fifth in each kind of state that sweeps look for.
LIVE_ORDERS = """
INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, status, client_order_id, due_at, lookup_after, answer_by, submitted_at,
  pending_action, worker_id, created_at)
SELECT c.id, %(signal)s, 'entry', 'EUR/USD', 'EURUSD', 'BUY', 'MARKET', 'GTC', 1000,
  (ARRAY['PENDING', 'SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'SUBMITTED'])[1 + c.n %% 5],
  'live' || lpad(c.n::text, 10, '0'), now(), CASE WHEN c.n %% 5 = 2 THEN now() END,
  now() - interval '1 second', now() - interval '1 hour',
  CASE WHEN c.n %% 5 = 4 THEN 'CANCEL' ELSE '' END, 'dead', now() - interval '1 hour'
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM connections_executionconnection
  WHERE id = ANY(%(ids)s)) c
"""
POSITIONS = """
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl, sl_guardian, tp_guardian, price_source_id, pip, conversion_rate,
  opened_at, last_activity_at, closed_at)
SELECT c.ids[1 + g %% %(connections)s], s.ids[1 + g / %(connections)s], 'EUR/USD', 'EURUSD', 'BUY',
  %(open)s, 1000, 1.1, 1.09, 'BROKER', '', %(source)s, 0.0001, 1, now() - interval '1 hour',
  now() - interval '1 hour',
  CASE WHEN %(open)s = 0 THEN now() - interval '1 minute' END
FROM generate_series(%(from)s::bigint, %(to)s::bigint) g,
  (SELECT %(ids)s::uuid[] AS ids) c, (SELECT %(signals)s::bigint[] AS ids) s
"""
FINISHED = """
INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, filled_quantity, avg_fill_price, status, client_order_id,
  broker_order_id, worker_id, answer_by, created_at, submitted_at, acknowledged_at, filled_at,
  done_at)
SELECT c.ids[1 + g %% %(connections)s], s.ids[1 + g / %(connections)s], 'entry', 'EUR/USD',
  'EURUSD', 'BUY', 'MARKET', 'GTC', 1000, 1000, 1.1, 'FILLED', 'done' || lpad(g::text, 12, '0'),
  g::text, 'somebody', t.at, t.at, t.at, t.at, t.at, t.at
FROM generate_series(%(from)s::bigint, %(to)s::bigint) g,
  (SELECT %(ids)s::uuid[] AS ids) c, (SELECT %(signals)s::bigint[] AS ids) s,
  (SELECT now() - interval '1 hour' AS at) t
"""
DISABLE_INDEXES = """
UPDATE pg_index SET indisready = false WHERE NOT indisprimary
  AND (indpred IS NULL OR indexrelid = 'one_entry'::regclass)
  AND indrelid IN ('execution_order'::regclass, 'positions_executionposition'::regclass)
"""
SIZE = "SELECT pg_total_relation_size('execution_order')"


def sweep(environment: BenchEnvironment, data: BenchData, n: int) -> Result:
    """Each statement with and without n finished rows; the ratio of their sums."""
    environment.run(workers=0)
    environment.reset()
    ids = data.connections(CONNECTIONS)
    signals = _signals(environment, data, math.ceil(n / CONNECTIONS) + 1)
    shared = {"ids": ids, "signals": signals[1:], "connections": CONNECTIONS,
              "source": data.source.pk, "signal": signals[0]}  # fmt: skip
    environment.sql(LIVE_ORDERS, shared)
    first = {**shared, "signals": signals[:1], "open": 1000, "from": 0, "to": LIVE // 5 - 1}
    environment.sql(POSITIONS, first)
    environment.sql("VACUUM ANALYZE execution_order, positions_executionposition")
    asked = _statements(environment, ids)
    alone, few_blocks = _times(asked), _blocks(asked)
    start = time.perf_counter()
    _finish(environment, shared, n)
    report_progress(f"  {n:,} finished orders in {time.perf_counter() - start:.0f} s")
    stale = _times(asked)
    environment.sql("VACUUM ANALYZE execution_order, positions_executionposition")
    beside, blocks = _times(asked), _blocks(asked)
    ((size,),) = environment.sql(SIZE)
    environment.reset()
    environment.sql("DELETE FROM signals_signal WHERE strategy_id = 'sweep'")
    ratio = sum(beside.values()) / sum(alone.values())
    return Result(
        name="sweep",
        n=n,
        seconds=sum(beside.values()),
        rate=LIVE / sum(beside.values()),
        p50_ms=None,
        p99_ms=None,
        baseline=Baseline("the same without finished orders", sum(alone.values()),
                          LIVE / sum(alone.values())),
        ratio=ratio,
        target=TARGET,
        ok=ratio <= TARGET,
        half=ratio <= 2 * TARGET,
        detail={
            "live_orders": LIVE, "table_mb": size / 2**20,
            "stale_statistics_ratio": sum(stale.values()) / sum(alone.values()),
            "blocks_ratio": sum(blocks.values()) / sum(few_blocks.values()),
            "blocks": blocks, "blocks_without": few_blocks,
            "ms": {name: 1000 * seconds for name, seconds in beside.items()},
            "ms_without": {name: 1000 * seconds for name, seconds in alone.items()},
        },
    )  # fmt: skip


def _signals(environment: BenchEnvironment, data: BenchData, many: int) -> list[int]:
    environment.sql(SIGNALS, data.feed(CONNECTIONS).pk, many)
    found = environment.sql(
        "SELECT id FROM signals_signal WHERE strategy_id = 'sweep' ORDER BY id DESC"
    )
    return [id_ for (id_,) in found]


def _finish(environment: BenchEnvironment, shared: dict[str, Any], n: int) -> None:
    """Rows refer to what exists, so their foreign keys are not checked one by one; indexes of whole
    tables stand still meanwhile and are built anew, which takes a tenth of the time."""
    environment.sql("SET session_replication_role = replica")
    environment.sql("SET maintenance_work_mem = '512MB'")
    environment.sql(DISABLE_INDEXES)
    try:
        for begin in range(0, n, CHUNK):
            end = min(begin + CHUNK, n) - 1
            environment.sql(FINISHED, {**shared, "from": begin, "to": end})
            closed = {"from": begin // CLOSED, "to": (end + 1) // CLOSED - 1, "open": 0}
            environment.sql(POSITIONS, {**shared, **closed})
            report_progress(f"  {end + 1:,} rows")
    finally:
        environment.sql("SET session_replication_role = DEFAULT")
        environment.sql("REINDEX TABLE execution_order")
        environment.sql("REINDEX TABLE positions_executionposition")


def _statements(environment: BenchEnvironment, ids: list[Any]) -> dict[str, tuple[str, Any]]:
    """What is asked, by name, with its parameters."""
    live = [id_ for (id_,) in environment.sql("SELECT id FROM execution_order")]
    return {
        "due": (
            sweeps.DUE,
            {"priority": 32767, "grace": 1, "limit": 500, **held_lanes_parameters()},
        ),
        "take_over": (sweeps.MARK_ORPHANED_UNKNOWN, ("me",)),
        "ask": (
            sweeps.CLAIM_LOOKUPS,
            {"first": 2, "longest": 60, "claim": 31, "worker_id": "", **held_lanes_parameters()},
        ),
        "expired_working": (sweeps.CANCEL_EXPIRED_WORKING, (market_now(),)),
        "stuck": (stale_orders.QUERY, {"stuck": 60, "answer": 10}),
        "wishes": (pending_actions.LOCK, held_lanes_parameters()),
        "levels": (level_sync.LEVELS, {"longest": 11, **held_lanes_parameters()}),
        "claim_load": (claim_sql.LOAD, (array(live[:500]),)),
        "claim_held": (claim_sql.EXPOSURE, {"connections": array(ids[:500]), "unanswered": 1}),
    }


def _times(asked: dict[str, tuple[str, Any]]) -> dict[str, float]:
    """Seconds of each statement at its best: what else the machine does is not measured. Every
    one is undone, and must have found what there is."""
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS):
        for name, (sql, parameters) in asked.items():
            with transaction.atomic():
                start = time.perf_counter()
                found = run(sql, parameters)
                seconds[name].append(time.perf_counter() - start)
                transaction.set_rollback(True)
            if not found:
                raise BenchError(f"{name} found nothing")
    return {name: min(those) for name, those in seconds.items()}


def _blocks(asked: dict[str, tuple[str, Any]]) -> dict[str, int]:
    """Pages of 8 kB that each statement touches: what does not depend on the machine."""
    touched = {}
    for name, (sql, parameters) in asked.items():
        with transaction.atomic():
            (row,) = rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
            transaction.set_rollback(True)
        told = json.loads(row[0]) if isinstance(row[0], str) else row[0]
        plan = told[0]["Plan"]
        touched[name] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return touched
