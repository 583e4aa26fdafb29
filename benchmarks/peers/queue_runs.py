"""One signal through a task queue, and the same through Fillcast: seconds, CPU, and a kill."""

import os
import time

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.peers import kills
from benchmarks.peers.packages import OWN_PYTHON, version_of
from benchmarks.peers.queues import WORKERS, QueuePeer
from benchmarks.peers.settings import QUEUE
from benchmarks.peers.sides import Runs, Side
from benchmarks.peers.workers import Workers, environ_of
from benchmarks.programs import Program
from brokers.paper.exchange import on_quotes
from common.clocks import market_now
from prices.recorded_streams import stream_for
from prices.services import store_quotes

WARM_UP, MOST_WARM_UPS = 20, 20
BY_WORKER = "SELECT count(DISTINCT worker_id) FROM execution_order WHERE signal_id = %s"


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
        _publisher(environment, python, peer.module) as publishing,
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
    with _publisher(environment, OWN_PYTHON, module) as publishing:
        side = Side(environment, data, publishing)
        side.run(runs.count)  # warm-up: a process's first plans
        environment.reset()
        runs.pids = lambda: {**environment.pids(), "publisher": [publishing.pid]}
        side.measure(runs, every=0.01)
        stack = {**environment.pids(), "supervisor": [os.getpid()]}
        runs.memory_mb = sum(process_usage.memory_mb(stack).values()) / runs.count
        if kill:
            environment.reset()
            runs.kill = kills.measure(
                side, kill, lambda: kills.kill_workers(environment), kills.PENDING["fillcast"]
            )
    environment.reset()


def _publisher(environment: BenchEnvironment, python: str, module: str) -> Program:
    """Start a process that publishes, and wait until it has imported what it needs."""
    program = Program("benchmarks.peers.publisher", module, env=environ_of(environment),
                      python=python)  # fmt: skip
    program.read()
    return program


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
