"""Crypto exchanges: what our adapter and ccxt add to the exchange's own time per order.

The exchange is the tests' fake of Binance's perpetuals over HTTP, in a process of its own.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.results import Result, overhead_of, percentile
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.crypto.exchange_limits import limits_of
from brokers.crypto.exchanges import Exchange
from brokers.crypto.rate_limits import AccountRateLimits
from brokers.rate_limits import Rate, rate_limiter_for
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side, TimeInForce

ROOT = Path(__file__).parents[1]
ADDED_MS = 10.0  # p99 of an order
WARM = 20
AMPLE = Rate(per_second=100_000, burst=10_000)  # at the exchange's real limit, waits would dominate


def overhead(count: int) -> Result:
    """Measure orders, one after the other: from our call to the exchange's answer, without the
    fake's own time for our requests.
    """
    with _exchange() as exchange:
        spent = time.process_time()
        took, added, requests = asyncio.run(_orders(exchange, count))
        cpu = time.process_time() - spent
    return overhead_of(
        "crypto",
        count,
        took,
        added,
        target=ADDED_MS,
        detail={
            "unit": "ms that adapter, ccxt and HTTP add to an order (p99), less is better",
            "requests_an_order": requests / count,
            "whole_p50_ms": 1000 * percentile(took, 50),
            "cpu_ms_an_order": 1000 * cpu / (count + WARM),
        },
    )


class _FakeExchange:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.credentials: dict[str, str] = self._read_line()

    def spent(self) -> list[tuple[float, float]]:
        """Return start and duration in seconds of each request that it handled since last time."""
        assert self._process.stdin
        self._process.stdin.write("spent\n")
        self._process.stdin.flush()
        return [(began, seconds) for began, seconds in self._read_line()]

    def _read_line(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


@contextmanager
def _exchange() -> Iterator[_FakeExchange]:
    command = [sys.executable, "-m", "benchmarks.crypto_fake"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield _FakeExchange(process)
    finally:
        process.communicate(timeout=20)


def _ample(known: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
    host, points, orders, reads = (
        rate_limiter_for(f"bench {name}", AMPLE) for name in ("host", "points", "orders", "reads")
    )
    limits = limits_of(known.name, str(spec.settings["market"]))
    return AccountRateLimits(host, points, orders, limits, reads)


async def _orders(exchange: _FakeExchange, count: int) -> tuple[list[float], list[float], int]:
    adapter = CryptoAdapter(ClientPool({"binance": exchange.credentials["base"]}, _ample))
    spec = ConnectionSpec(
        "11111111-1111-4111-8111-111111111111",
        "main",
        "binance",
        {"market": "swap", "symbols": ["BTC/USDT:USDT"]},
        {"api_key": exchange.credentials["key"], "secret": exchange.credentials["secret"]},
    )
    await adapter.instruments(spec)
    times = []
    for number in range(WARM + count):
        began = time.perf_counter()
        await adapter.submit(spec, _order(number, spec), lambda _: None)
        times.append((began, time.perf_counter()))
    spent = exchange.spent()
    await adapter.disconnect()
    added, took, requests = [], [], 0
    for began, ended in times[WARM:]:
        exchange_seconds = [seconds for at, seconds in spent if began <= at < ended]
        took.append(ended - began)
        added.append(1000 * (ended - began - sum(exchange_seconds)))
        requests += len(exchange_seconds)
    return took, added, requests


def _order(number: int, spec: ConnectionSpec) -> OrderRequest:
    return OrderRequest(
        client_order_id=f"zbm{number:014d}0", connection_id=spec.connection_id,
        account=spec.account, symbol="BTC/USDT:USDT", side=Side.SELL if number % 2 else Side.BUY,
        order_type=OrderType.MARKET, time_in_force=TimeInForce.GTC, quantity=Decimal("0.5"),
    )  # fmt: skip
