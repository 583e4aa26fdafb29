"""Send requests through a rate limiter as fast as it admits them and record when.

    python -m tests.rate_limits.request_process URL PROCESSES NAME PER_SECOND BURST RANK N OTHER
    EVERY OUT

N tasks always wait with priority RANK, one more with OTHER every EVERY seconds (0: none).
It ends on SIGTERM. Each line of OUT: priority, machine_time() of leaving, seconds waited.
"""

import asyncio
import sys
from pathlib import Path
from typing import TextIO

from brokers.rate_limits import Priority, Rate, RateLimiter, configure, rate_limiter_for
from common.clocks import machine_time


def main(url: str, processes: str, name: str, per_second: str, burst: str, *back_off: str) -> None:
    priority, waiting, other, every, out = back_off
    configure(url, int(processes))
    budget = rate_limiter_for(name, Rate(float(per_second), float(burst)))
    with Path(out).open("w", buffering=1) as lines:
        pauses = {Priority[priority]: [0.0] * int(waiting)}
        if float(every):
            pauses[Priority[other]] = [float(every)]
        asyncio.run(take(budget, lines, pauses))


async def take(budget: RateLimiter, lines: TextIO, pauses: dict[Priority, list[float]]) -> None:
    async with asyncio.TaskGroup() as group:
        for priority, of_rank in pauses.items():
            for pause in of_rank:
                group.create_task(keep_taking(budget, lines, priority, pause))


async def keep_taking(budget: RateLimiter, lines: TextIO, priority: Priority, pause: float) -> None:
    while True:
        await asyncio.sleep(pause)
        asked = machine_time()
        await budget.acquire(priority=priority)
        left = machine_time()
        lines.write(f"{priority.name} {left:.6f} {left - asked:.6f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
