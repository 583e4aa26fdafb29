"""A budget that real processes share: the sum, exits first, and what Redis' absence does."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from brokers.base import NotSent
from brokers.budgets import Rate, budget_for, keeper, use
from common.clocks import machine_time
from common.codes import Code
from common.embedded.processes import wait_until
from common.embedded.redis import RedisServer

PROCESSES = 3
RATE = Rate(per_second=40, burst=6)
WRITING_SECONDS = 0.05  # from a turn to the line in the file, on a busy machine


@dataclass(frozen=True)
class Left:
    """One request that has left. at: machine_time(); waited: seconds."""

    urgent: bool
    at: float
    waited: float


class Takers:
    """Processes that all take from one budget."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self._folder, self._url, self._stack = folder, url, stack
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, rate: Rate = RATE, *, waiting: int = 5, urgent_every: float = 0) -> None:
        out = self._folder / f"{len(self.running)}.txt"
        words = [self._url, PROCESSES, "shared", rate.per_second, rate.burst, waiting, urgent_every]
        command = [sys.executable, "-m", "tests.budgets.taker", *map(str, words), str(out)]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self.running.append(process)
        assert wait_until(lambda: bool(self.left(len(self.running) - 1)), 20)

    def left(self, *numbers: int) -> list[Left]:
        """What has left of these processes, or of all, in the order of time."""
        found: list[Left] = []
        for number in numbers or range(len(self.running)):
            path = self._folder / f"{number}.txt"
            text = path.read_text() if path.exists() else ""
            for line in text[: text.rfind("\n") + 1].splitlines():
                kind, at, waited = line.split()
                found.append(Left(kind == "u", float(at), float(waited)))
        return sorted(found, key=lambda one: one.at)

    def since(self, moment: float, *numbers: int) -> list[Left]:
        return [one for one in self.left(*numbers) if one.at >= moment]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    tmp_path.chmod(0o755)
    made = RedisServer(tmp_path / "redis").start()
    yield made
    if made.process is not None:
        os.kill(made.process.pid, signal.SIGCONT)
    made.stop()


@pytest.fixture
def takers(tmp_path: Path, server: RedisServer) -> Iterator[Takers]:
    with ExitStack() as stack:
        yield Takers(tmp_path, server.url, stack)


def most_in_any_window(left: list[Left], rate: Rate = RATE) -> float:
    """How much more than `rate` × time has left in the worst of all windows."""
    worst, lowest = 0.0, float("inf")
    for number, one in enumerate(left):
        lowest = min(lowest, number - one.at * rate.per_second)
        worst = max(worst, number + 1 - one.at * rate.per_second - lowest)
    return worst


def allowed(rate: Rate = RATE) -> float:
    return rate.burst + rate.per_second * (keeper.FRESH_SECONDS + WRITING_SECONDS)


def test_all_processes_together_keep_the_rate_and_use_it(takers: Takers) -> None:
    for _ in range(PROCESSES):
        takers.start()
    began = machine_time()
    assert wait_until(lambda: len(takers.since(began)) > 160, 30)
    took = takers.since(began)
    assert most_in_any_window(takers.left()) <= allowed()
    assert len(took) / (took[-1].at - began) > RATE.per_second * 0.8
    shares = [len(takers.since(began, number)) for number in range(PROCESSES)]
    assert min(shares) > len(took) / PROCESSES / 3  # nobody has nothing


