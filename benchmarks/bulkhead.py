"""Whether some slow and failing accounts delay the others: the same load with them and without.

Several signals go out in a row to n accounts, and in the middle of them the CLOSE of one that was
filled before, so that entries and exits meet. In every second run 5 % of the accounts fail (half
refuse the line, half never answer) and 2 % answer after ten seconds. Compared is the time from
publication to fill of those accounts that are well in both runs.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from benchmarks import fanout
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Baseline, Result, percentile
from signals.models import Approval, Signal

SIGNALS, TARGET = 6, 1.5
FAILING, SLOW, SLOW_MS = 0.05, 0.02, 10_000

# The first accounts fail: odd ones cannot be reached, even ones take everything and say nothing.
# The next ones are slow.
BREAK = """
UPDATE paper_account a SET unreachable = x.n <= %(failing)s AND x.n %% 2 = 1,
  silent_after = x.n <= %(failing)s AND x.n %% 2 = 0,
  reply_delay_ms = CASE WHEN x.n > %(failing)s THEN %(ms)s ELSE 0 END
FROM (SELECT account, row_number() OVER (ORDER BY account) AS n FROM connections_executionconnection
  WHERE id = ANY(%(ids)s)) x
WHERE a.number = x.account AND x.n <= %(failing)s + %(slow)s
"""
RESTORE = """
UPDATE paper_account SET unreachable = false, silent_after = false, reply_delay_ms = 0
WHERE unreachable OR silent_after OR reply_delay_ms > 0
"""
ALL_WELL = """
UPDATE connections_connectionhealth SET status = 'ACTIVE', consecutive_failures = 0,
  last_error = '',
  failing_since = NULL, unreachable_at = NULL, read_after = NULL, circuit_open_until = NULL,
  reconciled_at = clock_timestamp()
WHERE status <> 'ACTIVE' OR consecutive_failures > 0 OR last_error <> ''
  OR failing_since IS NOT NULL
  OR unreachable_at IS NOT NULL OR reconciled_at IS NULL
"""
WELL = """
SELECT id FROM connections_executionconnection WHERE id = ANY(%(ids)s)
ORDER BY account OFFSET %(failing)s + %(slow)s
"""
OPEN = """
SELECT count(*) FROM execution_order
WHERE connection_id = ANY(%(well)s) AND signal_id = ANY(%(signals)s) AND done_at IS NULL
"""
LATENCIES = """
SELECT (o.position_id IS NOT NULL) AS is_exit, o.status = 'FILLED' AS is_filled,
  extract(epoch FROM o.filled_at - s.published) * 1000 AS ms
FROM execution_order o JOIN (SELECT * FROM unnest(%(signals)s::bigint[], %(times)s::float8[])
  AS t(id, at)) g ON g.id = o.signal_id, LATERAL (SELECT to_timestamp(g.at) AS published) s
WHERE o.connection_id = ANY(%(well)s)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run's milliseconds from publication to fill, of accounts that are always well."""

    entries: list[float]
    exits: list[float]
    seconds: float

    @property
    def p99(self) -> tuple[float, float]:
        """Of entries and of exits."""
        return percentile(self.entries, 99), percentile(self.exits, 99)


