"""How many calls a host gets at once: as many as it manages, whoever of its accounts is silent."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from brokers.base import NotSent
from brokers.places import LEAST_SHARE, HostLoad, Places, Rank, load_of
from common.codes import Code
from execution.calls.errands import AT_ONE_HOST, Done, Errand, Errands

TIME_OUT, ACCOUNTS = 1.0, 200


@dataclass(frozen=True)
class About:
    """An account of the one host."""

    connection_id: int
    broker_host: str = "host"
    lane: str = ""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of its own, as the wire's."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever, daemon=True)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(10)
    made.close()


def until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Whether it came about within so many seconds."""
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    return is_so()


def an_errand(account: int, call: Callable[[], Any]) -> Errand:
    return Errand(account, About(account), call, lambda done: None)


class Overloaded:
    """A host that answers one request after another, those too whose callers have given up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds, self.worked = seconds, 0
        self._queue: deque[asyncio.Future[str]] = deque()
        self._has_ended = False
        self._task = asyncio.run_coroutine_threadsafe(self._work(), loop)

    async def _work(self) -> None:
        while not self._has_ended:
            await asyncio.sleep(self.seconds)
            if self._queue:
                self.worked += 1
                if not (turn := self._queue.popleft()).done():
                    turn.set_result("answered")

    async def answer(self) -> str:
        turn: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        return await turn

    def end(self) -> None:
        self._has_ended = True
        self._task.result(10)


def test_an_overloaded_host_is_sent_what_it_manages(loop: asyncio.AbstractEventLoop) -> None:
    """Requests that are not answered are sent again, as by the sweeps, until they are."""
    host = Overloaded(loop, seconds=0.02)  # 50 in the time of a call, and 100 are sent at once
    answered: set[int] = set()

    def tell(done: Done) -> None:
        if not done.failed:
            answered.add(done.about.connection_id)

    errands = Errands(loop, tell, TIME_OUT)

    def are_all_answered() -> bool:
        errands.start([an_errand(n, host.answer) for n in range(ACCOUNTS) if n not in answered])
        return len(answered) == ACCOUNTS

    began = time.monotonic()
    done = until(are_all_answered, 60)
    print(f"{len(answered)} of {ACCOUNTS} answered after {time.monotonic() - began:.1f} s;"
          f" {host.worked} requests were worked through")  # fmt: skip
    errands.wait_idle(5)
    host.end()
    assert done


def test_accounts_that_do_not_answer_wait_behind_those_that_do(
    loop: asyncio.AbstractEventLoop,
) -> None:
    missed: list[int] = []
    answered: dict[int, float] = {}

    def tell(done: Done) -> None:
        if done.failed:
            missed.append(done.about.connection_id)
        else:
            answered[done.about.connection_id] = time.monotonic()

    errands = Errands(loop, tell, 5.0)

    async def well() -> str:
        return "answered"

    silent = range(AT_ONE_HOST)
    errands.start([an_errand(n, asyncio.Event().wait) for n in silent])
    assert until(lambda: len(missed) == len(silent), 30)  # the host gets fewer calls at once now
    errands.start([an_errand(n, asyncio.Event().wait) for n in silent])
    errands.start([an_errand(n, well) for n in range(1000, 1050)])
    began = time.monotonic()
    until(lambda: len(answered) == 50, 10)
    longest = max(answered.values(), default=began) - began
    print(f"{len(answered)} of 50 answered, the last after {longest:.1f} s")
    assert len(answered) == 50
    assert longest < 2.5  # nobody waited for the silent ones
    errands.wait_idle(20)


@pytest.mark.parametrize(
    ("ended", "share"),
    [
        ([(0.0, 0.1, True)], 1.0),
        ([(0.0, 3.0, False)], 0.5),
        ([(0.0, 3.0, False), (0.0, 3.0, False)], 0.5),  # one moment is one reason
        ([(0.0, 3.0, False), (3.1, 6.1, False)], 0.25),
        ([(0.0, 2.9, True)], 0.5),  # in time, and yet too slow to send it more
        ([(2.0, 2.1, True), (0.0, 3.0, False)], 1.0),  # others of the host were quick meanwhile
        ([(0.0, 0.1, False)], 1.0),  # refused at once: it is not too much for the host
        ([(n * 4.0, n * 4.0 + 3, False) for n in range(20)], LEAST_SHARE),
        ([(0.0, 3.0, False), (4.0, 4.1, True)], 0.51),
    ],
)
def test_the_share_of_a_host_follows_its_quickest_answers(
    ended: list[tuple[float, float, bool]], share: float
) -> None:
    load = HostLoad()
    for began, now, answered in ended:
        load.note(began, now, 3.0, answered=answered, most=AT_ONE_HOST)
    assert load.share == pytest.approx(share)


def test_a_cancel_of_a_silent_account_goes_before_every_look_up(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """One place is left: who gets it when it is free?"""
    done: list[Any] = []
    made = Places(in_all=10, per_host=2, least=1, seconds=TIME_OUT)

    async def call(account: int, rank: Rank, *, answered: bool = True) -> None:
        async with made.of("host", account, rank):
            try:
                async with made.timed("host", account):
                    await asyncio.sleep(0.05)
                    if not answered:
                        raise TimeoutError
            except TimeoutError:
                return
            done.append((account, rank))

    async def story() -> None:
        await call(1, Rank.FIRST, answered=False)  # account 1 has not answered
        load_of("host").share = 0.0
        busy = asyncio.create_task(call(2, Rank.FIRST))
        await asyncio.sleep(0)
        looks = [asyncio.create_task(call(n, Rank.PATIENT)) for n in (3, 1)]
        await asyncio.sleep(0)
        await asyncio.gather(busy, *looks, call(1, Rank.FIRST))

    asyncio.run_coroutine_threadsafe(story(), loop).result(10)
    assert done == [(2, Rank.FIRST), (1, Rank.FIRST), (3, Rank.PATIENT), (1, Rank.PATIENT)]


def test_what_was_not_sent_says_nothing_of_its_account(loop: asyncio.AbstractEventLoop) -> None:
    made = Places(in_all=10, per_host=2, least=1, seconds=TIME_OUT)

    async def refused_by_our_own_guard() -> set[Any]:
        with contextlib.suppress(NotSent):
            async with made.timed("host", 1):
                raise NotSent(Code.RATE_LIMITED)
        return load_of("host").missed

    assert asyncio.run_coroutine_threadsafe(refused_by_our_own_guard(), loop).result(10) == set()


def test_what_gets_no_place_was_not_asked(loop: asyncio.AbstractEventLoop) -> None:
    """A look-up waits longer for its place than a cancel, whose row is claimed meanwhile."""
    done: list[Done] = []
    errands = Errands(loop, done.append, 0.2)

    released = threading.Event()

    async def holds_its_place() -> None:
        while not released.is_set():  # beyond its time-out, too
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async def answers() -> str:
        return "answered"

    errands.start([an_errand(n, holds_its_place) for n in range(AT_ONE_HOST)])
    errands.start([an_errand(1_000, answers)])
    errands.start([replace(an_errand(1_001, answers), patience=200)])
    assert until(lambda: bool(done), 10)
    assert [(one.about.connection_id, one.was_asked) for one in done] == [(1_000, False)]
    released.set()
    assert until(lambda: len(done) == AT_ONE_HOST + 2, 10)
    assert [one.answer for one in done if one.about.connection_id == 1_001] == ["answered"]
