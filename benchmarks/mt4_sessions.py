"""A process that watches terminals: `python -m benchmarks.mt4_sessions ROOT BROKERS N`.

It prints one line: its memory before and with N terminals, which share of a processor watching them
takes, and how soon it gets an event of one of them.
"""

import asyncio
import json
import os
import sys
import time
from decimal import Decimal
from pathlib import Path

import django

from benchmarks import process_usage
from benchmarks.mt4 import spec_of
from benchmarks.results import percentile
from brokers.dwx.adapter import DwxAdapter, create
from brokers.types import OrderRequest, OrderType, Side, TimeInForce
from tests.fakes.dwx.many_terminals import terminal

WATCHED_SECONDS = 5.0
EVENTS = 40
CONCURRENT = 20


def megabytes() -> float:
    """Return the memory of this process in MB."""
    return process_usage.memory_mb({"me": [os.getpid()]})["me"]


async def event_seconds(adapter: DwxAdapter, root: Path, brokers: Path, number: int) -> float:
    """Fill an entry, then let its stop loss close it; return the seconds until that event."""
    folder, fake = f"t{number}", terminal(root, brokers, number)
    entry = OrderRequest(
        f"zbh{number:014d}0", f"bench-{folder}", "4711", "EURUSD", Side.BUY, OrderType.MARKET,
        TimeInForce.GTC, Decimal(1000),
    )  # fmt: skip
    [report] = await adapter.submit(spec_of(folder), entry, lambda _: None)
    position = int(report.broker_position_id)
    await asyncio.to_thread(fake.simulate, "end", ticket=position, mark="[sl]")
    began = time.monotonic()
    async for _ in adapter.stream_events():
        reports = await adapter.events(1000)
        if any(r.close_cause and r.connection_id == f"bench-{folder}" for r in reports):
            break
    return time.monotonic() - began


async def main(root: Path, brokers: Path, count: int) -> None:
    """Connect to all terminals, watch them and print the figures."""
    adapter = create(str(root))
    before, began = megabytes(), time.monotonic()
    semaphore = asyncio.Semaphore(CONCURRENT)

    async def connect(number: int) -> None:
        async with semaphore:
            await adapter.connect(spec_of(f"t{number}"))

    await asyncio.gather(*(connect(number) for number in range(count)))
    seconds = time.monotonic() - began
    await asyncio.sleep(1)  # first polls
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(WATCHED_SECONDS)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    delays = [
        1000 * await event_seconds(adapter, root, brokers, number % count)
        for number in range(EVENTS)
    ]
    figures = {
        "before_mb": before, "held_mb": megabytes(), "connect_seconds": seconds,
        "watching_cpu_share": share, "event_p50_ms": percentile(delays, 50),
        "event_p99_ms": percentile(delays, 99),
    }  # fmt: skip
    print(json.dumps(figures), flush=True)
    await adapter.disconnect()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import execution.tasks  # noqa: F401  # as a trading process has it in memory

    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