def bulkhead(environment: BenchEnvironment, data: BenchData, n: int) -> Result:
    """Runs with and without trouble in turn; the median of each kind's p99."""
    environment.run(workers=2)
    environment.reset()
    sizes = {"failing": round(n * FAILING), "slow": round(n * SLOW), "ms": SLOW_MS}
    ids = data.connections(n)
    well = [id_ for (id_,) in environment.sql(WELL, {**sizes, "ids": ids})]
    _run(environment, data, n, well)  # warm-up
    calm, troubled = [], []
    for number in range(environment.rounds):
        calm.append(_run(environment, data, n, well))
        troubled.append(_run(environment, data, n, well, {**sizes, "ids": ids}))
        report_progress(
            f"  round {number + 1}: p99 {_words(calm[-1])}; with trouble {_words(troubled[-1])}"
        )
    # Each process writes once a second what its calls met: its last word may come after the
    # orders have ended, and the next bench would find accounts in error.
    environment.run(workers=0)
    environment.sql(ALL_WELL)
    entries, exits = _ratio(troubled, calm, 0), _ratio(troubled, calm, 1)
    seconds, calm_seconds = (statistics.median(r.seconds for r in x) for x in (troubled, calm))
    orders = len(well) * (SIGNALS + 1)
    spread = [ms for run in troubled for ms in run.entries]
    return Result(
        name="bulkhead",
        n=n,
        seconds=seconds,
        rate=orders / seconds,
        p50_ms=percentile(spread, 50),
        p99_ms=statistics.median(run.p99[0] for run in troubled),
        baseline=Baseline("the same without slow and failing accounts", calm_seconds,
                          orders / calm_seconds),
        ratio=max(entries, exits),
        target=TARGET,
        ok=max(entries, exits) <= TARGET,
        half=max(entries, exits) <= 2 * TARGET,
        detail={
            "failing": sizes["failing"], "slow": sizes["slow"], "signals": SIGNALS,
            "entries_ratio": entries, "exits_ratio": exits,
            "entries_p99_ms": [run.p99[0] for run in troubled],
            "entries_p99_ms_without": [run.p99[0] for run in calm],
            "exits_p99_ms": [run.p99[1] for run in troubled],
            "exits_p99_ms_without": [run.p99[1] for run in calm],
        },
    )  # fmt: skip


def _words(run: Run) -> str:
    return "entries {:.0f} ms, exits {:.0f} ms".format(*run.p99)


def _ratio(troubled: Sequence[Run], calm: Sequence[Run], which: int) -> float:
    return statistics.median(r.p99[which] for r in troubled) / statistics.median(
        r.p99[which] for r in calm
    )


def _run(
    environment: BenchEnvironment,
    data: BenchData,
    n: int,
    well: list[Any],
    trouble: dict[str, Any] | None = None,
) -> Run:
    """Fill one signal, then publish more and close the first among them."""
    first = data.signal(data.feed(n))
    fanout.publish_as_web(first, data)
    environment.wait(environment.nothing_open)
    signals = [data.signal(data.feed(n)) for _ in range(SIGNALS)]
    signals.insert(SIGNALS // 2, _close(first))
    if trouble:
        environment.sql(BREAK, trouble)
    try:
        start, times = time.perf_counter(), []
        for signal in signals:
            times.append(time.time())
            fanout.publish_as_web(signal, data)
        asked = {"well": well, "signals": [s.pk for s in signals], "times": times}
        environment.wait(lambda: environment.sql(OPEN, asked)[0][0] == 0, every=0.05)
        seconds = time.perf_counter() - start
    finally:
        environment.sql(RESTORE)
    found = environment.sql(LATENCIES, asked)
    if len(found) != len(well) * len(signals) or not all(is_filled for _, is_filled, _ in found):
        filled = sum(is_filled for _, is_filled, _ in found)
        raise BenchError(f"{len(well) * len(signals)} orders of healthy accounts, {filled} filled")
    environment.wait(
        environment.nothing_open
    )  # the others' last calls have ended, their orders are looked up
    environment.reset()
    environment.sql(ALL_WELL)
    data.refresh()
    exits = [float(ms) for is_exit, _, ms in found if is_exit]
    return Run([float(ms) for is_exit, _, ms in found if not is_exit], exits, seconds)


def _close(of: Signal) -> Signal:
    return Signal.objects.create(
        feed=of.feed, action="CLOSE", refers_to=of, currency_pair=of.currency_pair,
        direction=of.direction, close_fraction=Decimal(1), approval=Approval.APPROVED,
    )  # fmt: skip
