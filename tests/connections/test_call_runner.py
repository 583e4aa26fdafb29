"""Concurrent broker calls: each result is available as soon as it arrives."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.base import CallCancelled
from brokers.call_runner import BrokerCallRunner, HostSkipped
from tests.hanging import Hang

MANY = 200
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def hang() -> Iterator[Hang]:
    held = Hang()
    yield held
    held.end()


def of(host: str) -> Any:
    return SimpleNamespace(broker_host=host)


def asking(run: Run = asyncio.run, *, seconds: float = 60) -> BrokerCallRunner[str]:
    return BrokerCallRunner(run, max_calls=40, max_per_host=10, seconds=lambda: seconds)


def all_of(answers: BrokerCallRunner[str]) -> list[str | Exception]:
    return [answer for group in answers.groups() for _, answer in group]


async def well() -> str:
    return "well"


def test_results_arrive_while_another_call_hangs(hang: Hang) -> None:
    answers = asking()
    answers.start([(of("away"), hang.late), *((of("well"), well) for _ in range(MANY))])
    received = 0
    while received < MANY:
        found = answers.group(30)
        assert {answer for _, answer in found} == {"well"}
        received += len(found)
    assert (answers.remaining, answers.group(0)) == (1, [])
    hang.end()
    assert all_of(answers) == ["late"]


def test_more_calls_may_start_while_some_hang(hang: Hang) -> None:
    answers = asking()
    answers.start([(of("away"), hang.late)])
    answers.start([(of("well"), well)])
    assert [answer for _, answer in answers.group(30)] == ["well"]
    hang.end()
    assert all_of(answers) == ["late"]


def test_unresponsive_host_is_skipped_after_first_calls(hang: Hang) -> None:
    """1,500 of them, ten at a time, would be more than a minute."""
    made: list[int] = []

    async def hung() -> str:
        made.append(1)
        return await hang.late()

    # The ten end soon. The host is then skipped for a minute, which a slow machine does not exceed.
    answers = BrokerCallRunner[str](
        asyncio.run, max_calls=40, max_per_host=10, seconds=lambda: 0.5 if len(made) < 10 else 60
    )
    answers.start([(of("away"), hung) for _ in range(1500)])
    results = all_of(answers)
    assert sum(isinstance(result, TimeoutError) for result in results) == len(made) == 10
    assert sum(isinstance(result, HostSkipped) for result in results) == 1490


def test_failed_call_does_not_stop_others() -> None:
    async def refuse() -> str:
        raise ValueError("no")

    answers = asking()
    answers.start([(of("x"), refuse) for _ in range(30)])
    assert [type(result) for result in all_of(answers)] == [ValueError] * 30


def test_call_that_cancels_itself_does_not_stop_others() -> None:
    async def cancel() -> str:
        raise asyncio.CancelledError

    answers = asking()
    answers.start([(of("x"), cancel), *((of("x"), well) for _ in range(30))])
    results = all_of(answers)
    assert [type(result) for result in results if result != "well"] == [CallCancelled]
    assert results.count("well") == 30


def test_error_that_stops_calls_is_raised_after_results() -> None:
    def broken(coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run(coroutine)
        raise RuntimeError("the loop is gone")

    def dead(coroutine: Coroutine[Any, Any, None]) -> None:
        coroutine.close()
        raise RuntimeError("the loop is gone")

    answers = asking(broken)
    answers.start([(of("x"), well)])
    assert [answer for _, answer in answers.group(30)] == ["well"]
    answers = asking(dead)
    answers.start([(of("x"), well)])
    with pytest.raises(RuntimeError, match="gone"):
        all_of(answers)
    assert answers.remaining == 0


def test_slow_pass_ends_with_results_so_far(hang: Hang) -> None:
    limits: list[asyncio.Timeout] = []

    async def within(coroutine: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            await coroutine

    async def last() -> str:
        limits[0].reschedule(asyncio.get_running_loop().time())  # right after this answer
        return "well"

    answers = asking(lambda coroutine: asyncio.run(within(coroutine)))
    answers.start([(of("away"), hang.late), (of("well"), last)])
    assert all_of(answers) == ["well"]
    assert answers.remaining == 0
