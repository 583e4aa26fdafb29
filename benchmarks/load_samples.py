"""What `load` reads every few seconds, on a thread and a database session of its own, and whether
it grows."""

import math
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import fmean, linear_regression
from typing import Any, NamedTuple, Self

import psycopg

from benchmarks import process_usage
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.programs import Program
from benchmarks.results import percentile
from execution.metrics import GAUGES

EVERY_SECONDS = 10.0
SETTLED_SECONDS = 10.0  # signals are read so long after their publication
# Caches fill in the first minutes: plans, PostgreSQL's buffers, and at full size until the tenth
# the 10,000 orders that adapters keep.
WARM_SECONDS, WARM_SHARE = 600.0, 1 / 3  # the shorter of both is left out
# Flat: what the samples prove of a growth (the slope less twice its standard error) is at most so
# much, and they would have shown more: what the slope may be off is no more either.
MEMORY_SHARE_AN_HOUR = 0.02
UNKNOWN = 1e6  # the uncertainty of a line through two samples
PAGES_P99_MS = 300.0
HOUR = 3600.0
(DUE,) = (gauge.statement() for gauge in GAUGES if gauge.name == "order_due_seconds")
ORDERS = """
SELECT extract(epoch FROM coalesce(o.filled_at, o.done_at) - s.published_at)::float8 * 1000
FROM execution_order o JOIN signals_signal s ON s.id = o.signal_id
WHERE o.signal_id = ANY(%s) AND s.action = 'OPEN'
UNION ALL
SELECT extract(epoch FROM coalesce(o.filled_at, o.done_at) - s.published_at)::float8 * 1000
FROM signals_signal s JOIN positions_executionposition p ON p.signal_id = s.refers_to_id
JOIN execution_order o ON o.position_id = p.id AND o.leg LIKE 'close%%'
WHERE s.id = ANY(%s) AND s.action = 'CLOSE'
"""
Sample = dict[str, Any]


class Sampler:
    """Samples until it is stopped.

    published: signal ids and their times. pages: milliseconds of all pages after the first minutes;
    failed_pages: how many were not answered with 200.
    """

    def __init__(self, environment: BenchEnvironment, readers: Program) -> None:
        self.samples: list[Sample] = []
        self.published: list[tuple[float, int]] = []
        self.pages: list[tuple[float, float]] = []
        self.failed_pages = 0
        self._environment, self._readers = environment, readers
        self._database = psycopg.connect(environment.stack.environ["DATABASE_URL"], autocommit=True)
        self._database.execute("SET jit = off")
        self._read_to = 0
        self._over = threading.Event()
        self._began = time.monotonic()
        self._thread = ThreadPoolExecutor(1)
        self._sampling: Future[None] = self._thread.submit(self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, also after an error elsewhere: the process could not end without that."""
        self._over.set()
        self._thread.shutdown()
        self._database.close()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def expect_running(self) -> None:
        """Raise what has ended the thread, if it has ended."""
        if self._sampling.done():
            self._sampling.result()

    def stop(self) -> None:
        """End the thread and take a last sample. Raises what the thread raised."""
        self._over.set()
        self._sampling.result()
        self._take()

    def _run(self) -> None:
        due = EVERY_SECONDS
        while not self._over.wait(max(due - self.seconds, 0.0)):
            self._take()
            due += EVERY_SECONDS

    def _take(self) -> None:
        at, pids = self.seconds, self._environment.pids()
        requests = self._readers.ask()
        took = [milliseconds for _, milliseconds, status in requests if status == 200]
        self.pages += [(at, one) for one in took]
        self.failed_pages += len(requests) - len(took)
        sample: Sample = {
            "at": round(at, 1), "load": round(os.getloadavg()[0], 2),
            "mb": {name: round(mb, 2) for name, mb in process_usage.memory_mb(pids).items()},
            "database_sessions": process_usage.database_sessions(pids["postgres"]),
            "due_s": round(self._due(), 3), "pages": _times(took), "orders": self._orders(at),
        }  # fmt: skip
        self.samples.append(sample)
        shown = {name: sample[name] for name in ("due_s", "orders", "pages", "load")}
        report_progress(f"  {at:6.0f} s: {sum(sample['mb'].values()):.0f} MB, {shown}")

    def _due(self) -> float:
        ((seconds,),) = self._database.execute(DUE.encode()).fetchall()
        return float(seconds)

    def _orders(self, at: float) -> Sample:
        """Return what became of the orders of signals that were published some seconds ago."""
        ready = [pk for when, pk in self.published[self._read_to :] if when <= at - SETTLED_SECONDS]
        self._read_to += len(ready)
        rows = self._database.execute(ORDERS, [ready, ready]).fetchall()
        return _times([ms for (ms,) in rows if ms is not None]) | {"signals": len(ready)}


def settled(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples after the first minutes; all of them if too few are left."""
    warm = min(WARM_SECONDS, samples[-1]["at"] * WARM_SHARE)
    found = [one for one in samples if one["at"] >= warm and one["orders"]["signals"]]
    return found if len(found) >= 3 else list(samples)


class Trend(NamedTuple):
    """A line through samples. an_hour: how much it rises; uncertainty: twice its standard error."""

    mean: float
    an_hour: float
    uncertainty: float

    @property
    def at_least(self) -> float:
        """The growth an hour that the samples prove."""
        return max(self.an_hour - self.uncertainty, 0.0)


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the line of least squares through `values` at these times."""
    count = len(values)
    if count < 3:
        return Trend(fmean(values) if values else 0.0, 0.0, math.inf)
    slope, start = linear_regression(seconds, values)
    middle = fmean(seconds)
    spread = sum((at - middle) ** 2 for at in seconds)
    rest = sum((value - start - slope * at) ** 2 for at, value in zip(seconds, values, strict=True))
    return Trend(fmean(values), HOUR * slope, 2 * HOUR * math.sqrt(rest / (count - 2) / spread))


def memory_of(samples: Sequence[Sample]) -> Trend:
    """Return how the memory of all processes changes over the samples, in MB."""
    return trend([one["at"] for one in samples], [sum(one["mb"].values()) for one in samples])


def bars_of(samples: Sequence[Sample], pages: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Return each figure with its bar; less is better. pages: milliseconds."""
    memory = memory_of(samples)
    unsure = min(memory.uncertainty / memory.mean, UNKNOWN)
    return {
        "memory_uncertain_share": (unsure, MEMORY_SHARE_AN_HOUR),
        "memory_share_an_hour": (memory.at_least / memory.mean, MEMORY_SHARE_AN_HOUR),
        "pages_p99_ms": (percentile(pages, 99) if pages else 0.0, PAGES_P99_MS),
    }  # fmt: skip


def _times(milliseconds: list[float]) -> Sample:
    found = {f"p{percent}_ms": round(percentile(milliseconds, percent), 1) if milliseconds else None
             for percent in (50, 99)}  # fmt: skip
    return {"count": len(milliseconds), **found}
