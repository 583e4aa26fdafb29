"""The list of all benchmarks, and the function that runs them."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

from benchmarks.data import BenchData
from benchmarks.environment import USUAL_ROUNDS, BenchEnvironment, report_progress
from benchmarks.results import Result, as_json, machine
from config.installation import var_folder


class Bench(NamedTuple):
    """A benchmark. n: its usual count; minutes: about how long it takes on two idle cores.

    function: gets the environment and the data, if it shares the stack with others, and n.
    """

    function: str
    n: int
    minutes: float
    what: str
    shares_stack: bool = True


BENCHES: dict[str, Bench] = {
    "publish": Bench("publishing.publish", 1_000, 0.3, "the publication of a signal"),
    "analytics": Bench("analytics.analytics", 1_000, 0.5, "one day's results of all connections"),
    # In order of their number of workers (one, two, none), since another one needs a new stack.
    "sustained_one": Bench("sustained.one", 10_000, 1, "orders a second of one worker"),
    "fanout": Bench("fanout.fanout", 1_000, 1.5, "one signal until its last fill is committed"),
    "idle": Bench("idle.idle", 150, 3, "CPU of the stack while nothing is open"),
    "killswitch": Bench("killswitch.killswitch", 1_000, 1, "a halt of queued orders"),
    "sustained": Bench("sustained.two", 10_000, 1, "orders a second of two workers"),
    "bulkhead": Bench("bulkhead.bulkhead", 1_000, 3, "healthy accounts beside failing ones"),
    "fairness": Bench("fairness.fairness", 1_000, 3, "whether an account always waits longer"),
    "slow_broker": Bench("slow_broker.slow_broker", 1_000, 1, "a broker that takes 100 ms"),
    "decisions": Bench("decisions.decisions", 1_000, 0.2, "sizing and limits of an order, no I/O"),
    "monitor": Bench("monitor.monitor", 1_000_000, 3, "reached levels of open positions"),
    "triggers": Bench("triggers.triggers", 10_000, 1.5, "quotes judged a second; exits' latency"),
    "latency": Bench("latency.latency", 30, 2, "signal to broker, report to row, of each adapter"),
    "peers": Bench("peers.bench.peers", 1_000, 4, "task queues beside Fillcast"),
    "pages": Bench("pages.pages", 1_000_000, 4, "portal, API and console with a million orders"),
    # last: what they leave behind keeps the workers busy
    "alert_endpoint": Bench("alert_endpoint.alert_endpoint", 60, 1.5, "500 alerts/s; n: seconds"),
    "curve_connections": Bench("curves.connections", 100_000, 4, "an order by its accounts"),
    "start": Bench("start.start", 3, 1, "the stack's start and memory; n: rounds", False),
    "recovery": Bench("recovery.recovery", 500, 2, "kill -9 of each process until settled", False),
}
# Measured by name only: they take long.
LONG: dict[str, Bench] = {
    "load": Bench("load.load", 30, 35, "trading beside readers: does anything grow? n: minutes"),
    "curve_workers": Bench("sustained.workers", 8, 4, "orders a second by workers"),
    "curve_orders": Bench("curves.orders", 10_000_000, 60, "an order and a page by stored orders"),
    "sinks": Bench("sinks.sinks", 1_000, 10, "trading beside deliveries to buses"),
}  # fmt: skip
NAMES = [*BENCHES]
# With small numbers, for each run of the tests: their functions are counted, not timed, so that a
# slow or busy machine finds the same figure.
SMALL, SMALL_ROUNDS = {"decisions": 500}, 2


def described() -> str:
    return "\n".join(
        f"  {name:18}{one.n:>11,}{one.minutes:>6g} min  {one.what}"
        + (" (by name only)" if name in LONG else "")
        for name, one in (BENCHES | LONG).items()
    )


def run(
    names: Sequence[str], counts: int | Mapping[str, int] | None, rounds: int = USUAL_ROUNDS
) -> tuple[dict[str, Any], list[Result]]:
    """Run benchmarks in the given order; return the machine's facts and the results.

    counts: replaces the usual count of each benchmark, or of those that it names. The JSON line of
    the results is stored in bench/latest.json of the installation's folder, after each benchmark.
    """
    facts = machine()
    folder = var_folder(os.environ) / "bench"  # before a benchmark changes the environment
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    with ExitStack() as stack:
        shared: tuple[Any, ...] = ()
        for name in names:
            bench = (BENCHES | LONG)[name]
            given = counts.get(name) if isinstance(counts, Mapping) else counts
            count, began = given or bench.n, time.monotonic()
            report_progress(f"{name}, n = {count:,}")
            if bench.shares_stack and not shared:
                environment = stack.enter_context(BenchEnvironment(rounds))
                shared = (environment, BenchData(environment))
            module, _, function = bench.function.rpartition(".")
            measure = getattr(import_module(f"benchmarks.{module}"), function)
            result = measure(*(shared if bench.shares_stack else ()), count)
            results.append(replace(result, took_s=time.monotonic() - began))
            report_progress(_describe(result))
            (folder / "latest.json").write_text(f"{as_json(facts, results)}\n")
    return facts, results


def _describe(result: Result) -> str:
    against = result.baseline.name if result.baseline else "the target"
    return (
        f"  {result.seconds:.3f} s, {result.rate:,.0f}/s: {result.ratio:.3g} × {against}"
        f" (target {result.target:g}: {result.verdict})"
    )
