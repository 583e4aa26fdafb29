"""Send requests through a rate limiter as fast as it admits them and record when.

    python -m tests.rate_limits.request_process URL PROCESSES NAME PER_SECOND BURST RANK N OTHER
    EVERY OUT

N tasks always wait with priority RANK, one more with OTHER every EVERY seconds (0: none).
It ends on SIGTERM. Each line of OUT: priority, machine_time() of leaving, seconds waited. Each line
of OUT.lapses: machine_time() of a moment at which Redis had not answered in time, and this process
began to use its own share.
"""

import asyncio
import logging
import sys
from pathlib import Path
from typing import TextIO

from brokers.rate_limits import Priority, Rate, RateLimiter, configure, rate_limiter_for
from common.clocks import machine_time


class LapseRecorder(logging.Handler):
    """Records when the rate limiter reports that Redis is unavailable."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        if "Redis is unavailable" in record.getMessage():
            with self._path.open("a") as lines:
                lines.write(f"{machine_time():.6f}\n")


def main(url: str, processes: str, name: str, per_second: str, burst: str, *back_off: str) -> None:
    priority, waiting, other, every, out = back_off
    logging.getLogger("brokers.rate_limits").addHandler(LapseRecorder(Path(f"{out}.lapses")))
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
