"""A rate limit shared by real processes: the total rate, exits first, and Redis' absence."""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from redis import Redis

from brokers.base import NotSent
from brokers.rate_limits import Priority, Rate, configure, rate_limiter_for, scheduler
from common.clocks import machine_time
from common.reason_codes import Code
from ops.embedded.redis import RedisServer
from tests.sampling import exhaustive
from tests.until import until

pytestmark = pytest.mark.processes

PROCESSES = 3
RATE = Rate(per_second=40, burst=6)
PATIENCE = 60  # seconds, with which a condition is waited for


@dataclass(frozen=True)
class Left:
    """One request that has left. at: machine_time(); waited: seconds."""

    priority: Priority
    at: float
    waited: float


class RequestProcesses:
    """Processes that share one rate limiter."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self._folder, self._url, self._stack = folder, url, stack
        self.running: list[subprocess.Popen[bytes]] = []
        self.at_once = 0  # requests that may be admitted and not written down yet

    def start(
        self, rate: Rate = RATE, *, waiting: int = 5, priority: Priority = Priority.ENTRY,
        every: float = 0, other: Priority = Priority.EXIT,
    ) -> None:  # fmt: skip
        out = self._folder / f"{len(self.running)}.txt"
        words = [self._url, PROCESSES, "shared", rate.per_second, rate.burst]
        words += [priority.name, waiting, other.name, every]
        self.at_once += waiting + bool(every) + rate.ahead
        command = [
            sys.executable,
            "-m",
            "tests.rate_limits.request_process",
            *map(str, words),
            str(out),
        ]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self.running.append(process)
        until(lambda: bool(self.left(len(self.running) - 1)))

    def left(self, *numbers: int) -> list[Left]:
        """Return the requests sent by these processes (default: all), by time."""
        found: list[Left] = []
        for number in numbers or range(len(self.running)):
            path = self._folder / f"{number}.txt"
            text = path.read_text() if path.exists() else ""
            for line in text[: text.rfind("\n") + 1].splitlines():
                priority, at, waited = line.split()
                found.append(Left(Priority[priority], float(at), float(waited)))
        return sorted(found, key=lambda request: request.at)

    def lapses(self) -> list[float]:
        """Return when a process did not get Redis' answer in time, as on a busy machine."""
        files = self._folder.glob("*.lapses")
        return [float(line) for path in files for line in path.read_text().splitlines()]

    def since(self, moment: float, *numbers: int) -> list[Left]:
        return [request for request in self.left(*numbers) if request.at >= moment]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    tmp_path.chmod(0o755)
    made = RedisServer(tmp_path / "redis").start()
    yield made
    if made.process is not None:
        os.kill(made.process.pid, signal.SIGCONT)
    made.stop()


@pytest.fixture
def workers(tmp_path: Path, server: RedisServer) -> Iterator[RequestProcesses]:
    with ExitStack() as stack:
        yield RequestProcesses(tmp_path, server.url, stack)


def most_in_any_window(left: list[Left], rate: Rate = RATE) -> float:
    """Return the largest excess over `rate` × time in any window."""
    worst, lowest = 0.0, float("inf")
    for number, request in enumerate(left):
        lowest = min(lowest, number - request.at * rate.per_second)
        worst = max(worst, number + 1 - request.at * rate.per_second - lowest)
    return worst


def is_used(left: list[Left], rate: Rate = RATE, seconds: float = 2.0) -> bool:
    """Return whether some window of `seconds` used 90 % of the rate, the burst not counted.

    A busy machine reaches the rate in some windows only.
    """
    times, wanted = (
        [request.at for request in left],
        int(0.9 * rate.per_second * seconds + rate.burst),
    )
    return any(last - first <= seconds for first, last in zip(times, times[wanted:], strict=False))


def overtaken(took: list[Left], first: Priority, behind: Priority) -> list[int]:
    """Return for each `first` request how many `behind` requests left while it waited."""
    times = [request.at for request in took if request.priority is behind]
    return [
        bisect_right(times, request.at) - bisect_left(times, request.at - request.waited)
        for request in took
        if request.priority is first
    ]


def allowed(workers: RequestProcesses, rate: Rate = RATE) -> float:
    """Return the excess to accept: requests admitted before a pause of the machine may be
    written down after it, one for each waiting task.
    """
    return rate.burst + workers.at_once


