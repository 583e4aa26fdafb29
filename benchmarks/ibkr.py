"""Interactive Brokers: what our adapter adds to the gateway's time, the delay of an event, and what
fifty sessions cost. The gateway is the tests' fake TWS, in a process of its own.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment
from benchmarks.ibkr_sessions import ACCOUNT, spec_of
from benchmarks.results import Result, bounded, overhead_of, percentile
from brokers import rate_limits
from brokers.ibkr.adapter import IbkrAdapter
from brokers.ibkr.timing import RATE
from brokers.rate_limits import Rate, rate_limiter_for
from brokers.types import (
    ConnectionSpec,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from tests.fakes.tws.server_process import TwsProcess

ROOT = Path(__file__).parents[1]
ADDED_MS = 5.0  # p99 of an order
EVENT_MS = 100.0  # p99 from TWS to our events
SESSION_MB = 1.0
BACK_SECONDS = 10.0
AMPLE = Rate(per_second=100_000, burst=10_000)  # with IBKR's real limit, waits would dominate
TURNS = 40
EVENTS = 200


@contextmanager
def tws_of(count: int = 1) -> Iterator[TwsProcess]:
    """Run a fake TWS process with `count` gateways."""
    with tempfile.TemporaryDirectory() as folder:
        tws = TwsProcess(Path(folder) / "tws.jsonl", gateways=count)
        try:
            yield tws
        finally:
            tws.close()


def _working_order(number: int, spec: ConnectionSpec) -> OrderRequest:
    return OrderRequest(
        client_order_id=f"bench{number:09d}", connection_id=spec.connection_id, account=ACCOUNT,
        symbol="EURUSD", side=Side.BUY, order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC, quantity=Decimal(1000), limit_price=Decimal("1.0000"),
    )  # fmt: skip


# ---- one order, one event ---------------------------------------------------------------------
def overhead(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure orders, one after the other: from our call to TWS's answer, without the fake's own
    time.
    """
    rate_limits.configure(environment.stack.environ["REDIS_URL"], 1)
    with tws_of() as tws:
        took, event_ms, cpu = asyncio.run(_orders(tws, count))
        turns = asyncio.run(_rate_limit_turns())
        delays = tws.do("delays")["seconds"]
    added = [1000 * (ours - fake_seconds) for ours, fake_seconds in zip(took, delays, strict=True)]
    events_p99 = percentile(event_ms, 99)
    return overhead_of(
        "ibkr",
        count,
        took,
        added,
        target=ADDED_MS,
        is_well_otherwise=events_p99 <= EVENT_MS,
        detail={
            "unit": "ms that the adapter adds to an order (p99), less is better",
            # of our process: independent of the machine's load
            "cpu_ms_an_order": 1000 * cpu / count,
            "double_p50_ms": 1000 * percentile(delays, 50),
            "turn_p50_ms": percentile(turns, 50),  # in addition: one rate limit grant, from Redis
            "event_p50_ms": percentile(event_ms, 50),
            "event_p99_ms": events_p99,
            "event_target_ms": EVENT_MS,
        },
    )


async def _orders(tws: TwsProcess, count: int) -> tuple[list[float], list[float], float]:
    adapter = IbkrAdapter(rate_limiter_for=lambda name, _: rate_limiter_for(name, AMPLE))
    spec, took = spec_of(0, tws.port), []
    await adapter.connect(spec)
    await adapter.instruments(spec)
    cpu = time.process_time()
    for number in range(count):
        request, began = _working_order(number, spec), time.perf_counter()
        await adapter.submit(spec, request, lambda _: None)
        took.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    event_ms = await _events(adapter, tws, min(count, EVENTS))
    await adapter.disconnect()
    return took, event_ms, cpu


async def _rate_limit_turns() -> list[float]:
    """Return how long the gateway's real rate limit takes to grant a message at once, in ms."""
    rate_limiter, took = rate_limiter_for("bench turn", RATE), []
    for _ in range(TURNS):
        began = time.perf_counter()
        await rate_limiter.acquire()
        took.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(2 / RATE.per_second)
    return took