def test_an_exit_goes_before_what_waits_in_all_processes(takers: Takers) -> None:
    takers.start(waiting=50)
    takers.start(waiting=50)
    takers.start(waiting=1, urgent_every=0.05)
    began = machine_time()
    assert wait_until(lambda: sum(one.urgent for one in takers.since(began)) > 60, 30)
    took = takers.since(began)
    exits = sorted(one.waited for one in took if one.urgent)
    others = sorted(one.waited for one in took if not one.urgent)
    assert exits[len(exits) // 2] < 0.05
    assert exits[-1] < others[len(others) // 2]
    assert most_in_any_window(takers.left()) <= allowed()


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["killed", "hanging"])
def test_without_redis_each_has_its_share_and_comes_back(
    takers: Takers, server: RedisServer, trouble: str
) -> None:
    assert server.process is not None
    redis = server.process
    for _ in range(PROCESSES):
        takers.start()
    redis.send_signal(signal.SIGKILL if trouble == "killed" else signal.SIGSTOP)
    gone = machine_time()
    time.sleep(keeper.REST_SECONDS * 2)  # what is measured is a rate
    alone = [takers.since(gone, number) for number in range(PROCESSES)]
    for took in alone:
        assert took[0].at - gone < 1
        assert len(took) <= RATE.per_second / PROCESSES * (machine_time() - gone) + RATE.burst
    if trouble == "killed":
        server.start()
    else:
        redis.send_signal(signal.SIGCONT)
    time.sleep(keeper.REST_SECONDS + keeper.SETTLE_SECONDS * 2)
    back = machine_time()
    takers.running[0].send_signal(signal.SIGSTOP)  # its part is now the others'
    assert wait_until(lambda: len(takers.since(back + 1)) > 80, 20)
    took = takers.since(back + 1)
    assert len(took) / (took[-1].at - took[0].at) > RATE.per_second * 0.8
    assert most_in_any_window(takers.left()) <= allowed()


def test_a_process_that_was_stopped_has_nothing_saved_up(takers: Takers) -> None:
    large = Rate(per_second=200, burst=40)  # large enough to take ahead
    takers.start(large, waiting=1)
    takers.start(large, waiting=1, urgent_every=0.01)
    for _ in range(5):
        for process in takers.running:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            process.send_signal(signal.SIGCONT)
    assert most_in_any_window(takers.left(), large) <= allowed(large)


def test_what_was_admitted_and_has_not_left_in_time_is_asked_for_again(server: RedisServer) -> None:
    """The loop stands still, as it does in a process that is stopped; the others take all."""
    use(server.url, 1)
    budget = budget_for("stood still", Rate(per_second=200, burst=100))

    def others_take_all() -> None:
        with Redis.from_url(server.url) as redis:
            assert redis.exists("budget:stood still")
            seconds, micros = redis.time()
            now = f"{seconds}.{micros:06}"
            redis.hset("budget:stood still", mapping={"level": -60, "at": now})

    async def stand_still() -> tuple[float, float]:
        await asyncio.gather(*(budget.acquire() for _ in range(60)))
        await asyncio.sleep(0.3)
        await budget.acquire()  # and some are in hand now
        time.sleep(keeper.FRESH_SECONDS * 1.5)  # noqa: ASYNC251 - that is the point
        others_take_all()
        asked = machine_time()
        await budget.acquire()
        in_hand = machine_time() - asked
        others_take_all()
        exit_ = asyncio.create_task(budget.acquire(urgent=True))  # reserves its turn in 0.3 s
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251
        others_take_all()
        asked = machine_time()
        await exit_
        return in_hand, machine_time() - asked

    in_hand, reserved = asyncio.run(stand_still())
    assert in_hand > 0.3  # 60 owed, 25 kept, one wanted
    assert reserved > 0.25  # 60 owed, one wanted


def test_too_late_is_told_at_once(server: RedisServer) -> None:
    use(server.url, 1)
    budget = budget_for("late", Rate(per_second=4, burst=4))

    async def too_late(urgent: bool) -> None:
        for _ in range(4):
            await budget.acquire(urgent=True)
        asked = machine_time()
        with pytest.raises(NotSent) as refused:
            await budget.acquire(urgent=urgent, until=asked + 0.2)
        assert refused.value.code is Code.RATE_LIMITED
        assert machine_time() - asked < 0.15

    asyncio.run(too_late(urgent=True))
    asyncio.run(too_late(urgent=False))


def test_a_rest_is_heard_by_all(takers: Takers, server: RedisServer) -> None:
    takers.start()
    takers.start(urgent_every=0.05)

    async def rest() -> None:
        use(server.url, PROCESSES)
        budget = budget_for("shared", RATE)
        budget.rest(1.5)
        with pytest.raises(NotSent):
            await budget.acquire(urgent=True, until=machine_time() + 1)

    asyncio.run(rest())
    began = machine_time()
    assert wait_until(lambda: machine_time() > began + 1.2, 5)
    assert takers.since(began + 0.2) == []
    assert wait_until(lambda: bool(takers.since(began + 1)), 5)


def test_no_redis_at_all(tmp_path: Path) -> None:
    """An address where nobody listens: the share, at once, and never more."""
    use("redis://127.0.0.1:1/0", 4)
    budget = budget_for("alone", Rate(per_second=100, burst=20))

    async def take() -> float:
        began = machine_time()
        await asyncio.gather(*(budget.acquire() for _ in range(15)))
        return machine_time() - began

    assert 0.35 < asyncio.run(take()) < 1  # 5 at once, less what is kept, then 25 in a second