def allowed_with_lapses(
    workers: RequestProcesses, rate: Rate = RATE, without_redis: tuple[float, float] = (0.0, 0.0)
) -> float:
    """Return the excess to accept where Redis runs, but may answer a process of a busy machine too
    late: until the process asks Redis again, its own share comes on top of the shared rate.

    without_redis: from when to when Redis did not run.
    """
    gone, back = without_redis
    return allowed(workers, rate) + sum(
        own_share(rate) for at in workers.lapses() if not gone <= at <= back
    )


def own_share(rate: Rate = RATE) -> float:
    """Return how many requests a process admits without Redis until it asks it again."""
    share = rate.share(PROCESSES)
    return share.per_second * scheduler.REDIS_BACKOFF_SECONDS + share.burst


def test_processes_together_keep_and_use_the_rate(workers: RequestProcesses) -> None:
    for _ in range(PROCESSES):
        workers.start()
    began = machine_time()
    until(lambda: len(workers.since(began)) > 160)
    until(lambda: is_used(workers.since(began)))
    assert most_in_any_window(workers.left()) <= allowed_with_lapses(workers)
    for number in range(PROCESSES):  # no process starves
        until(lambda: len(workers.since(began, number)) > 20)  # noqa: B023


@pytest.mark.parametrize(
    ("first", "behind"),
    [
        (Priority.EXIT, Priority.ENTRY),
        exhaustive((Priority.LOOKUP, Priority.ENTRY)),
        exhaustive((Priority.ENTRY, Priority.READ)),
    ],
)
def test_higher_priority_overtakes_requests_of_all_processes(
    workers: RequestProcesses, first: Priority, behind: Priority
) -> None:
    workers.start(waiting=50, priority=behind)
    workers.start(waiting=50, priority=behind)
    workers.start(waiting=1, priority=behind, every=0.05, other=first)
    began = machine_time()
    until(lambda: sum(request.priority is first for request in workers.since(began)) > 40)
    before = overtaken(workers.since(began), first, behind)
    print(f"of 101 that wait {statistics.median(before)} leave before it, at most {max(before)}")
    assert statistics.median(before) <= 5  # in turn it would be all, by chance half of them
    assert most_in_any_window(workers.left()) <= allowed_with_lapses(workers)


@pytest.mark.slow
@pytest.mark.parametrize(
    "trouble", ["killed", pytest.param("hanging", marks=pytest.mark.exhaustive)]
)
def test_each_process_uses_its_share_without_redis_and_recovers(
    workers: RequestProcesses, server: RedisServer, trouble: str
) -> None:
    assert server.process is not None
    redis = server.process
    for _ in range(PROCESSES):
        workers.start()
    redis.send_signal(signal.SIGKILL if trouble == "killed" else signal.SIGSTOP)
    gone = machine_time()
    for number in range(PROCESSES):
        until(lambda: len(workers.since(gone, number)) > 40)  # noqa: B023
    alone = machine_time()
    for number in range(PROCESSES):
        took = [request for request in workers.since(gone, number) if request.at < alone]
        assert most_in_any_window(took, RATE.share(PROCESSES)) <= allowed(workers)
    if trouble == "killed":
        server.start()
    else:
        redis.send_signal(signal.SIGCONT)
    workers.running[0].send_signal(signal.SIGSTOP)  # its part is the others', once all share again
    back, theirs = machine_time(), RATE.share(PROCESSES).per_second * (PROCESSES - 1)
    until(lambda: most_in_any_window(workers.since(back), Rate(theirs, 0)) > 3 * workers.at_once)
    most = allowed_with_lapses(workers, without_redis=(gone, back))
    assert most_in_any_window(workers.left()) <= most


def test_stopped_process_saves_up_no_tokens(workers: RequestProcesses) -> None:
    large = Rate(per_second=200, burst=40)  # large enough to take ahead
    workers.start(large, waiting=1)
    workers.start(large, waiting=1, every=0.01)
    for _ in range(5):
        for process in workers.running:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            process.send_signal(signal.SIGCONT)
    assert most_in_any_window(workers.left(), large) <= allowed_with_lapses(workers, large)


class LateError(Exception):
    """Redis answered too late on a busy machine, so the process uses its own share."""


