"""What a budget costs that is shared over Redis, against one that a process keeps for itself."""

import asyncio
import tempfile
import time
from pathlib import Path

from redis import Redis

from benchmarks.results import Result, compared
from brokers.rate_limits import Rate, configure, rate_limiter_for
from ops.embedded.redis import RedisServer

TARGET = 0.2
WAITING = 100  # orders of a bundle that ask at the same time
ALONE = 1_000  # asks one after the other
ROUNDS = 3
# Nobody waits for it, and nothing is taken ahead: what is measured is the asking.
AMPLE = Rate(per_second=90, burst=1e9)


def budget(n: int) -> Result:
    """Acquire n times by a hundred who ask at once: shared, and by the process itself."""
    ours: list[float] = []
    local: list[float] = []
    alone: list[float] = []
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        Path(folder).chmod(0o755)  # Redis runs as another user when we are root
        with RedisServer(Path(folder) / "redis") as server:
            for number in range(ROUNDS):
                configure("", 1)
                local.append(asyncio.run(_together(f"local {number}", n)))
                configure(server.url, 1)
                _fill(server.url, f"shared {number}")
                ours.append(asyncio.run(_together(f"shared {number}", n)))
                alone += asyncio.run(_one_by_one(f"shared {number}"))
    configure("", 1)
    return compared(
        "budget",
        n=n,
        seconds=ours,
        baseline="a budget of the process itself",
        baseline_n=n,
        baseline_seconds=local,
        target=TARGET,
        latencies_ms=[1000 * one for one in alone],
        waiting=WAITING,
        latency_of="one acquire alone",
    )


def _fill(url: str, name: str) -> None:
    """A budget that Redis has forgotten begins with little: this one is full."""
    with Redis.from_url(url, socket_timeout=5) as redis:
        seconds, _ = redis.time()
        redis.hset(f"budget:{name}", mapping={"level": AMPLE.burst, "at": seconds})


async def _together(name: str, n: int) -> float:
    kept = rate_limiter_for(name, AMPLE)
    await kept.acquire()  # connected

    async def some() -> None:
        for _ in range(n // WAITING):
            await kept.acquire()

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(WAITING)))
    return time.perf_counter() - began


async def _one_by_one(name: str) -> list[float]:
    kept = rate_limiter_for(name, AMPLE)
    took = []
    for _ in range(ALONE):
        began = time.perf_counter()
        await kept.acquire()
        took.append(time.perf_counter() - began)
    return took
