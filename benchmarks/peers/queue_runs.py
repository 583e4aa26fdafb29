"""One signal through a task queue, and the same through Fillcast: seconds, CPU, and a kill."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.peers import kills
from benchmarks.peers.packages import OWN_PYTHON, version_of
from benchmarks.peers.queues import WORKERS, QueuePeer
from benchmarks.peers.settings import QUEUE
from benchmarks.peers.workers import Publisher, Workers, environ_of, publisher
from benchmarks.process_usage import Pids
from brokers.paper.exchange import on_quotes
from common.clocks import market_now
from prices.recorded_streams import stream_for
from prices.services import store_quotes
from signals.models import Signal

WARM_UP, MOST_WARM_UPS, WAIT_SECONDS = 20, 20, 240
FILLED = "SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'"
ORDERS = "SELECT count(*) FROM execution_order WHERE signal_id = %s"
BY_WORKER = "SELECT count(DISTINCT worker_id) FROM execution_order WHERE signal_id = %s"
ROWS = """
SELECT (SELECT count(*) FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
    WHERE o.signal_id = %s),
  (SELECT count(*) FROM positions_executionposition WHERE signal_id = %s)
"""


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
            "n": self.count,
            "seconds": seconds,
            "orders_s": self.count / seconds,
            "rounds_s": self.seconds,
            "cpu_us_an_order": self.meter.us_in_all,
            "cpu_us_by_process": self.meter.us_each,
            **killed,
        }


@dataclass(slots=True)
class Side:
    """Where a side runs, and who publishes to it."""

    environment: BenchEnvironment
    data: BenchData
    publisher: Publisher

    def publish(self, count: int) -> tuple[Signal, list[UUID]]:
        """Begin to publish a new signal to `count` accounts."""
        signal, accounts = self.data.signal(self.data.feed(count)), self.data.connections(count)
        self.publisher.begin(signal.pk, accounts)
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
        self.publisher.end()
        return signal

    def measure(self, runs: Runs, every: float) -> None:
        """Measure one run. Raises BenchError if a row is missing."""
        with runs.meter.over(runs.count):
            began = time.perf_counter()
            signal = self.run(runs.count, every)
            runs.seconds.append(time.perf_counter() - began)
        (rows,) = self.environment.sql(ROWS, signal.pk, signal.pk)
        if set(rows) != {runs.count}:
            raise BenchError(f"{runs.count} orders, but fills and positions: {rows}")


def measure_peer(
    environment: BenchEnvironment, data: BenchData, peer: QueuePeer, runs: Runs, kill: int
) -> None:
    """Measure one round of a queue; with `kill` accounts also what a kill leaves (0: not).

    The stack does not run: its sweeps would repair the peer's orders. Raises SkippedError.
    """
    python = peer.python()
    version_of(python, peer.name)
    _prepare(environment, data, peer)
    with (
        Workers(environment, peer) as workers,
        publisher(python, peer.module, environ_of(environment)) as publishing,
    ):
        side = Side(environment, data, publishing)
        _warm_up(side, workers)
        runs.pids = lambda: {
            **environment.pids(), "workers": workers.pids(), "publisher": [publishing.pid]
        }  # fmt: skip
        side.measure(runs, every=0.05)
        if kill:
            runs.kill = kills.measure(side, kill, workers.restart, kills.PENDING[peer.name])
    environment.reset()


def measure_fillcast(environment: BenchEnvironment, data: BenchData, runs: Runs, kill: int) -> None:
    """Measure one round of Fillcast, with its whole stack."""
    environment.run(workers=WORKERS)
    environment.reset()
    module = "benchmarks.peers.fillcast_app"
    with publisher(OWN_PYTHON, module, environ_of(environment)) as publishing:
        side = Side(environment, data, publishing)
        side.run(runs.count)  # warm-up: a process's first plans
        environment.reset()
        runs.pids = lambda: {**environment.pids(), "publisher": [publishing.pid]}
        side.measure(runs, every=0.01)
        stack = {**environment.pids(), "supervisor": [process_usage.me()]}
        runs.memory_mb = sum(process_usage.memory_mb(stack).values()) / runs.count
        if kill:
            environment.reset()
            runs.kill = kills.measure(
                side, kill, lambda: kills.kill_workers(environment), kills.PENDING["fillcast"]
            )
    environment.reset()


def _prepare(environment: BenchEnvironment, data: BenchData, peer: QueuePeer) -> None:
    """Stop the stack; give the broker and the tables prices; empty the peer's queue."""
    environment.run(workers=0)
    environment.reset()
    stream = stream_for(data.source, None)
    assert stream is not None
    quotes = stream.due(market_now())
    on_quotes(quotes)
    store_quotes(data.source.pk, quotes)
    if keys := [QUEUE, *environment.redis.scan_iter("dramatiq:*")]:
        environment.redis.delete(*keys)
    environment.sql("DROP SCHEMA IF EXISTS procrastinate CASCADE")
    if peer.name == "procrastinate":
        environment.sql("CREATE SCHEMA procrastinate")
        peer.command(environ_of(environment), "schema", "--apply")


def _warm_up(side: Side, workers: Workers) -> None:
    """Publish until every worker has executed tasks. Raises BenchError."""
    for _ in range(MOST_WARM_UPS):
        signal = side.run(WARM_UP)
        workers.check()
        ((by_workers,),) = side.environment.sql(BY_WORKER, signal.pk)
        if by_workers == WORKERS:
            side.environment.reset()
            return
        time.sleep(0.2)
    raise BenchError(f"not all workers of {workers.name} execute tasks; log: {workers.log}")
