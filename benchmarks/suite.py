"""The list of all benchmarks, and the function that runs them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import (
    alert_endpoint,
    analytics,
    bulkhead,
    crypto,
    curves,
    decisions,
    events,
    fairness,
    fanout,
    flame,
    footprint,
    ibkr,
    idle,
    imports,
    killswitch,
    latency,
    linear,
    load,
    memory,
    monitor,
    mt4,
    mt4_watch,
    mt5,
    order_steps,
    pages,
    paper,
    publishing,
    rate_limits,
    recovery,
    session_worker,
    sinks,
    slow_broker,
    start,
    sustained,
    sweep,
    triggers,
)
from benchmarks.data import BenchData
from benchmarks.environment import USUAL_ROUNDS, BenchEnvironment, report_progress
from benchmarks.peers.bench import peers
from benchmarks.results import Result, as_json, from_json, machine
from config.installation import var_folder

Bench = Callable[[BenchEnvironment, BenchData, int], Result]
BENCHES: dict[str, tuple[Bench, int]] = {  # name → (function, usual n)
    "publish": (publishing.publish, 1_000),
    "analytics": (analytics.analytics, 1_000),
    # In order of their number of workers (one, two, none), since fewer workers need a new stack.
    "sustained_one": (sustained.one, 10_000),
    "fanout": (fanout.fanout, 1_000),
    "memory": (memory.memory, 1_000),
    "idle": (idle.idle, 150),
    "killswitch": (killswitch.killswitch, 1_000),
    "sustained": (sustained.two, 10_000),
    "linear": (linear.ten_thousand, 10_000),
    "bulkhead": (bulkhead.bulkhead, 1_000),
    "fairness": (fairness.fairness, 1_000),
    "slow_broker": (slow_broker.slow_broker, 1_000),
    "decisions": (decisions.decisions, 1_000),
    "events": (events.events, 70_000),
    "sweep": (sweep.sweep, 200_000),
    "monitor": (monitor.monitor, 100_000),
    "triggers": (triggers.triggers, 10_000),
    "ibkr": (ibkr.overhead, 1_000),
    "ibkr_events": (ibkr.events, 200),
    "ibkr_memory": (ibkr.memory, 50),
    "ibkr_reconnect": (ibkr.reconnect, 50),
    "paper": (paper.overhead, 1_000),
    "latency": (latency.latency, 30),
    "peers": (peers, 1_000),
    "pages": (pages.pages, 1_000_000),
    "monitor_million": (monitor.million, 1_000_000),
    # last: what they leave behind keeps the workers busy
    "alert_endpoint": (alert_endpoint.slow, 60),  # seconds
    "alert_endpoint_500": (alert_endpoint.fast, 60),
    "fanout_100000": (linear.hundred_thousand, 100_000),  # and its accounts, which are read
}
ALONE: dict[str, tuple[Callable[[int], Result], int]] = {  # benchmarks that need no stack
    "imports": (imports.imports, 7),
    "budget": (rate_limits.budget, 20_000),
    "mt5": (mt5.overhead, 1_000),
    "mt4": (mt4.overhead, 500),
    "mt5_dwx": (mt4.overhead_5, 500),
    "mt4_memory": (mt4.memory, 200),
    "mt4_watch": (mt4_watch.watch, 200),
    "session_worker_memory": (session_worker.memory, 50),
    "start": (start.start, 3),
    "recovery": (recovery.recovery, 500),
    "crypto": (crypto.overhead, 1_000),
}
# Measured by name only: most take half an hour and more, and the last two show where time goes.
LONG: dict[str, tuple[Bench, int]] = {
    "load": (load.load, 30),  # minutes
    "curve_workers": (curves.workers, 8),
    "curve_connections": (curves.connections, 100_000),
    "curve_orders": (curves.orders, 10_000_000),
    "footprint": (footprint.footprint, 10_000),
    "sinks": (sinks.sinks, 1_000),
    "order_steps": (order_steps.order_steps, 1_000),
    "flame": (flame.flame, 20),  # seconds
}
NAMES = [*BENCHES, *ALONE]
# With small numbers, for each run of the tests: their functions are counted, not timed, so that a
# slow or busy machine finds the same figure.
SMALL, SMALL_ROUNDS = {"decisions": 500}, 2


def run(
    names: Sequence[str],
    counts: int | Mapping[str, int] | None,
    rounds: int = USUAL_ROUNDS,
    *,
    keeps_others: bool = False,
) -> tuple[dict[str, Any], list[Result]]:
    """Run benchmarks in the given order; return the machine's facts and the results.

    counts: replaces the usual count of each benchmark, or of those that it names. The JSON line of
    the results is stored in bench/latest.json of the installation's folder, after each benchmark,
    since all of them take half an hour. keeps_others: results that are there from this machine, of
    benchmarks that are not run now, stay.
    """
    facts = machine()
    folder = var_folder(os.environ) / "bench"  # before a benchmark changes the environment
    results = _stored_of_others(folder, facts, names) if keeps_others else []
    with ExitStack() as stack:
        stacked: tuple[BenchEnvironment, BenchData] | None = None
        for name in names:
            count = counts.get(name) if isinstance(counts, Mapping) else counts
            began = time.monotonic()
            if name in ALONE:
                alone, usual_n = ALONE[name]
                report_progress(f"{name}, n = {count or usual_n:,}")
                result = alone(count or usual_n)
            else:
                bench, usual_n = (BENCHES | LONG)[name]
                if stacked is None:
                    environment = stack.enter_context(BenchEnvironment(rounds))
                    stacked = environment, BenchData(environment)
                report_progress(f"{name}, n = {count or usual_n:,}")
                result = bench(*stacked, count or usual_n)
            results.append(replace(result, took_s=time.monotonic() - began))
            report_progress(_describe(result))
            _save(as_json(facts, results), folder)
    return facts, results


def _stored_of_others(folder: Path, facts: dict[str, Any], names: Sequence[str]) -> list[Result]:
    path = folder / "latest.json"
    stored = from_json(path.read_text(), facts) if path.exists() else []
    return [result for result in stored if result.name not in names]


def _describe(result: Result) -> str:
    against = result.baseline.name if result.baseline else "the target"
    return (
        f"  {result.seconds:.3f} s, {result.rate:,.0f}/s: {result.ratio:.3g} × {against}"
        f" (target {result.target:g}: {result.verdict})"
    )


def _save(output: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(f"{output}\n")
