"""Curves: how the time of an order changes with its connections, stored orders and workers.

Each point is stored at once in `bench/curves.json` of the installation's folder, beside those of
the other curves; `make plots` draws them.
"""

import contextlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import pages, process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.results import Baseline, Result, bounded, machine
from benchmarks.trading import fan_out, plan_statements, publish_as_web, trade_history
from common.operational.source import VARIABLE, with_settings

FILE = "curves.json"
CONNECTIONS = (100, 1_000, 10_000, 100_000)
ORDERS = (10_000, 100_000, 1_000_000, 10_000_000)
WORKERS = (1, 2, 4, 8)
LINEAR = 1.1  # of the time of an order of a thousand
GROWTH = 2.0  # of the least of all sizes
FANOUT = 1_000  # connections of each fan-out beside stored orders
ACCOUNTS = 10_000  # that the stored orders belong to
WARM = 10_000  # connections of the first, unmeasured fan-out, at most
SHORT_SECONDS = 3.0  # a short fan-out varies most, so it is repeated for so long
# Entries of a large signal are sent for longer than a minute.
PATIENCE = {"execution.market_entry_max_age_seconds": 600}
Point = dict[str, Any]


def curve(
    environment: BenchEnvironment, name: str, usual: Sequence[int], most: int,
    measure: Callable[[int], Point], *, target: float = GROWTH, against: int | None = None,
) -> Result:  # fmt: skip
    """Measure the usual sizes up to `most`, the smallest first, and store each.

    Compared is the longest time of an order, of all sizes, with that of the size `against`, of
    larger ones only; without it the time at the largest size with the least.
    """
    sizes = [size for size in usual if size <= most] or [most]
    points: dict[int, Point] = {}
    for size in sizes:
        report_progress(f"  {name} {size:,} …")
        load = machine()["load"]
        points[size] = {**measure(size), "load_before": load}
        report_progress(f"  {name} {size:,}: {points[size]}")
        _store(environment, name, points)
    each = {size: point["us_an_order"] for size, point in points.items()}
    last, least = each[sizes[-1]], min(each.values())
    if against in each:
        least, larger = each[against], [size for size in sizes if size > against]
        last = max((each[size] for size in larger), default=least)
    what = f"an order of {against:,}" if against in each else "the least of all sizes"
    return bounded(
        f"curve_{name}", sizes[-1], last / least, target=target,
        seconds=points[sizes[-1]]["seconds"], items=points[sizes[-1]]["seconds"] * 1e6 / last,
        baseline=Baseline(what, least / 1e6, 1e6 / least), points=points,
    )  # fmt: skip


def _store(environment: BenchEnvironment, name: str, points: Mapping[int, Point]) -> None:
    path = environment.stack.folder.parent / FILE
    stored: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        stored = json.loads(path.read_text())
    stored |= {"machine": machine(), name: {str(size): one for size, one in points.items()}}
    path.write_text(json.dumps(stored, indent=1) + "\n")


def cpu_of(meter: process_usage.Meter) -> dict[str, float]:
    """Return the microseconds of CPU of an order: of all processes, and of the largest two."""
    each = meter.us_each
    entries = sum(us for name, us in each.items() if name.startswith("execution"))
    return {"cpu_us": meter.us_in_all, "cpu_us_postgres": each.get("postgres", 0.0),
            "cpu_us_entries": entries}  # fmt: skip


# ---- connections a signal ---------------------------------------------------------------------
def connections(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    environment.run(workers=0)
    settings = with_settings(environment.stack.environ.get(VARIABLE, ""), PATIENCE)
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment.more_environ({VARIABLE: settings}))
        stack.callback(environment.run, workers=0)
        environment.run(workers=2)
        with trade_history(data, min(count, FANOUT)):
            fan_out(data, min(count, WARM))
            return curve(
                environment, "connections", CONNECTIONS, count,
                lambda size: _fan_outs(environment, data, size), target=LINEAR, against=FANOUT,
            )  # fmt: skip


def _fan_outs(environment: BenchEnvironment, data: BenchData, count: int) -> Point:
    meter = process_usage.Meter(environment.pids)
    seconds: list[float] = []
    while sum(seconds) < SHORT_SECONDS or len(seconds) < environment.rounds:
        environment.reset()
        plan_statements(data, count)
        seconds.append(fan_out(data, count, meter).seconds)
        if seconds[-1] > 5 * SHORT_SECONDS:  # a long one varies little
            break
    environment.reset()
    middle = statistics.median(seconds)
    return {"seconds": middle, "us_an_order": 1e6 * middle / count, **cpu_of(meter)}


# ---- orders in the tables ---------------------------------------------------------------------
def orders(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    count = max(count, pages.FEWEST)  # each tenant needs a trade
    environment.run(workers=0)
    environment.reset()
    try:
        with pages.many_orders(environment, data, min(count, ACCOUNTS), count) as history:
            return curve(environment, "orders", ORDERS, count,
                         lambda size: _beside(environment, data, history, size))  # fmt: skip
    finally:
        environment.run(workers=0)
        environment.reset()


def _beside(
    environment: BenchEnvironment, data: BenchData, history: pages.History, count: int
) -> Point:
    """Write orders until there are `count`; measure pages, then fan-outs and their exits."""
    environment.run(workers=0)
    history.write(count)
    took = [one.median for one in history.measure().values()]
    environment.run(workers=2)
    accounts, seconds = min(FANOUT, count), list[float]()
    meter = process_usage.Meter(environment.pids)
    for number in range(environment.rounds + 1):
        run = fan_out(data, accounts, meter if number else None)
        seconds += [run.seconds] if number else []  # the first one is the warm-up
        publish_as_web(data.close(run.signal), data)
        environment.wait(environment.nothing_open)
    middle = statistics.median(seconds)
    return {"seconds": middle, "us_an_order": 1e6 * middle / accounts, **cpu_of(meter),
            "page_median_ms": statistics.median(took)}  # fmt: skip
