"""One signal through a task queue, and the same through Fillcast: seconds, CPU, and a kill."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.peers import kills
from benchmarks.peers.queues import OWN_PYTHON, WORKERS, QueuePeer, expect_package
from benchmarks.peers.settings import QUEUE
from benchmarks.process_usage import Pids
from benchmarks.programs import Program
from benchmarks.trading import check, store_current_quotes
from brokers.paper.exchange import on_quotes
from config.installation import ROOT
from ops.embedded import processes
from ops.stack.stack import NICENESS

WARM_UP, MOST_WARM_UPS = 20, 20
BY_WORKER = "SELECT count(DISTINCT worker_id) FROM execution_order WHERE signal_id = %s"


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

    def measure(self, side: kills.Side, every: float) -> None:
        """Measure one run. Raises BenchError if a row is missing."""
        with self.meter.over(self.count):
            began = time.perf_counter()
            signal = side.run(self.count, every)
            self.seconds.append(time.perf_counter() - began)
        check(side.environment, signal, self.count)

    def row(self) -> dict[str, Any]:
        """Return what the result states of it."""
        seconds = statistics.median(self.seconds)
        killed = {"after_kill_9": self.kill} if self.kill else {}
        return {
            "n": self.count, "seconds": seconds, "orders_s": self.count / seconds,
            "rounds_s": self.seconds, "cpu_us_an_order": self.meter.us_in_all,
            "cpu_us_by_process": self.meter.us_each, **killed,
        }  # fmt: skip


class Workers:
    """The workers of a queue. Use it in a `with` statement; leaving it kills them."""

    def __init__(self, environment: BenchEnvironment, peer: QueuePeer) -> None:
        """Raises SkippedError if its packages are missing."""
        self._environ, self._python, self._peer = _environ_of(environment), peer.python(), peer
        self._log = Path(environment.stack.folder) / "log" / f"peer-{peer.name}.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Workers":
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def _start(self) -> None:
        """Start all workers, as willing to give way as Fillcast's own."""
        with self._log.open("ab") as output:
            self._processes = [
                processes.spawn(
                    [self._python, "-m", *command], output=output, folder=ROOT, env=self._environ,
                    at_death=processes.KILL, niceness=NICENESS,
                )
                for command in self._peer.commands
            ]  # fmt: skip

    def _kill(self) -> None:
        for process in self._processes:
            processes.signal_group(process.pid, processes.KILL)
        for process in self._processes:
            process.wait(10)

    def restart(self) -> None:
        """kill -9 of all workers with what they have started, and a new start at once."""
        self._kill()
        self._start()

    def warm_up(self, side: kills.Side) -> None:
        """Publish until every worker has executed tasks. Raises BenchError."""
        for _ in range(MOST_WARM_UPS):
            signal = side.run(WARM_UP)
            if any(process.poll() is not None for process in self._processes):
                break
            if side.environment.sql(BY_WORKER, signal.pk) == [(WORKERS,)]:
                side.environment.reset()
                return
            time.sleep(0.2)
        raise BenchError(f"not all workers of {self._peer.name} execute tasks; log: {self._log}")

    def pids(self) -> list[int]:
        """Return the ids of all their processes."""
        found, new = [], [process.pid for process in self._processes]
        while new:
            found += new
            new = [child for pid in new for child in process_usage.children_of(pid)]
        return found


def measure_peer(
    environment: BenchEnvironment, data: BenchData, peer: QueuePeer, runs: Runs, kill: int
) -> None:
    """Measure one round of a queue; with `kill` accounts also what a kill leaves (0: not).

    The stack does not run: its sweeps would repair the peer's orders. Raises SkippedError.
    """
    python = peer.python()
    expect_package(python, peer.name)
    _prepare(environment, data, peer)
    with (
        Workers(environment, peer) as workers,
        _side(environment, data, python, peer.module) as side,
    ):
        workers.warm_up(side)
        runs.pids = lambda: {
            **environment.pids(), "workers": workers.pids(), "publisher": [side.publisher.pid]
        }  # fmt: skip
        runs.measure(side, every=0.05)
        if kill:
            runs.kill = kills.measure(side, kill, workers.restart, kills.PENDING[peer.name])
    environment.reset()


def measure_fillcast(environment: BenchEnvironment, data: BenchData, runs: Runs, kill: int) -> None:
    """Measure one round of Fillcast, with its whole stack."""
    environment.run(workers=WORKERS)
    environment.reset()
    with _side(environment, data, OWN_PYTHON, "benchmarks.peers.fillcast_app") as side:
        side.run(runs.count)  # warm-up: a process's first plans
        environment.reset()
        runs.pids = lambda: {**environment.pids(), "publisher": [side.publisher.pid]}
        runs.measure(side, every=0.01)
        stack = {**environment.pids(), "supervisor": [os.getpid()]}
        runs.memory_mb = sum(process_usage.memory_mb(stack).values()) / runs.count
        if kill:
            environment.reset()
            runs.kill = kills.measure(
                side, kill, lambda: kills.kill_workers(environment), kills.PENDING["fillcast"]
            )
    environment.reset()


def _environ_of(environment: BenchEnvironment) -> dict[str, str]:
    """Return what the processes of peers are started with: the role of trading processes."""
    return {**os.environ, **environment.stack.environ, "FILLCAST_DB_ROLE": "trade"}


@contextmanager
def _side(
    environment: BenchEnvironment, data: BenchData, python: str, module: str
) -> Iterator[kills.Side]:
    """Run a process that publishes meanwhile; it has imported what it needs."""
    with Program("benchmarks.peers.publisher", module, env=_environ_of(environment),
                 python=python) as publisher:  # fmt: skip
        publisher.read()
        yield kills.Side(environment, data, publisher)


def _prepare(environment: BenchEnvironment, data: BenchData, peer: QueuePeer) -> None:
    """Stop the stack; give the broker and the tables prices; empty the peer's queue."""
    environment.run(workers=0)
    environment.reset()
    on_quotes(store_current_quotes(data))
    if keys := [QUEUE, *environment.redis.scan_iter("dramatiq:*")]:
        environment.redis.delete(*keys)
    environment.sql("DROP SCHEMA IF EXISTS procrastinate CASCADE")
    if peer.name == "procrastinate":
        environment.sql("CREATE SCHEMA procrastinate")
        peer.command(_environ_of(environment), "schema", "--apply")
