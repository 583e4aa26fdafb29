"""One side of the comparison: who publishes, and what was measured of it."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment
from benchmarks.process_usage import Pids
from benchmarks.programs import Program
from benchmarks.trading import check
from signals.models import Signal

WAIT_SECONDS = 240
FILLED = "SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'"
ORDERS = "SELECT count(*) FROM execution_order WHERE signal_id = %s"


@dataclass(slots=True)
class Runs:
    """What was measured of one side, all rounds together. pids: of its processes now."""

    count: int
    pids: Callable[[], Pids] = dict
    seconds: list[float] = field(default_factory=list)
    kill: dict[str, Any] = field(default_factory=dict)
    memory_mb: float = 0.0
    meter: process_usage.Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = process_usage.Meter(lambda: self.pids())

    def row(self) -> dict[str, Any]:
        """Return what the result states of it."""
        seconds = statistics.median(self.seconds)
        killed = {"after_kill_9": self.kill} if self.kill else {}
        return {
            "n": self.count, "seconds": seconds, "orders_s": self.count / seconds,
            "rounds_s": self.seconds, "cpu_us_an_order": self.meter.us_in_all,
            "cpu_us_by_process": self.meter.us_each, **killed,
        }  # fmt: skip


@dataclass(slots=True)
class Side:
    """Where a side runs, and who publishes to it."""

    environment: BenchEnvironment
    data: BenchData
    publisher: Program

    def publish(self, count: int) -> tuple[Signal, list[UUID]]:
        """Begin to publish a new signal to `count` accounts."""
        signal, accounts = self.data.signal(self.data.feed(count)), self.data.connections(count)
        self.publisher.write([signal.pk, [*map(str, accounts)]])
        return signal, accounts

    def filled(self, signal: Signal) -> int:
        """Return how many orders of a signal are filled."""
        return int(self.environment.sql(FILLED, signal.pk)[0][0])

    def orders(self, signal: Signal) -> int:
        """Return how many orders a signal has."""
        return int(self.environment.sql(ORDERS, signal.pk)[0][0])

    def run(self, count: int, every: float = 0.02) -> Signal:
        """Publish to `count` accounts and wait until all rows are committed."""
        signal, _ = self.publish(count)
        self.environment.wait(
            lambda: self.filled(signal) == count, seconds=WAIT_SECONDS, every=every
        )
        self.publisher.read()
        return signal

    def measure(self, runs: Runs, every: float) -> None:
        """Measure one run. Raises BenchError if a row is missing."""
        with runs.meter.over(runs.count):
            began = time.perf_counter()
            signal = self.run(runs.count, every)
            runs.seconds.append(time.perf_counter() - began)
        check(self.environment, signal, runs.count)