def test_admission_that_expired_is_requested_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop is blocked, as in a stopped process; the other processes use everything."""
    attempts = count()

    def stand_still() -> tuple[float, float] | None:
        caplog.clear()
        with suppress(LateError):
            found = asyncio.run(_stand_still(server.url, f"stood still {next(attempts)}"))
            if "Redis is unavailable" not in caplog.text:
                return found
        return None

    in_hand, reserved = until(stand_still, "Redis never answered in time", seconds=300) or (0, 0)
    assert in_hand > 0.3  # 60 owed, 25 kept, one wanted
    assert reserved > 0.25  # 60 owed, one wanted


async def _stand_still(url: str, name: str) -> tuple[float, float]:
    """Return how long an admitted request waited, and one with a reserved turn."""
    configure(url, 1)
    budget = rate_limiter_for(name, Rate(per_second=200, burst=100))

    def others_take_all(owed: int) -> bytes:
        """Return when, as it stands in Redis."""
        with Redis.from_url(url) as redis:
            if not redis.exists(f"budget:{name}"):
                raise LateError
            seconds, micros = redis.time()
            now = f"{seconds}.{micros:06}"
            redis.hset(f"budget:{name}", mapping={"level": -owed, "at": now})
        return now.encode()

    def asked_since(moment: bytes) -> bool:
        with Redis.from_url(url) as redis:
            return bool(redis.hget(f"budget:{name}", "at") != moment)

    await asyncio.gather(*(budget.acquire() for _ in range(60)))
    await asyncio.sleep(0.3)
    await budget.acquire()  # and some are in hand now
    time.sleep(scheduler.FRESH_SECONDS * 1.5)  # noqa: ASYNC251 - that is the point
    asked = machine_time()
    others_take_all(60)
    await budget.acquire()
    in_hand = machine_time() - asked
    owed_at = others_take_all(400)
    exit_ = asyncio.create_task(budget.acquire(priority=Priority.EXIT))  # reserves its turn in 2 s
    while not asked_since(owed_at):
        if exit_.done():
            raise LateError
        await asyncio.sleep(0.01)
    time.sleep(2.5)  # noqa: ASYNC251
    asked = machine_time()
    others_take_all(60)
    await exit_
    return in_hand, machine_time() - asked


def test_missed_deadline_is_reported_at_once(server: RedisServer) -> None:
    configure(server.url, 1)
    budget = rate_limiter_for("late", Rate(per_second=0.001, burst=4))

    async def too_late(priority: Priority) -> None:
        asked = machine_time()
        with pytest.raises(NotSent) as refused:
            await budget.acquire(
                priority=priority, deadline=asked + 800
            )  # its turn is in 1,000 s or later
        assert refused.value.code is Code.RATE_LIMITED
        assert machine_time() - asked < 400

    async def all_too_late() -> None:
        await budget.acquire(priority=Priority.EXIT)  # what Redis begins with
        for priority in Priority:
            await too_late(priority)
        waiting = asyncio.create_task(budget.acquire(priority=Priority.LOOKUP))  # has all the time
        for priority in (Priority.LOOKUP, Priority.ENTRY, Priority.LOOKUP):
            await too_late(priority)
        waiting.cancel()

    asyncio.run(all_too_late())


def test_back_off_applies_to_all_processes(workers: RequestProcesses, server: RedisServer) -> None:
    workers.start()
    workers.start(every=0.05)
    began = machine_time()

    async def back_off() -> None:
        configure(server.url, PROCESSES)
        budget = rate_limiter_for("shared", RATE)
        budget.back_off(6)
        with pytest.raises(NotSent):
            await budget.acquire(priority=Priority.EXIT, deadline=began + 5)

    asyncio.run(back_off())
    backed_off_at = machine_time()
    until(lambda: machine_time() > began + 5.5)
    left = [request for request in workers.since(backed_off_at) if request.at < began + 5.5]
    # What was admitted before, and what a process admits that Redis answers too late.
    assert len(left) <= workers.at_once + own_share() * len(workers.lapses())
    until(lambda: bool(workers.since(began + 6)))


def test_unreachable_redis(tmp_path: Path) -> None:
    """Without a listener at Redis' address, a process uses its own share and no more."""
    configure("redis://127.0.0.1:1/0", 4)
    budget = rate_limiter_for("alone", Rate(per_second=100, burst=20))

    async def take() -> float:
        began = machine_time()
        await asyncio.gather(*(budget.acquire() for _ in range(15)))
        return machine_time() - began

    # 5 at once, less what is kept, then 25 in a second
    assert 0.35 < asyncio.run(take()) < PATIENCE / 2
