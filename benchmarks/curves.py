"""Curves: how the time of an order changes with connections, with stored orders and with workers.

Each point is stored at once in `bench/curves.json` of the installation's folder, so a run that was
interrupted continues with the next point. Delete the file, or one point of it, to measure again.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import curve_workers, fanout, linear, pages, process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.results import Baseline, Result, machine

FILE = "curves.json"
CONNECTIONS = (100, 1_000, 10_000, 100_000)
ORDERS = (10_000, 100_000, 1_000_000, 10_000_000)
WORKERS = (1, 2, 4, 8)
LINEAR, PAGES_GROWTH = 1.3, 2.0
FANOUT = 1_000  # connections of each fan-out beside stored orders
ACCOUNTS = 10_000  # that the stored orders belong to
SHORT_SECONDS = 3.0  # a short fan-out varies most, so it is repeated for so long
Point = dict[str, Any]


class Points:
    """The stored points of one curve."""

    def __init__(self, environment: BenchEnvironment, curve: str) -> None:
        self._path: Path = environment.stack.folder.parent / FILE
        self._curve = curve

    def all(self) -> dict[int, Point]:
        """Return every stored point by its size."""
        found = self._read().get(self._curve, {})
        return {int(size): point for size, point in found.items()}

    def measured(self, sizes: Sequence[int], measure: Callable[[int], Point]) -> dict[int, Point]:
        """Measure the sizes that are not stored, the smallest first; return those of `sizes`."""
        for size in sizes:
            if size in self.all():
                report_progress(f"  {self._curve} {size:,}: measured already")
                continue
            report_progress(f"  {self._curve} {size:,} …")
            facts = machine()
            self._store(size, {
                **measure(size), "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "load_before": facts["load"],
            })  # fmt: skip
            report_progress(f"  {self._curve} {size:,}: {self.all()[size]}")
        return {size: self.all()[size] for size in sizes}

    def _store(self, size: int, point: Point) -> None:
        stored = self._read()
        stored.setdefault(self._curve, {})[str(size)] = point
        stored["machine"] = machine()
        self._path.write_text(json.dumps(stored, indent=1) + "\n")

    def _read(self) -> dict[str, Any]:
        with suppress(FileNotFoundError):
            stored: dict[str, Any] = json.loads(self._path.read_text())
            return stored
        return {}


def sizes_up_to(most: int, usual: Sequence[int]) -> list[int]:
    """Return the usual sizes up to `most`, or `most` alone if it is less than all of them."""
    return [size for size in usual if size <= most] or [most]


# ---- connections a signal ---------------------------------------------------------------------
def connections(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure fan-outs to a hundred connections and more, up to `count`."""
    sizes = sizes_up_to(count, CONNECTIONS)
    points = Points(environment, "connections")
    if all(size in points.all() for size in sizes):
        found = points.all()
    else:
        environment.run(workers=0)
        with linear.patience(environment):
            environment.run(workers=2)
            with fanout.trade_history(environment, data, min(sizes[-1], FANOUT)):
                found = points.measured(sizes, lambda size: _fan_outs(environment, data, size))
    return _result("curve_connections", [found[size] for size in sizes], sizes, LINEAR)


def _fan_outs(environment: BenchEnvironment, data: BenchData, count: int) -> Point:
    environment.reset()
    fanout.ours(environment, data, min(count, linear.WARM))  # warm-up
    meter = process_usage.Meter(environment.pids)
    seconds: list[float] = []
    while sum(seconds) < SHORT_SECONDS or len(seconds) < environment.rounds:
        environment.reset()
        fanout.plan_statements(environment, data, count)
        seconds.append(fanout.ours(environment, data, count, meter).seconds)
        if seconds[-1] > 10 * SHORT_SECONDS:  # a long one varies little
            break
    mb = process_usage.memory_mb(environment.pids())
    environment.reset()
    middle = statistics.median(seconds)
    return {"seconds": middle, "rounds": len(seconds), "us_an_order": 1e6 * middle / count,
            **_cpu(meter), "mb": sum(mb.values()), "mb_postgres": mb["postgres"]}  # fmt: skip


# ---- orders in the tables ---------------------------------------------------------------------
def orders(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure fan-outs and pages with ten thousand finished orders and more, up to `count`."""
    sizes = sizes_up_to(max(count, pages.FEWEST), ORDERS)  # each tenant needs a trade
    points = Points(environment, "orders")
    if all(size in points.all() for size in sizes):
        found = points.all()
    else:
        environment.run(workers=0)
        environment.reset()
        with pages.many_orders(environment, data, min(sizes[-1], ACCOUNTS), sizes[-1]) as history:
            found = points.measured(sizes, lambda size: _beside(environment, data, history, size))
        environment.run(workers=0)
        environment.reset()
    return _result("curve_orders", [found[size] for size in sizes], sizes, PAGES_GROWTH)


def _beside(
    environment: BenchEnvironment, data: BenchData, history: pages.History, count: int
) -> Point:
    """Write orders until there are `count`; measure pages, then fan-outs and their exits."""
    environment.run(workers=0)
    history.write(count)
    found = history.measure()
    environment.run(workers=2)
    fan_out = min(FANOUT, count)
    meter = process_usage.Meter(environment.pids)
    seconds: list[float] = []
    for number in range(environment.rounds + 1):
        run = fanout.ours(environment, data, fan_out, meter if number else None)
        seconds += [run.seconds] if number else []  # the first one is the warm-up
        fanout.publish_as_web(data.close(run.signal), data)
        environment.wait(environment.nothing_open)
    environment.run(workers=0)
    took = [one.median for one in found.values()]
    middle = statistics.median(seconds)
    return {"seconds": middle, "us_an_order": 1e6 * middle / fan_out, **_cpu(meter),
            "page_median_ms": statistics.median(took), "page_slowest_ms": max(took),
            **history.sizes()}  # fmt: skip


# ---- workers ----------------------------------------------------------------------------------
def workers(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure sustained trading with one worker for entries and more, up to `count`."""
    sizes = sizes_up_to(count, WORKERS)
    points = Points(environment, "workers")
    found = points.measured(sizes, lambda size: curve_workers.measure(environment, data, size))
    return _result("curve_workers", [found[size] for size in sizes], sizes, LINEAR)


def _cpu(meter: process_usage.Meter) -> dict[str, float]:
    each = meter.us_each
    entries = sum(us for name, us in each.items() if name.startswith("execution"))
    return {"cpu_us": meter.us_in_all, "cpu_us_postgres": each.get("postgres", 0.0),
            "cpu_us_entries": entries}  # fmt: skip


def _result(name: str, points: Sequence[Point], sizes: Sequence[int], target: float) -> Result:
    """Compare an order's time at the largest size with the least of all sizes."""
    last, least = points[-1], min(point["us_an_order"] for point in points)
    ratio = last["us_an_order"] / least
    return Result(
        name=name,
        n=sizes[-1],
        seconds=last["seconds"],
        rate=1e6 / last["us_an_order"],
        p50_ms=None,
        p99_ms=None,
        baseline=Baseline("the least of all sizes", least / 1e6, 1e6 / least),
        ratio=ratio,
        target=target,
        ok=ratio <= target,
        half=ratio <= 2 * target,
        detail={"points": dict(zip(map(str, sizes), points, strict=True))},
    )
