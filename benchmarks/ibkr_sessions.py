"""A process with open IBKR sessions: `python -m benchmarks.ibkr_sessions N PORT…`.

It prints its memory before, with N sessions, and with 10,000 orders in its cache. It answers each
line "watch" as soon as all sessions are synchronised again.
"""

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import django

from benchmarks import process_usage
from brokers.base import ReadFailed
from brokers.event_buffer import EventBuffer
from brokers.ibkr.adapter import IbkrAdapter
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.order_records import Fill, Record
from brokers.record_cache import MAX_RECORDS
from brokers.types import ConnectionSpec

ACCOUNT = "DU1234567"
POLL_SECONDS = 0.02


def spec_of(number: int, port: int) -> ConnectionSpec:
    """Return a connection to a gateway on this machine."""
    settings = {"host": "127.0.0.1", "port": port, "symbols": ["EURUSD"], "timezone": "UTC"}
    return ConnectionSpec(f"bench-{number}", ACCOUNT, settings=settings)


def report(**figures: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(figures), flush=True)


def megabytes() -> float:
    """Return the memory of this process in MB."""
    return process_usage.memory_mb({"me": [os.getpid()]})["me"]


async def until_open(adapter: IbkrAdapter, spec: ConnectionSpec) -> None:
    """Connect, again and again, until the connection's session is synchronised."""
    while True:
        try:
            return await adapter.connect(spec)
        except ReadFailed:
            await asyncio.sleep(POLL_SECONDS)


async def all_open(adapter: IbkrAdapter, specs: list[ConnectionSpec]) -> None:
    """Wait until the sessions of all connections are synchronised."""
    await asyncio.gather(*(until_open(adapter, spec) for spec in specs))


def full_cache() -> OrderCache:
    """Return a cache with as many filled orders as it can hold."""
    cache, now = OrderCache(EventBuffer()), datetime.now(UTC)
    for number in range(MAX_RECORDS):
        record = Record("bench", f"bench{number:09d}", "", perm_id=number)
        fill = Fill(f"exec-{number:012d}", 1, Decimal(1000), Decimal("1.1"), now, Decimal("1.25"))
        cache.keep(record, 7)
        cache.add_fill(record, fill)
    return cache


async def main(sessions: int, ports: list[int]) -> None:
    """Open the sessions, report memory, then answer "watch" lines until the input ends."""
    adapter = IbkrAdapter()
    before, began = megabytes(), time.perf_counter()
    specs = [spec_of(n, ports[n % len(ports)]) for n in range(sessions)]
    await all_open(adapter, specs)
    seconds, connected = time.perf_counter() - began, megabytes()
    cache = full_cache()
    report(
        before_mb=before,
        connected_mb=connected,
        connected_seconds=seconds,
        full_ledger_mb=megabytes() - connected,
        records=len(cache),
    )
    while await asyncio.to_thread(sys.stdin.readline):
        await all_open(adapter, specs)
        report(open=sessions)
    await adapter.disconnect()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import execution.tasks  # noqa: F401  # as a trading process has it in memory

    asyncio.run(main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
