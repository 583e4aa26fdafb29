"""A call's time-out counts what its broker takes, not the wait for its rate limit."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from brokers.call_time import call_timeout, uncounted_wait
from brokers.crypto.exchange_limits import limits_of
from brokers.crypto.rate_limits import AccountRateLimits
from brokers.rate_limits import Priority
from tests.simulated_loop import SimulatedLoop


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(coroutine)


@dataclass
class SlowLimiter:
    """A rate limit that admits a request after so many seconds."""

    seconds: float

    async def acquire(
        self,
        tokens: float = 1,
        *,
        priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None:
        await asyncio.sleep(self.seconds)

    def back_off(self, seconds: float) -> None:
        """Do nothing."""


async def one_call(wait: float, answer: float) -> str:
    """Wait for the rate limit and then for the broker, with five seconds for the call."""
    none = SlowLimiter(0)
    limits = AccountRateLimits(none, None, none, limits_of("binance", "spot"), SlowLimiter(wait))
    async with call_timeout(5):
        await limits.admit(1.0, None)
        await asyncio.sleep(answer)
    return "answered"


@pytest.mark.parametrize(("wait", "answer"), [(0, 4), (17, 0), (17, 4)])
def test_wait_for_the_rate_limit_is_no_time_out(wait: float, answer: float) -> None:
    assert run(one_call(wait, answer)) == "answered"


@pytest.mark.parametrize(("wait", "answer"), [(0, 6), (17, 6)])
def test_broker_that_does_not_answer_times_out(wait: float, answer: float) -> None:
    with pytest.raises(TimeoutError):
        run(one_call(wait, answer))


def test_waits_stop_the_time_outs_around_them_all() -> None:
    async def nested(last: float) -> str:
        async with call_timeout(9):
            async with call_timeout(5):
                with uncounted_wait():
                    await asyncio.sleep(60)
                await asyncio.sleep(4)
            await asyncio.sleep(last)
            return "answered"

    assert run(nested(4)) == "answered"
    with pytest.raises(TimeoutError):
        run(nested(6))


def test_task_may_wait_after_the_call_that_started_it_has_ended() -> None:
    async def wait(may_begin: asyncio.Event) -> str:
        await may_begin.wait()
        with uncounted_wait():
            await asyncio.sleep(20)
        return "answered"

    async def outlives() -> str:
        may_begin = asyncio.Event()
        async with call_timeout(5):
            task = asyncio.create_task(wait(may_begin))
        may_begin.set()
        return await task

    assert run(outlives()) == "answered"


def test_two_reads_of_a_call_may_wait_at_the_same_time() -> None:
    async def wait(seconds: float) -> None:
        with uncounted_wait():
            await asyncio.sleep(seconds)

    async def together() -> str:
        async with call_timeout(5):
            await asyncio.gather(wait(20), wait(20))
            await asyncio.sleep(4)
        return "answered"

    assert run(together()) == "answered"
