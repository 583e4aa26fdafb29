"""A process that takes from a budget as fast as it may and writes down when.

    python -m tests.budgets.taker URL PROCESSES NAME PER_SECOND BURST RANK N OTHER EVERY OUT

N always wait with RANK, and one more with OTHER after each EVERY seconds (0: none). It ends on
SIGTERM. Each line of OUT: rank, machine_time() of leaving, seconds waited.
"""

import asyncio
import sys
from pathlib import Path
from typing import TextIO

from brokers.budgets import Budget, Rank, Rate, budget_for, use
from common.clocks import machine_time


def main(url: str, processes: str, name: str, per_second: str, burst: str, *rest: str) -> None:
    rank, waiting, other, every, out = rest
    use(url, int(processes))
    budget = budget_for(name, Rate(float(per_second), float(burst)))
    with Path(out).open("w", buffering=1) as lines:
        pauses = {Rank[rank]: [0.0] * int(waiting)}
        if float(every):
            pauses[Rank[other]] = [float(every)]
        asyncio.run(take(budget, lines, pauses))


async def take(budget: Budget, lines: TextIO, pauses: dict[Rank, list[float]]) -> None:
    async with asyncio.TaskGroup() as group:
        for rank, of_rank in pauses.items():
            for pause in of_rank:
                group.create_task(keep_taking(budget, lines, rank, pause))


async def keep_taking(budget: Budget, lines: TextIO, rank: Rank, pause: float) -> None:
    while True:
        await asyncio.sleep(pause)
        asked = machine_time()
        await budget.acquire(rank=rank)
        left = machine_time()
        lines.write(f"{rank.name} {left:.6f} {left - asked:.6f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