async def _events(adapter: IbkrAdapter, tws: TwsProcess, count: int) -> list[float]:
    """Return the ms from TWS's execution of each order until we read it after a notification."""
    await _read(adapter)
    notifications, event_ms = adapter.stream_events(), []
    await anext(notifications)
    for number in range(count):
        began = time.perf_counter()
        fill = asyncio.to_thread(tws.do, "fill", f"bench{number:09d}", "1000", "1.0000")
        fill_task = asyncio.ensure_future(fill)
        while not await _read(adapter):
            await anext(notifications)
        event_ms.append(1000 * (time.perf_counter() - began))
        await fill_task
    await notifications.aclose()
    return event_ms


async def _read(adapter: IbkrAdapter) -> bool:
    """Take the buffered events as the drain does; return whether a fill is among them."""
    reports = await adapter.events(500)
    await adapter.acknowledge([report.event_id for report in reports])
    return any(report.kind is ReportKind.FILLED for report in reports)


def events(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure `count` executions of one order: from TWS's message to our committed row, through the
    engine.
    """
    with tws_of() as tws:
        command = [sys.executable, "-m", "benchmarks.ibkr_engine", str(tws.port), str(count)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment.stack.environ, text=True, check=True, timeout=300,
            stdout=subprocess.PIPE,
        )  # fmt: skip
    figures = json.loads(done.stdout.splitlines()[-1])
    took = figures["ms"]
    p99 = percentile(took, 99)
    return Result(
        name="ibkr_events",
        n=count,
        seconds=sum(took) / 1000,
        rate=1000 * count / sum(took),
        p50_ms=percentile(took, 50),
        p99_ms=p99,
        baseline=None,
        ratio=p99,
        target=EVENT_MS,
        ok=p99 <= EVENT_MS,
        half=p99 <= 2 * EVENT_MS,
        detail={
            "unit": "ms until an execution is committed (p99), less is better",
            "cpu_ms_an_execution": figures["cpu_ms"],  # of the trading process, without PostgreSQL
        },
    )


# ---- fifty sessions ---------------------------------------------------------------------------
class SessionProcess:
    """A process with open sessions that reports its figures (benchmarks/ibkr_sessions.py)."""

    def __init__(self, environment: BenchEnvironment, ports: list[int], sessions: int) -> None:
        command = [sys.executable, "-m", "benchmarks.ibkr_sessions", str(sessions)]
        self._process = subprocess.Popen(
            [*command, *map(str, ports)], cwd=ROOT, text=True, env=environment.stack.environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.figures = self.read()

    def read(self) -> dict[str, float]:
        """Wait for its next line and return the figures in it."""
        assert self._process.stdout is not None
        figures: dict[str, float] = json.loads(self._process.stdout.readline())
        return figures

    def watch(self) -> None:
        """Make it write a line when all its sessions are open again."""
        assert self._process.stdin is not None
        self._process.stdin.write("watch\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def memory(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure how much memory `count` sessions, a gateway each, and a full order cache take."""
    with tws_of(count) as tws:
        process = SessionProcess(environment, tws.ports, count)
        process.close()
    figures = process.figures
    each = max((figures["connected_mb"] - figures["before_mb"]) / count, 0.001)  # less is noise
    return bounded(
        "ibkr_memory",
        count,
        each,
        target=SESSION_MB,
        seconds=figures["connected_seconds"],
        rate=count / figures["connected_seconds"],
        detail={"unit": "MB a session, less is better", **figures},
    )


def reconnect(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure from the gateways' restart until `count` sessions are synchronised: a gateway for
    each
    session, then one gateway for all.
    """
    seconds = _reconnect_seconds(environment, count, count)
    one_gateway = _reconnect_seconds(environment, count, 1)
    return bounded(
        "ibkr_reconnect",
        count,
        seconds,
        target=BACK_SECONDS,
        seconds=seconds,
        rate=count / seconds,
        detail={
            "unit": "s until the last of them is back, less is better",
            "all_at_one_gateway_s": one_gateway,  # at most 45 messages a second, 4 a session
        },
    )


def _reconnect_seconds(environment: BenchEnvironment, sessions: int, gateways: int) -> float:
    with tws_of(gateways) as tws:
        process = SessionProcess(environment, tws.ports, sessions)
        tws.kill()
        process.watch()
        tws.start()
        began = time.perf_counter()
        process.read()
        seconds = time.perf_counter() - began
        process.close()
    return seconds
