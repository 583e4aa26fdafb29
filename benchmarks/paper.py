"""The paper broker as a remote process: what the adapter adds to the broker's own time per order.

The broker is the real one, with a database and a process of its own.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment
from benchmarks.results import Result, overhead_of, percentile
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Quote, Side, TimeInForce
from common.clocks import market_now
from config.installation import ROOT
from tests.fakes.paper_server.adapter import RemotePaper
from tests.fakes.paper_server.sync_client import SyncClient

ADDED_MS = 5.0  # p99 of an order
WARM = 20
SPEC = ConnectionSpec("bench", "bench-adapter", credentials={"password": "correct horse"})


def overhead(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure orders, entries and their exits in turn: from our call to the broker's answer,
    without the broker's time from an order's arrival to its answer.
    """
    environment.run(workers=0)
    with _broker(environment) as broker:
        _open_account(broker.port)
        cpu_before = time.process_time()
        times = asyncio.run(_orders(broker.port, WARM + count))
        cpu = time.process_time() - cpu_before
        handled = broker.spent()
    took, delays = [], []
    for (began, ended), (at, seconds) in zip(times[WARM:], handled[WARM:], strict=True):
        assert began <= at < ended
        took.append(ended - began)
        delays.append(seconds)
    added = [1000 * (ours - theirs) for ours, theirs in zip(took, delays, strict=True)]
    return overhead_of(
        "paper",
        count,
        took,
        added,
        target=ADDED_MS,
        detail={
            "unit": "ms that the adapter adds to an order (p99), less is better",
            "double_p50_ms": 1000 * percentile(delays, 50),
            "whole_p50_ms": 1000 * percentile(took, 50),
            "cpu_ms_an_order": 1000 * cpu / (WARM + count),
        },
    )


class _Broker:
    """The other process (benchmarks/paper_broker.py)."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.port: int = self._read_line()["port"]

    def spent(self) -> list[tuple[float, float]]:
        """Return when each order arrived, and how many seconds its answer took."""
        assert self._process.stdin
        self._process.stdin.write("spent\n")
        self._process.stdin.flush()
        return [(began, seconds) for began, seconds in self._read_line()]

    def _read_line(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


@contextmanager
def _broker(environment: BenchEnvironment) -> Iterator[_Broker]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.paper_broker"], cwd=ROOT, env=environment.stack.environ,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield _Broker(process)
    finally:
        process.communicate(timeout=20)


def _open_account(port: int) -> None:
    client, price = SyncClient("127.0.0.1", port), Decimal("1.1")
    try:
        client.call("list_instruments")
        password = SPEC.credentials["password"]
        client.call("open_accounts", [SPEC.account], Decimal(1_000_000), password, {})
        client.call("on_quotes", [Quote("EUR/USD", price, price, market_now())])
    finally:
        client.close()


async def _orders(port: int, count: int) -> list[tuple[float, float]]:
    """Return when each order was submitted and when it was answered."""
    adapter, times, position = RemotePaper("127.0.0.1", port), [], ""
    await adapter.connect(SPEC)
    for number in range(count):
        request, began = _order(number, position), time.perf_counter()
        reports = await adapter.submit(SPEC, request, lambda _: None)
        times.append((began, time.perf_counter()))
        position = "" if position else reports[-1].broker_position_id
    await adapter.disconnect()
    return times


def _order(number: int, position: str) -> OrderRequest:
    return OrderRequest(
        client_order_id=f"zbm{number:014d}0", connection_id=SPEC.connection_id,
        account=SPEC.account, symbol="EURUSD", side=Side.SELL if position else Side.BUY,
        order_type=OrderType.MARKET, time_in_force=TimeInForce.GTC, quantity=Decimal(1000),
        reduce_only=bool(position), broker_position_id=position,
    )  # fmt: skip
