"""Fairness: does any account always wait longer than the others?

Signals are published to the same accounts: all at once, so that they queue, and each when the one
before has been executed, so that an account waits only for its place in the signal. Compared are
the accounts' mean waits, from the publication to the commit of the fill. The baseline is what the
same waits would be if each signal were executed in one fixed order of the accounts.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Baseline, Result, bounded, percentile
from benchmarks.trading import check, fan_out, publish_as_web

SIGNALS, TARGET = 50, 1.1
MOST_QUEUED = 200  # accounts: 50 signals to more are not all executed before they are too old

# The wait of each order in milliseconds: by signal, then by account.
WAITS = """
SELECT array_agg(extract(epoch FROM o.done_at - p.at)::float8 * 1000 ORDER BY o.connection_id)
FROM execution_order o JOIN (SELECT signal_id, min(created_at) AS at FROM execution_order
  GROUP BY signal_id) p USING (signal_id)
WHERE o.status = 'FILLED' GROUP BY o.signal_id ORDER BY o.signal_id
"""
# So that an account may hold the positions of all signals.
ROOM: dict[str, Any] = {"max_open_positions": 10 * SIGNALS, "max_portfolio_risk_percent": 100}

QUEUED, IN_TURN = "queued", "in_turn"
Waits = Sequence[Sequence[float]]  # by signal, then by account


def fairness(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    environment.run(workers=2)
    environment.reset()
    fan_out(data, count)  # warm-up
    runs: dict[str, list[Waits]] = {QUEUED: [], IN_TURN: []}
    with data.presets_with(**ROOM):
        for number in range(environment.rounds):
            for how, waits in runs.items():
                environment.reset()
                queued = how == QUEUED
                accounts = min(count, MOST_QUEUED) if queued else count
                waits.append(_waits(environment, data, accounts, queued=queued))
            spreads = {how: round(_ratio(run[-1]), 3) for how, run in runs.items()}
            report_progress(f"  round {number + 1}: {spreads}")
    environment.reset()
    return _result(count, {how: sorted(of, key=_ratio)[len(of) // 2] for how, of in runs.items()})


def _waits(environment: BenchEnvironment, data: BenchData, count: int, *, queued: bool) -> Waits:
    signals = [data.signal(data.feed(count)) for _ in range(SIGNALS)]
    for signal in signals:
        publish_as_web(signal, data)
        if not queued:
            environment.wait(environment.nothing_open)
    environment.wait(environment.nothing_open, every=0.02)
    waits = [waits for (waits,) in environment.sql(WAITS)]
    if {len(of_signal) for of_signal in waits} != {count} or len(waits) != SIGNALS:
        for signal in signals:
            check(environment, signal, count)
        raise BenchError(f"{SIGNALS} signals for {count} accounts, not all filled")
    return waits


def _means(waits: Waits) -> list[float]:
    return [statistics.mean(of_account) for of_account in zip(*waits, strict=True)]


def _ratio(waits: Waits) -> float:
    return percentile(_means(waits), 99) / percentile(_means(waits), 50)


def _result(count: int, runs: dict[str, Waits]) -> Result:
    worst = max(runs.values(), key=_ratio)
    means, fixed = _means(worst), _means(_fixed(worst))
    ratio, seconds = _ratio(worst), sum(map(max, runs[IN_TURN])) / 1000
    return bounded(
        "fairness", count, ratio, target=TARGET, seconds=seconds, items=count * SIGNALS,
        times_ms=means,
        baseline=Baseline("the same waits in one fixed order of the accounts",
                          percentile(fixed, 99) / 1000, 1000 / percentile(fixed, 99)),
        unit="p99 / p50 of the accounts' mean waits",
        ways={how: _figures(waits) for how, waits in runs.items()},
    )  # fmt: skip


def _fixed(waits: Waits) -> Waits:
    """Return the waits if each signal were executed in the same order of the accounts."""
    return [sorted(of_signal) for of_signal in waits]


def _figures(waits: Waits) -> dict[str, float]:
    means = _means(waits)
    return {
        "ratio": _ratio(waits), "fixed_order_ratio": _ratio(_fixed(waits)),
        "p50_ms": percentile(means, 50), "p99_ms": percentile(means, 99),
    }  # fmt: skip
