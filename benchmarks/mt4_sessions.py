"""A process that holds terminals: `python -m benchmarks.mt4_sessions ROOT PLACE N`.

It tells one line: its memory before and with N terminals that it watches, how much of a processor
watching takes, and how soon it hears what happens at one of them.
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
AT_ONCE = 20


def megabytes() -> float:
    return process_usage.memory_mb({"me": [os.getpid()]})["me"]


async def event_seconds(adapter: DwxAdapter, root: Path, environment: Path, number: int) -> float:
    """Place and fill an order by hand, close it by its stop; return the seconds until its event."""
    folder, played = f"t{number}", terminal(root, environment, number)
    entry = OrderRequest(
        f"zbh{number:014d}0", f"bench-{folder}", "4711", "EURUSD", Side.BUY, OrderType.MARKET,
        TimeInForce.GTC, Decimal(1000),
    )  # fmt: skip
    [told] = await adapter.submit(spec_of(folder), entry, lambda _: None)
    position = int(told.broker_position_id)
    await asyncio.to_thread(played.simulate, "end", ticket=position, mark="[sl]")
    began = time.monotonic()
    async for _ in adapter.stream_events():
        waiting = await adapter.events(1000)
        if any(one.close_cause and one.connection_id == f"bench-{folder}" for one in waiting):
            break
    return time.monotonic() - began


async def main(root: Path, environment: Path, count: int) -> None:
    adapter = create(str(root))
    before, began = megabytes(), time.monotonic()
    gate = asyncio.Semaphore(AT_ONCE)

    async def connect(number: int) -> None:
        async with gate:
            await adapter.connect(spec_of(f"t{number}"))

    await asyncio.gather(*(connect(number) for number in range(count)))
    seconds = time.monotonic() - began
    await asyncio.sleep(1)  # first looks
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(WATCHED_SECONDS)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    delays = [
        1000 * await event_seconds(adapter, root, environment, number % count)
        for number in range(EVENTS)
    ]
    said = {
        "before_mb": before, "held_mb": megabytes(), "connect_seconds": seconds,
        "watching_cpu_share": share, "heard_p50_ms": percentile(delays, 50),
        "heard_p99_ms": percentile(delays, 99),
    }  # fmt: skip
    print(json.dumps(said), flush=True)
    await adapter.disconnect()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import execution.tasks  # noqa: F401 (what a trading process has in memory)

    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
