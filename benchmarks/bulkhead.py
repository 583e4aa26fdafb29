"""Isolation: the same load with and without slow and failing accounts.

Several signals are published in a row to all accounts. In the middle comes the CLOSE of an earlier
signal, so that entries and exits meet. In every second run 5 % of the accounts fail (half refuse
the connection, half never answer) and 2 % answer after ten seconds. Compared is the time from
publication to fill, for the accounts that are healthy in both runs.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Baseline, Result, bounded, percentile
from benchmarks.trading import publish_as_web, trade_history

SIGNALS, TARGET = 6, 1.2
FAILING, SLOW, SLOW_MS = 0.05, 0.02, 10_000

# The first accounts fail: odd ones are unreachable, even ones execute orders and never answer. The
# next ones are slow.
CAUSE_TROUBLE = """
UPDATE paper_account a SET unreachable = x.n <= %(failing)s AND x.n %% 2 = 1,
  silent_after = x.n <= %(failing)s AND x.n %% 2 = 0,
  reply_delay_ms = CASE WHEN x.n > %(failing)s THEN %(ms)s ELSE 0 END
FROM (SELECT account, row_number() OVER (ORDER BY account) AS n FROM connections_executionconnection
  WHERE id = ANY(%(ids)s)) x
WHERE a.number = x.account AND x.n <= %(failing)s + %(slow)s
"""
END_TROUBLE = """
UPDATE paper_account SET unreachable = false, silent_after = false, reply_delay_ms = 0
WHERE unreachable OR silent_after OR reply_delay_ms > 0
"""
MARK_HEALTHY = """
UPDATE connections_connectionhealth SET status = 'ACTIVE', consecutive_failures = 0,
  last_error = '',
  failing_since = NULL, unreachable_at = NULL, read_after = NULL, circuit_open_until = NULL,
  reconciled_at = clock_timestamp()
WHERE status <> 'ACTIVE' OR consecutive_failures > 0 OR last_error <> ''
  OR failing_since IS NOT NULL
  OR unreachable_at IS NOT NULL OR reconciled_at IS NULL
"""
HEALTHY = """
SELECT id FROM connections_executionconnection WHERE id = ANY(%(ids)s)
ORDER BY account OFFSET %(failing)s + %(slow)s
"""
OPEN = """
SELECT count(*) FROM execution_order
WHERE connection_id = ANY(%(healthy)s) AND signal_id = ANY(%(signals)s) AND done_at IS NULL
"""
LATENCIES = """
SELECT (o.position_id IS NOT NULL) AS is_exit, o.status = 'FILLED' AS is_filled,
  extract(epoch FROM o.filled_at - s.published) * 1000 AS ms
FROM execution_order o JOIN (SELECT * FROM unnest(%(signals)s::bigint[], %(times)s::float8[])
  AS t(id, at)) g ON g.id = o.signal_id, LATERAL (SELECT to_timestamp(g.at) AS published) s
WHERE o.connection_id = ANY(%(healthy)s)
"""


class Run(NamedTuple):
    """One run. p99: milliseconds from publication to fill of entries and of exits, for accounts
    that are always healthy; entries_ms: all of them."""

    p99: tuple[float, float]
    entries_ms: list[float]
    seconds: float


def bulkhead(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure runs with and without failing accounts in turn; compare the medians of their p99."""
    environment.run(workers=2)
    environment.reset()
    sizes = {"failing": round(count * FAILING), "slow": round(count * SLOW), "ms": SLOW_MS}
    ids = data.connections(count)
    healthy = [id_ for (id_,) in environment.sql(HEALTHY, {**sizes, "ids": ids})]
    healthy_runs, failing_runs = [], []
    with trade_history(data, count):
        _run(environment, data, count, healthy)  # warm-up
        for number in range(environment.rounds):
            healthy_runs.append(_run(environment, data, count, healthy))
            failing_runs.append(_run(environment, data, count, healthy, {**sizes, "ids": ids}))
            both = f"{healthy_runs[-1].p99}, with failures {failing_runs[-1].p99}"
            report_progress(f"  round {number + 1}: p99 ms of entries and exits {both}")
    # Each process records its connections' health once a second, perhaps after the orders have
    # ended. Without this the next benchmark would start with accounts in error.
    environment.run(workers=0)
    environment.sql(MARK_HEALTHY)
    entries, exits = (
        _median_p99(failing_runs, which) / _median_p99(healthy_runs, which) for which in (0, 1)
    )
    seconds = statistics.median(run.seconds for run in failing_runs)
    healthy_seconds = statistics.median(run.seconds for run in healthy_runs)
    orders = len(healthy) * (SIGNALS + 1)
    return bounded(
        "bulkhead", count, max(entries, exits), target=TARGET, seconds=seconds, items=orders,
        times_ms=[ms for run in failing_runs for ms in run.entries_ms],
        baseline=Baseline("the same without slow and failing accounts", healthy_seconds,
                          orders / healthy_seconds),
        failing=sizes["failing"], slow=sizes["slow"], entries_ratio=entries, exits_ratio=exits,
        p99_ms_of_entries_and_exits={"with": [run.p99 for run in failing_runs],
                                     "without": [run.p99 for run in healthy_runs]},
    )  # fmt: skip


def _median_p99(runs: Sequence[Run], which: int) -> float:
    return statistics.median(run.p99[which] for run in runs)


def _run(
    environment: BenchEnvironment, data: BenchData, count: int, healthy: list[Any],
    trouble: dict[str, Any] | None = None,
) -> Run:  # fmt: skip
    """Fill one signal, then publish more; the CLOSE of the first is among them."""
    first = data.signal(data.feed(count))
    publish_as_web(first, data)
    environment.wait(environment.nothing_open)
    signals = [data.signal(data.feed(count)) for _ in range(SIGNALS)]
    signals.insert(SIGNALS // 2, data.close(first))
    if trouble:
        environment.sql(CAUSE_TROUBLE, trouble)
    try:
        start, times = time.perf_counter(), []
        for signal in signals:
            times.append(time.time())
            publish_as_web(signal, data)
        parameters = {"healthy": healthy, "signals": [s.pk for s in signals], "times": times}
        environment.wait(lambda: environment.sql(OPEN, parameters)[0][0] == 0, every=0.05)
        seconds = time.perf_counter() - start
    finally:
        environment.sql(END_TROUBLE)
    results = environment.sql(LATENCIES, parameters)
    expected, filled = len(healthy) * len(signals), sum(is_filled for _, is_filled, _ in results)
    if not len(results) == filled == expected:
        raise BenchError(f"{expected} orders of healthy accounts, {filled} filled")
    # until the failing accounts' last calls have ended and their orders are resolved
    environment.wait(environment.nothing_open)
    environment.reset()
    environment.sql(MARK_HEALTHY)
    data.refresh()
    entries, exits = ([float(ms) for is_exit, _, ms in results if is_exit is which]
                      for which in (False, True))  # fmt: skip
    return Run((percentile(entries, 99), percentile(exits, 99)), entries, seconds)
