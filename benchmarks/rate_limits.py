"""A rate limit that processes share over Redis, against one inside a single process."""

import asyncio
import tempfile
import time
from pathlib import Path

from redis import Redis

from benchmarks.results import Result, compared
from brokers.rate_limits import Rate, configure, rate_limiter_for
from ops.embedded.redis import RedisServer

TARGET = 0.2
WAITING = 100  # concurrent requests, such as those of a bundle's orders
ALONE = 1_000  # requests one after the other, at most
ROUNDS = 3
# A limit that is never reached, so that only the request for a grant is measured.
AMPLE = Rate(per_second=90, burst=1e9)


def budget(count: int) -> Result:
    """Measure grants to a hundred concurrent requests: from Redis, and inside the process."""
    ours: list[float] = []
    local: list[float] = []
    alone: list[float] = []
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        Path(folder).chmod(0o755)  # Redis runs as another user when we are root
        with RedisServer(Path(folder) / "redis") as server:
            for number in range(ROUNDS):
                configure("", 1)
                local.append(asyncio.run(_acquire_concurrently(f"local {number}", count)))
                configure(server.url, 1)
                _fill(server.url, f"shared {number}")
                ours.append(asyncio.run(_acquire_concurrently(f"shared {number}", count)))
                alone += asyncio.run(_acquire_in_turn(f"shared {number}", min(count, ALONE)))
    configure("", 1)
    return compared(
        "budget",
        count=count,
        seconds=ours,
        baseline="a budget of the process itself",
        baseline_count=count,
        baseline_seconds=local,
        target=TARGET,
        latencies_ms=[1000 * seconds for seconds in alone],
        waiting=WAITING,
        latency_of="one acquire alone",
    )


def _fill(url: str, name: str) -> None:
    """Fill a rate limit's bucket; a new one in Redis starts almost empty."""
    with Redis.from_url(url, socket_timeout=5) as redis:
        seconds, _ = redis.time()
        redis.hset(f"budget:{name}", mapping={"level": AMPLE.burst, "at": seconds})


async def _acquire_concurrently(name: str, count: int) -> float:
    rate_limiter = rate_limiter_for(name, AMPLE)
    await rate_limiter.acquire()  # connects to Redis

    async def acquire_many() -> None:
        for _ in range(count // WAITING):
            await rate_limiter.acquire()

    began = time.perf_counter()
    await asyncio.gather(*(acquire_many() for _ in range(WAITING)))
    return time.perf_counter() - began


async def _acquire_in_turn(name: str, count: int) -> list[float]:
    rate_limiter = rate_limiter_for(name, AMPLE)
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await rate_limiter.acquire()
        took.append(time.perf_counter() - began)
    return took
