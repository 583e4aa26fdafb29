"""A broker over HTTP that answers after 100 ms: our event loops beside a pool of 64 threads.

Both send one POST for each order to the same server process. The threads save each order by the ORM
before and after its call, as `baseline` does; ours go through the whole engine.
"""

import contextlib
import http.client
import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connections

from benchmarks import baseline, fanout, process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.http_adapter import ADDRESS, message_of, report_of
from benchmarks.results import Result, compared, percentile
from brokers import registry
from config.installation import ROOT
from connections.models import ExecutionConnection
from signals.models import Signal

TARGET = 5.0
DELAY_MS, THREADS = 100, 64
PLUGIN = Path(__file__).with_name("slow_broker_plugin")
WAITS = """
SELECT extract(epoch FROM filled_at - %s) * 1000 FROM execution_order WHERE signal_id = %s
"""
COUNTS = """
SELECT (SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'),
  (SELECT count(*) FROM execution_fill), (SELECT count(*) FROM positions_executionposition)
"""
LIVING = "SELECT id FROM execution_workerlease WHERE lease_until > clock_timestamp() LIMIT 1"


@dataclass(slots=True)
class Broker:
    """The server process."""

    port: int

    def ask(self, path: str) -> Any:
        """Return the answer to a GET."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request("GET", path)
        return json.loads(client.getresponse().read())


def slow_broker(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Send one signal to `count` connections at the broker; in turn with the threads."""
    environment.run(workers=0)
    ids = data.connections(count)
    with broker_running(environment) as broker, _accounts_there(ids):
        environment.run(workers=2)
        environment.reset()
        _ours(environment, data, broker, count)  # warm-up
        _threads(environment, data, broker, min(count, THREADS))
        meter = process_usage.Meter(environment.pids)
        seconds, threads_seconds, waits = [], [], []
        for number in range(environment.rounds):
            threads_seconds.append(_threads(environment, data, broker, count))
            with meter.over(count):
                took, of_orders = _ours(environment, data, broker, count)
            seconds.append(took)
            waits += of_orders
            report_progress(
                f"  round {number + 1}: {took:.2f} s, threads {threads_seconds[-1]:.2f} s"
            )
        environment.run(workers=0)
    return compared(
        "slow_broker",
        count=count,
        seconds=seconds,
        baseline=f"a pool of {THREADS} threads with plain ORM writes",
        baseline_count=count,
        baseline_seconds=threads_seconds,
        target=TARGET,
        latencies_ms=waits,
        delay_ms=DELAY_MS,
        cpu_us_an_order=meter.us_each,
    )


@contextlib.contextmanager
def broker_running(environment: BenchEnvironment) -> Iterator[Broker]:
    """Run the broker; processes that start meanwhile know its type and its address."""
    command = [sys.executable, "-m", "benchmarks.http_broker", str(DELAY_MS)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        port = json.loads(process.stdout.readline())["port"]
        added = {ADDRESS: f"http://127.0.0.1:{port}", "PYTHONPATH": str(PLUGIN)}
        before = {name: environment.stack.environ.get(name) for name in added}
        environment.stack.environ.update(added)
        os.environ[ADDRESS] = added[ADDRESS]
        sys.path.append(str(PLUGIN))
        registry.clear_cache()
        try:
            yield Broker(port)
        finally:
            sys.path.remove(str(PLUGIN))
            registry.clear_cache()
            for name, value in before.items():
                if value is None:
                    del environment.stack.environ[name]
                else:
                    environment.stack.environ[name] = value
            process.stdin.close()


@contextlib.contextmanager
def _accounts_there(ids: list[UUID]) -> Iterator[None]:
    """Let these connections be at the slow broker meanwhile."""
    ours = ExecutionConnection.objects.filter(pk__in=ids)
    ours.update(type="slow")
    try:
        yield
    finally:
        ours.update(type="paper")


def _ours(
    environment: BenchEnvironment, data: BenchData, broker: Broker, count: int
) -> tuple[float, list[float]]:
    """Return the seconds until all is durable, and the milliseconds to each fill."""
    signal = data.signal(data.feed(count))
    began, start = time.time(), time.perf_counter()
    fanout.publish_as_web(signal, data)
    environment.wait(environment.nothing_open)
    seconds = time.perf_counter() - start
    _check(environment, broker, signal, count)
    found = environment.sql(WAITS.replace("%s", "to_timestamp(%s)", 1), began, signal.pk)
    waits = sorted(float(ms) for (ms,) in found)
    environment.reset()
    report_progress(f"  p99 {percentile(waits, 99):.0f} ms")
    return seconds, waits


def _threads(environment: BenchEnvironment, data: BenchData, broker: Broker, count: int) -> float:
    """Return the seconds that the threads need for `count` orders."""
    signal = data.signal(data.feed(count))
    # Otherwise the workers take its orders over from a process that they take for dead.
    ((worker_id,),) = environment.sql(LIVING)
    waiting: queue.SimpleQueue[UUID] = queue.SimpleQueue()
    for connection_id in data.connections(count):
        waiting.put(connection_id)
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        running = [
            pool.submit(_drain, waiting, signal.pk, worker_id, broker.port) for _ in range(THREADS)
        ]
        for each in running:
            each.result()
    seconds = time.perf_counter() - start
    _check(environment, broker, signal, count)
    environment.reset()
    return seconds


def _drain(waiting: "queue.SimpleQueue[UUID]", signal_id: int, worker_id: str, port: int) -> None:
    """Execute waiting connections' orders until there is none; on a thread of the pool."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        while True:
            connection_id = waiting.get_nowait()
            order, account = baseline.save_intent(signal_id, connection_id, worker_id=worker_id)
            message = message_of(baseline.request_of(order, account))
            headers = {"Content-Type": "application/json"}
            client.request("POST", "/orders", json.dumps(message), headers)
            placed = json.loads(client.getresponse().read())
            baseline.save_outcome(order, [report_of(str(account.pk), placed)], account)
    except queue.Empty:
        pass
    finally:
        client.close()
        connections.close_all()


def _check(environment: BenchEnvironment, broker: Broker, signal: Signal, count: int) -> None:
    """Check that each order exists once, here and at the broker."""
    (counts,) = environment.sql(COUNTS, signal.pk)
    journal = broker.ask("/journal")
    if {*counts, *journal.values()} != {count}:
        message = f"{count} orders, but orders, fills, positions: {counts}, broker's: {journal}"
        raise BenchError(message + fanout.unfilled(environment, signal))
