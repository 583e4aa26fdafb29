"""A broker over HTTP that answers after 100 ms: our event loops beside a pool of 64 threads.

Both send one POST for each order to the same server process. The threads save each order by the ORM
before and after its call, as `baseline` does; ours go through the whole engine.
"""

import contextlib
import http.client
import json
import os
import queue
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

from django.db import connections

from benchmarks import baseline
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, report_progress
from benchmarks.process_usage import Meter
from benchmarks.programs import Program
from benchmarks.results import Result, compared
from benchmarks.trading import check, fan_out
from brokers import registry
from config.installation import ROOT
from connections.models import ExecutionConnection
from tests.fakes.slow_http import ADDRESS, message_of, report_of

TARGET = 10.0
DELAY_MS, THREADS = 100, 64
PLUGIN = ROOT / "tests/fakes/slow_http_plugin"
LIVING = "SELECT id FROM execution_workerlease WHERE lease_until > clock_timestamp() LIMIT 1"


def slow_broker(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    environment.run(workers=0)
    ids = data.connections(count)
    with broker_running(environment) as port, accounts_there(ids):
        environment.run(workers=2)
        environment.reset()
        fan_out(data, count, None, partial(_journal, port))  # warm-up
        environment.reset()
        _threads(environment, data, port, min(count, THREADS))
        meter = Meter(environment.pids)
        runs, threads_seconds = [], []
        for number in range(environment.rounds):
            threads_seconds.append(_threads(environment, data, port, count))
            runs.append(fan_out(data, count, meter, partial(_journal, port)))
            environment.reset()
            took = f"{runs[-1].seconds:.2f} s, threads {threads_seconds[-1]:.2f} s"
            report_progress(f"  round {number + 1}: {took}")
        environment.run(workers=0)
    return compared(
        "slow_broker", count=count, seconds=[run.seconds for run in runs],
        baseline=f"a pool of {THREADS} threads with plain ORM writes", baseline_count=count,
        baseline_seconds=threads_seconds, target=TARGET,
        latencies_ms=[ms for run in runs for ms in run.latencies_ms], delay_ms=DELAY_MS,
        cpu_us_an_order=meter.us_each,
    )  # fmt: skip


@contextlib.contextmanager
def broker_running(environment: BenchEnvironment) -> Iterator[int]:
    """Run the broker; processes that start meanwhile know its type. Yields its port."""
    with Program("tests.fakes.slow_http.broker", DELAY_MS) as program:
        port = program.read()["port"]
        added = {ADDRESS: f"http://127.0.0.1:{port}", "PYTHONPATH": str(PLUGIN)}
        with environment.more_environ(added):
            os.environ[ADDRESS] = added[ADDRESS]
            sys.path.append(str(PLUGIN))
            registry.clear_cache()
            try:
                yield port
            finally:
                sys.path.remove(str(PLUGIN))
                registry.clear_cache()


def _journal(port: int) -> list[int]:
    """Return how many orders the broker has received and executed, and let it forget them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/journal") as answer:
        return [*json.load(answer).values()]


@contextlib.contextmanager
def accounts_there(ids: Sequence[UUID]) -> Iterator[None]:
    """Let these connections be at the slow broker meanwhile."""
    ours = ExecutionConnection.objects.filter(pk__in=ids)
    ours.update(type="slow")
    try:
        yield
    finally:
        ours.update(type="paper")


def _threads(environment: BenchEnvironment, data: BenchData, port: int, count: int) -> float:
    """Return the seconds that the threads need for `count` orders."""
    signal = data.signal(data.feed(count))
    # Otherwise the workers take its orders over from a process that they take for dead.
    ((worker_id,),) = environment.sql(LIVING)
    waiting: queue.SimpleQueue[UUID] = queue.SimpleQueue()
    for connection_id in data.connections(count):
        waiting.put(connection_id)
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(_drain, waiting, signal.pk, worker_id, port) for _ in range(THREADS)]
        for each in running:
            each.result()
    seconds = time.perf_counter() - start
    check(environment, signal, count, partial(_journal, port))
    environment.reset()
    return seconds


def _drain(waiting: "queue.SimpleQueue[UUID]", signal_id: int, worker_id: str, port: int) -> None:
    """Execute waiting connections' orders until there is none; on a thread of the pool."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.suppress(queue.Empty):
        while True:
            connection_id = waiting.get_nowait()
            order, account = baseline.save_intent(signal_id, connection_id, worker_id=worker_id)
            message = message_of(baseline.request_of(order, account))
            headers = {"Content-Type": "application/json"}
            client.request("POST", "/orders", json.dumps(message), headers)
            placed = json.loads(client.getresponse().read())
            baseline.save_outcome(order, [report_of(str(account.pk), placed)], account)
    client.close()
    connections.close_all()
