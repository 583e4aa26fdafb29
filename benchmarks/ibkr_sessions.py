"""A process that holds IBKR sessions: `python -m benchmarks.ibkr_sessions N PORT…`.

It tells its memory before, with N sessions, and with 10,000 orders in its ledger. Each line "watch"
is answered as soon as all sessions are in step again.
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
    """A connection to a gateway on this machine."""
    where = {"host": "127.0.0.1", "port": port, "symbols": ["EURUSD"], "timezone": "UTC"}
    return ConnectionSpec(f"bench-{number}", ACCOUNT, settings=where)


def report(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def megabytes() -> float:
    return process_usage.memory_mb({"me": [os.getpid()]})["me"]


async def until_open(adapter: IbkrAdapter, spec: ConnectionSpec) -> None:
    """Wait until a connection's session is in step."""
    while True:
        try:
            return await adapter.connect(spec)
        except ReadFailed:
            await asyncio.sleep(POLL_SECONDS)


async def all_open(adapter: IbkrAdapter, specs: list[ConnectionSpec]) -> None:
    await asyncio.gather(*(until_open(adapter, spec) for spec in specs))


def full_ledger() -> OrderCache:
    """As many filled orders as are ever kept."""
    ledger, now = OrderCache(EventBuffer()), datetime.now(UTC)
    for number in range(MAX_RECORDS):
        record = Record("bench", f"bench{number:09d}", "", perm_id=number)
        fill = Fill(f"exec-{number:012d}", 1, Decimal(1000), Decimal("1.1"), now, Decimal("1.25"))
        ledger.keep(record, 7)
        ledger.add_fill(record, fill)
    return ledger


async def main(sessions: int, ports: list[int]) -> None:
    adapter = IbkrAdapter()
    before, began = megabytes(), time.perf_counter()
    specs = [spec_of(n, ports[n % len(ports)]) for n in range(sessions)]
    await all_open(adapter, specs)
    seconds, connected = time.perf_counter() - began, megabytes()
    ledger = full_ledger()
    report(
        before_mb=before,
        connected_mb=connected,
        connected_seconds=seconds,
        full_ledger_mb=megabytes() - connected,
        records=len(ledger),
    )
    while await asyncio.to_thread(sys.stdin.readline):
        await all_open(adapter, specs)
        report(open=sessions)
    await adapter.disconnect()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import execution.tasks  # noqa: F401 (what a trading process has in memory)

    asyncio.run(main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
