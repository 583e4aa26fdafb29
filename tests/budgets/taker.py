"""A process that takes from a budget as fast as it may and writes down when.

    python -m tests.budgets.taker URL PROCESSES NAME PER_SECOND BURST WAITING URGENT_EVERY OUT

It ends on SIGTERM. Each line of OUT: `u` or `o`, machine_time() of leaving, seconds waited.
"""

import asyncio
import sys
from pathlib import Path
from typing import TextIO

from brokers.budgets import Budget, Rate, budget_for, use
from common.clocks import machine_time


def main(url: str, processes: str, name: str, per_second: str, burst: str, *rest: str) -> None:
    waiting, urgent_every, out = rest
    use(url, int(processes))
    budget = budget_for(name, Rate(float(per_second), float(burst)))
    with Path(out).open("w", buffering=1) as lines:
        asyncio.run(take(budget, lines, int(waiting), float(urgent_every)))


async def take(budget: Budget, lines: TextIO, waiting: int, urgent_every: float) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(waiting):
            group.create_task(keep_taking(budget, lines, "o", 0.0))
        if urgent_every:
            group.create_task(keep_taking(budget, lines, "u", urgent_every))


async def keep_taking(budget: Budget, lines: TextIO, kind: str, pause: float) -> None:
    while True:
        await asyncio.sleep(pause)
        asked = machine_time()
        await budget.acquire(urgent=kind == "u")
        left = machine_time()
        lines.write(f"{kind} {left:.6f} {left - asked:.6f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
