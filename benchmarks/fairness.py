"""Fairness: does any account always wait longer than the others?

Signals are published to the same accounts: all at once, so that they queue, and each when the one
before has been executed, so that an account waits only for its place in the signal. Compared are
the accounts' mean waits, from the publication to the commit of the fill. The baseline is what the
same waits would be if each signal were executed in one fixed order of the accounts.
"""

import contextlib
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Baseline, Result, bounded, percentile
from benchmarks.trading import check, fan_out, publish_as_web
from connections.models import TradingPreset

SIGNALS, TARGET = 50, 1.1
MOST_QUEUED = 200  # accounts: 50 signals to more are not all executed before they are too old

# The wait of each order in milliseconds: by signal, then by account.
WAITS = """
SELECT array_agg(extract(epoch FROM o.done_at - p.at)::float8 * 1000 ORDER BY o.connection_id)
FROM execution_order o JOIN (SELECT signal_id, min(created_at) AS at FROM execution_order
  GROUP BY signal_id) p USING (signal_id)
WHERE o.status = 'FILLED' GROUP BY o.signal_id ORDER BY o.signal_id
"""
ROOM = {"max_open_positions": 10 * SIGNALS, "max_portfolio_risk_percent": 100}

QUEUED, IN_TURN = "queued", "in_turn"
Waits = Sequence[Sequence[float]]  # by signal, then by account


def fairness(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Publish signals to `count` accounts; compare the accounts' mean waits."""
    environment.run(workers=2)
    environment.reset()
    fan_out(environment, data, count)  # warm-up
    runs: dict[str, list[Waits]] = {QUEUED: [], IN_TURN: []}
    with _room_for_all():
        for number in range(environment.rounds):
            for how, waits in runs.items():
                environment.reset()
                queued = how == QUEUED
                accounts = min(count, MOST_QUEUED) if queued else count
                waits.append(_waits(environment, data, accounts, queued=queued))
            spreads = ", ".join(
                f"{how} {_spread(_means(run[-1])):.3f}" for how, run in runs.items()
            )
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


@contextlib.contextmanager
def _room_for_all() -> Iterator[None]:
    """Let each account hold the positions of all signals meanwhile."""
    usual = {name: getattr(TradingPreset(), name) for name in ROOM}
    TradingPreset.objects.update(**ROOM)
    try:
        yield
    finally:
        TradingPreset.objects.update(**usual)


def _means(waits: Waits) -> list[float]:
    """Return the mean wait of each account."""
    return [statistics.mean(of_account) for of_account in zip(*waits, strict=True)]


def _spread(means: Sequence[float]) -> float:
    return percentile(means, 99) / percentile(means, 50)


def _ratio(waits: Waits) -> float:
    return _spread(_means(waits))


def _result(count: int, runs: dict[str, Waits]) -> Result:
    worst = max(runs.values(), key=_ratio)
    means, fixed = _means(worst), _fixed(worst)
    ratio, seconds = _ratio(worst), sum(map(max, runs[IN_TURN])) / 1000
    return bounded(
        "fairness", count, ratio, target=TARGET, seconds=seconds, items=count * SIGNALS,
        times_ms=means,
        baseline=Baseline("the same waits in one fixed order of the accounts",
                          percentile(fixed, 99) / 1000, 1000 / percentile(fixed, 99)),
        unit="p99 / p50 of the accounts' mean waits",
        ways={how: _figures(waits) for how, waits in runs.items()},
    )  # fmt: skip


def _fixed(waits: Waits) -> list[float]:
    """Return the mean waits if each signal were executed in the same order of the accounts."""
    return _means([sorted(of_signal) for of_signal in waits])


def _figures(waits: Waits) -> dict[str, float]:
    means = _means(waits)
    return {
        "ratio": _ratio(waits), "fixed_order_ratio": _spread(_fixed(waits)),
        "p50_ms": percentile(means, 50), "p99_ms": percentile(means, 99),
    }  # fmt: skip
