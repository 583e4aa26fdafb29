"""The queries that workers run every two seconds, with and without finished orders.

The same statements run over the same live rows before and after the finished ones are written (by
SQL, not through our code), with a tenth as many closed positions, since writing takes most of the
time. The queries should touch only live rows. Each statement is rolled back.
`stale_statistics_ratio` is measured before ANALYZE, as in the minutes until autovacuum has analyzed
a table that has grown.
"""

import json
import math
import time
from datetime import timedelta
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
TRIES_PER_ROUND, TARGET = 13, 1.5

# The newest signal's orders are the live ones, a fifth in each state that the queries select.
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
  g::text, 'worker', t.at, t.at, t.at, t.at, t.at, t.at
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


def sweep(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure each statement with and without `count` finished rows; compare their sums."""
    environment.run(workers=0)
    environment.reset()
    ids = data.connections(CONNECTIONS)
    signals = _signals(data, math.ceil(count / CONNECTIONS) + 1)
    shared = {"ids": ids, "signals": signals[1:], "connections": CONNECTIONS,
              "source": data.source.pk, "signal": signals[0]}  # fmt: skip
    environment.sql(LIVE_ORDERS, shared)
    first = {**shared, "signals": signals[:1], "open": 1000, "from": 0, "to": LIVE // 5 - 1}
    environment.sql(POSITIONS, first)
    environment.sql("VACUUM ANALYZE execution_order, positions_executionposition")
    statements = _statements(environment, ids)
    tries = TRIES_PER_ROUND * environment.rounds
    without_finished, few_blocks = _times(statements, tries), _blocks(statements)
    start = time.perf_counter()
    _finish(environment, shared, count)
    report_progress(f"  {count:,} finished orders in {time.perf_counter() - start:.0f} s")
    stale = _times(statements, tries)
    environment.sql("VACUUM ANALYZE execution_order, positions_executionposition")
    with_finished, blocks = _times(statements, tries), _blocks(statements)
    ((size,),) = environment.sql(SIZE)
    environment.reset()
    environment.sql("DELETE FROM signals_signal WHERE strategy_id = 'sweep'")
    ratio = sum(with_finished.values()) / sum(without_finished.values())
    return Result(
        name="sweep",
        n=count,
        seconds=sum(with_finished.values()),
        rate=LIVE / sum(with_finished.values()),
        p50_ms=None,
        p99_ms=None,
        baseline=Baseline("the same without finished orders", sum(without_finished.values()),
                          LIVE / sum(without_finished.values())),
        ratio=ratio,
        target=TARGET,
        ok=ratio <= TARGET,
        half=ratio <= 2 * TARGET,
        detail={
            "live_orders": LIVE, "table_mb": size / 2**20,
            "stale_statistics_ratio": sum(stale.values()) / sum(without_finished.values()),
            "blocks_ratio": sum(blocks.values()) / sum(few_blocks.values()),
            "blocks": blocks, "blocks_without": few_blocks,
            "ms": {name: 1000 * seconds for name, seconds in with_finished.items()},
            "ms_without": {name: 1000 * seconds for name, seconds in without_finished.items()},
        },
    )  # fmt: skip


def _signals(data: BenchData, many: int) -> list[int]:
    """Return expired signals, the newest first."""
    found = data.published_signals(
        data.feed(CONNECTIONS), many, strategy="sweep", age=timedelta(hours=1),
        ended=timedelta(minutes=1),
    )  # fmt: skip
    return sorted(found, reverse=True)


def _finish(environment: BenchEnvironment, shared: dict[str, Any], count: int) -> None:
    """Write `count` finished orders.

    They refer to existing rows, so no key and no trigger is checked row by row. The indexes over
    whole tables are switched off and rebuilt afterwards, which takes a tenth of the time.
    """
    environment.sql("SET session_replication_role = replica")
    environment.sql("SET maintenance_work_mem = '512MB'")
    environment.sql(DISABLE_INDEXES)
    try:
        for begin in range(0, count, CHUNK):
            end = min(begin + CHUNK, count) - 1
            environment.sql(FINISHED, {**shared, "from": begin, "to": end})
            closed = {"from": begin // CLOSED, "to": (end + 1) // CLOSED - 1, "open": 0}
            environment.sql(POSITIONS, {**shared, **closed})
            report_progress(f"  {end + 1:,} rows")
    finally:
        environment.sql("SET session_replication_role = DEFAULT")
        environment.sql("REINDEX TABLE execution_order")
        environment.sql("REINDEX TABLE positions_executionposition")


def _statements(environment: BenchEnvironment, ids: list[Any]) -> dict[str, tuple[str, Any]]:
    """Return the measured statements by name, with their parameters."""
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
        "expired_working": (sweeps.CANCEL_EXPIRED_WORKING, {"now": market_now()}),
        "stuck": (stale_orders.LOOK_UP_STUCK, {"stuck": 60, "answer": 10}),
        "pending_actions": (pending_actions.LOCK, held_lanes_parameters()),
        "levels": (level_sync.LEVELS, {"longest": 11, **held_lanes_parameters()}),
        "claim_load": (claim_sql.LOAD, (array(live[:500]),)),
        "claim_held": (
            claim_sql.EXPOSURE,
            {"connections": array(ids[:500]), "unanswered": 1, "pairs": []},
        ),
    }


def _times(statements: dict[str, tuple[str, Any]], tries: int) -> dict[str, float]:
    """Return the shortest time of each statement in seconds; the minimum excludes other load.

    Each statement is rolled back. Raises BenchError if one finds no rows.
    """
    seconds: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(tries):
        for name, (sql, parameters) in statements.items():
            with transaction.atomic():
                start = time.perf_counter()
                result = run(sql, parameters)
                seconds[name].append(time.perf_counter() - start)
                transaction.set_rollback(True)
            if not result:
                raise BenchError(f"{name} found no rows")
    return {name: min(times) for name, times in seconds.items()}


def _blocks(statements: dict[str, tuple[str, Any]]) -> dict[str, int]:
    """Return how many pages of 8 kB each statement touches, which is independent of the machine."""
    touched = {}
    for name, (sql, parameters) in statements.items():
        with transaction.atomic():
            (row,) = rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
            transaction.set_rollback(True)
        explained = json.loads(row[0]) if isinstance(row[0], str) else row[0]
        plan = explained[0]["Plan"]
        touched[name] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return touched
