"""A host gets as many concurrent calls as it can serve, even if some accounts do not answer."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed, Rejected
from brokers.host_limiter import (
    MIN_SHARE,
    CallGroup,
    CallPriority,
    HostLimiter,
    HostLoad,
    has_capacity,
    load_of,
)
from common.reason_codes import Code
from execution.dispatch import background_calls
from execution.dispatch.background_calls import (
    MAX_PER_HOST,
    BackgroundCall,
    BackgroundCallRunner,
    CallResult,
)
from tests.hanging import Hang
from tests.simulated_loop import SimulatedLoop
from tests.steady_loop import SteadyLoop
from tests.until import until

TIME_OUT, ACCOUNTS = 1.0, 200


@dataclass(frozen=True)
class About:
    """An account of the host under test."""

    connection_id: int
    broker_host: str = "host"
    lane: str = ""


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedLoop]:
    """A loop on this thread; machine time, by which requests become outdated, is the loop's."""
    made = SimulatedLoop()
    monkeypatch.setattr(background_calls, "machine_time", made.time)
    yield made
    made.close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Its own event loop, like the dispatcher's. A pause of this process lets no call time out."""
    made = SteadyLoop()
    thread = threading.Thread(target=made.run_forever, daemon=True)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(120)
    made.close()


def background_call(account: int, call: Callable[[], Any]) -> BackgroundCall:
    return BackgroundCall(account, About(account), call, lambda done: None)


class Overloaded:
    """A host that answers one request after another, even after their callers gave up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds, self.worked = seconds, 0
        self._queue: deque[asyncio.Future[str]] = deque()
        self._has_ended = False
        self.task = loop.create_task(self._work())

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


def is_idle(runner: BackgroundCallRunner) -> bool:
    return not runner.keys_in_flight()


def test_overloaded_host_gets_as_many_calls_as_it_can_serve(simulated: SimulatedLoop) -> None:
    """Unanswered requests are sent again, as by the sweeps, until they are answered."""
    host = Overloaded(simulated, seconds=0.02)  # 50 in the time of a call, and 100 are sent at once
    answered: set[int] = set()

    def on_result(done: CallResult) -> None:
        if not done.failed:
            answered.add(done.about.connection_id)

    runner = BackgroundCallRunner(simulated, on_result, lambda: TIME_OUT)

    def are_all_answered() -> bool:
        runner.start(
            [background_call(n, host.answer) for n in range(ACCOUNTS) if n not in answered]
        )
        return len(answered) == ACCOUNTS

    done = simulated.until(are_all_answered, 60)
    print(f"{len(answered)} of {ACCOUNTS} answered after {simulated.time():.1f} s;"
          f" {host.worked} requests were worked through")  # fmt: skip
    assert simulated.until(lambda: is_idle(runner), 30)
    host.end()
    assert simulated.until(host.task.done, 30)
    assert done


def test_silent_accounts_wait_behind_answering_ones(simulated: SimulatedLoop) -> None:
    missed: list[int] = []
    missed_before: list[int] = []  # how many calls had got no answer when each other one got one

    def on_result(done: CallResult) -> None:
        if done.failed:
            missed.append(done.about.connection_id)
        else:
            missed_before.append(len(missed))

    runner = BackgroundCallRunner(simulated, on_result, lambda: 5.0)

    async def answer_at_once() -> str:
        return "answered"

    silent = range(MAX_PER_HOST)
    runner.start([background_call(n, asyncio.Event().wait) for n in silent])
    assert simulated.until(
        lambda: len(missed) == len(silent), 30
    )  # the host gets fewer calls at once now
    runner.start([background_call(n, asyncio.Event().wait) for n in silent])
    runner.start([background_call(n, answer_at_once) for n in range(1000, 1050)])
    assert simulated.until(lambda: len(missed_before) == 50, 30)
    assert missed_before == [len(silent)] * 50  # no call waited for the silent ones' second time
    assert simulated.until(lambda: is_idle(runner), 60)


@pytest.mark.parametrize(
    ("ended", "share"),
    [
        ([(0.0, 0.1, True)], 1.0),
        ([(0.0, 3.0, False)], 0.5),
        ([(0.0, 3.0, False), (0.0, 3.0, False)], 0.5),  # one moment is one reason
        ([(0.0, 3.0, False), (3.1, 6.1, False)], 0.25),
        ([(0.0, 2.9, True)], 0.5),  # in time, and yet too slow to send it more
        ([(2.0, 2.1, True), (0.0, 3.0, False)], 1.0),  # others of the host were quick meanwhile
        ([(0.0, 0.1, False)], 1.0),  # refused at once: the host is not overloaded
        ([(n * 4.0, n * 4.0 + 3, False) for n in range(20)], MIN_SHARE),
        ([(0.0, 3.0, False), (4.0, 4.1, True)], 0.51),
    ],
)
def test_share_of_a_host_follows_its_quickest_answers(
    ended: list[tuple[float, float, bool]], share: float
) -> None:
    load = HostLoad()
    for began, now, answered in ended:
        load.record(began, now, 3.0, answered=answered, max_slots=MAX_PER_HOST)
    assert load.share == pytest.approx(share)


def test_slow_is_judged_by_the_time_out_in_force(simulated: SimulatedLoop) -> None:
    """Of a background runner, which lives as long as its process."""
    held = [60.0]
    runner = BackgroundCallRunner(simulated, lambda done: None, lambda: held[0])

    async def share() -> float:
        await asyncio.sleep(1)
        return load_of(About(1).broker_host).share

    def after_a_call(number: int) -> float:
        runner.start([background_call(number, lambda: asyncio.sleep(0.5))])
        assert simulated.until(lambda: is_idle(runner), 30)
        return simulated.run_until_complete(share())

    assert after_a_call(1) == 1.0
    held[0] = 1.0
    assert after_a_call(2) == 0.5


class Repeated:
    """A background call that is requested again when it has ended, as moved levels are: soon after
    it got no slot; the longer unanswered, the later, up to six time-outs."""

    def __init__(
        self,
        clock: Callable[[], float],
        name: str,
        account: int,
        time_out: float,
        *,
        hangs: bool = False,
        **more: Any,
    ) -> None:
        self.background_call = BackgroundCall(name, About(account), self._call, self._write, **more)
        self.made, self.due = 0, 0.0
        self.ended: list[CallResult] = []
        self._clock, self._time_out, self._hangs = clock, time_out, hangs

    async def _call(self) -> str:
        self.made += 1
        await asyncio.sleep(60 if self._hangs else 0.01)
        return "answered"

    def _write(self, done: Sequence[CallResult]) -> None:
        wait = min(6, 0.1 * 2**self.made) if self._hangs and done[0].had_slot else 0.2
        self.due = self._clock() + wait * self._time_out
        self.ended += done

    @property
    def is_answered(self) -> bool:
        return any(not done.failed for done in self.ended)


@pytest.mark.parametrize(
    ("places", "dead", "of_each", "look_ups"),
    [pytest.param(100, 25, 8, 60, id="full share"), pytest.param(2, 1, 3, 20, id="least share")],
)
def test_dead_accounts_get_turns_and_delay_no_look_up_of_others(
    simulated: SimulatedLoop,
    monkeypatch: pytest.MonkeyPatch,
    places: int,
    dead: int,
    of_each: int,
    look_ups: int,
) -> None:
    """Cancels of dead accounts are requested again and again, and quick cancels of others keep the
    host's share as high as it can be."""
    time_out, clock = 0.4, simulated.time
    monkeypatch.setattr("execution.dispatch.background_calls.MAX_PER_HOST", places)

    def on_result(done: CallResult) -> None:
        done.background_call.write([done])

    runner = BackgroundCallRunner(simulated, on_result, lambda: time_out)
    cancels = [
        Repeated(clock, f"dead {n} {k}", n, time_out, hangs=True)
        for k in range(of_each)
        for n in range(dead)
    ]
    others = [Repeated(clock, f"answer_at_once {n}", 1_000 + n, time_out) for n in range(5)]
    looks = [
        Repeated(
            clock, f"look-up {n}", 2_000 + n, time_out, priority=CallPriority.PATIENT, patience=5
        )
        for n in range(look_ups)
    ]

    def request_until(is_so: Callable[[], bool], seconds: float) -> bool:
        def request() -> bool:
            now = clock()
            calls = (*cancels, *others, *(one for one in looks if not one.ended))
            runner.start([one.background_call for one in calls if one.due <= now])
            return is_so()

        return simulated.until(request, seconds)

    def turns() -> list[int]:
        """Return the number of turns of each dead account."""
        return [sum(one.made for one in cancels[n::dead]) for n in range(dead)]

    began = clock()
    for n, one in enumerate(looks):
        one.due = began + 4 * time_out + 2 * time_out * n / look_ups
    assert request_until(lambda: clock() > looks[0].due, 30)
    before = turns()
    has_ended = request_until(lambda: all(one.ended for one in looks), 30)
    is_tried = request_until(lambda: all(map(int.__gt__, turns(), before)), 30)
    assert simulated.until(lambda: is_idle(runner), 30)
    print(f"{sum(one.is_answered for one in looks)} of {look_ups} look-ups answered; each of {dead}"
          f" dead accounts had {min(turns())} to {max(turns())} turns in"
          f" {(clock() - began) / time_out:.0f} time-outs")  # fmt: skip
    assert has_ended
    assert is_tried
    assert all(one.is_answered for one in looks)


class Turns:
    """Calls to a host with so many slots; each ends when the test ends it."""

    def __init__(self, places: int) -> None:
        self.places = HostLimiter(
            max_calls=1_000, max_per_host=places, min_per_host=1, seconds=lambda: TIME_OUT
        )
        self.begun: list[str] = []  # in the order of their turns
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def wait_for(
        self, *names: str, account: int, priority: CallPriority = CallPriority.FIRST
    ) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._call(name, account, priority))
        await self.settle()

    async def _call(self, name: str, account: int, priority: CallPriority) -> None:
        async with self.places.slot("host", account, priority):
            self.begun.append(name)
            await self._ends[name].wait()

    async def end(self, *names: str) -> None:
        self.end_now(*names)
        await self.settle()

    def end_now(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()

    async def give_up(self, name: str) -> None:
        self._tasks[name].cancel()
        await self.settle()

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    @staticmethod
    async def settle() -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def misses(places: HostLimiter, account: int) -> None:
    """Have an account not answer a call."""
    with contextlib.suppress(TimeoutError):
        async with places.timed("host", account):
            raise TimeoutError


def test_groups_take_turns_when_a_host_has_one_slot() -> None:
    async def story() -> list[str]:
        turns = Turns(1)
        await misses(turns.places, 9)
        await turns.wait_for("held", account=1)
        await turns.wait_for("look-up 1", "look-up 2", account=2, priority=CallPriority.PATIENT)
        await turns.wait_for("silent's look-up", account=9, priority=CallPriority.PATIENT)
        await turns.wait_for("silent's cancel", account=9)
        await turns.wait_for("cancel 1", "cancel 2", "cancel 3", account=3)
        for n in range(7):
            await turns.end(turns.begun[n])
        await turns.close()
        return turns.begun

    assert asyncio.run(story()) == [
        "held", "look-up 1", "silent's cancel", "cancel 1", "cancel 2", "look-up 2", "cancel 3",
        "silent's look-up",
    ]  # fmt: skip


def test_two_slots_are_shared_with_an_account_that_did_not_answer() -> None:
    """Its calls hold one of the slots for long: the others take turns in the other one."""

    async def story() -> list[str]:
        turns = Turns(2)
        await misses(turns.places, 9)
        await turns.wait_for("silent 1", "silent 2", account=9)
        await turns.wait_for("look-up 1", "look-up 2", account=2, priority=CallPriority.PATIENT)
        await turns.wait_for("cancel 1", "cancel 2", "cancel 3", account=3)
        assert turns.begun == ["silent 1", "look-up 1"]
        for n in range(1, 5):
            await turns.end(turns.begun[n])
        await turns.end("silent 1")
        await turns.close()
        return turns.begun

    assert asyncio.run(story()) == [
        "silent 1", "look-up 1", "cancel 1", "cancel 2", "cancel 3", "look-up 2", "silent 2",
    ]  # fmt: skip


def test_account_with_the_oldest_turn_goes_first() -> None:
    """Also one that gave up its turn meanwhile and queues again behind the others."""

    async def story() -> list[str]:
        turns = Turns(1)
        for account in (7, 8, 9):
            await misses(turns.places, account)
        await turns.wait_for("a1", "a2", "a3", account=7)
        await turns.wait_for("b given up", account=8)
        await turns.wait_for("c1", "c2", account=9)
        await turns.give_up("b given up")
        for name in ("a1", "c1"):
            await turns.end(name)
        await turns.wait_for("b1", "b2", account=8)
        for name in ("a2", "b1", "c2", "a3"):
            await turns.end(name)
        await turns.close()
        return turns.begun

    assert asyncio.run(story()) == ["a1", "c1", "a2", "b1", "c2", "a3", "b2"]


def test_waiting_calls_of_an_account_follow_its_answers() -> None:
    """An account that did not answer gets a quarter of the slots, and as many as others as soon as
    it answers, at whichever limiter; and the other way round."""

    async def story() -> list[int]:
        turns, elsewhere = Turns(20), Turns(20)
        await misses(turns.places, 9)
        await turns.wait_for(*(f"call {n}" for n in range(40)), account=9)
        begun = [len(turns.begun)]
        async with elsewhere.places.timed("host", 9):
            pass
        await turns.settle()
        begun.append(len(turns.begun))
        await misses(turns.places, 9)
        await turns.end(*turns.begun)
        begun.append(len(turns.begun))
        await turns.close()
        return begun

    assert asyncio.run(story()) == [5, 20, 25]


def test_cancelled_call_leaves_its_slot_to_others() -> None:
    async def story() -> list[str]:
        turns = Turns(1)
        await turns.wait_for("held", account=1)
        await turns.wait_for("given up", "at its turn", account=2)
        await turns.wait_for("last", account=2)
        await turns.give_up("given up")
        turns.end_now("held")
        await asyncio.sleep(0)  # it ends, and the next has its turn
        await turns.give_up("at its turn")
        await turns.close()
        return turns.begun

    assert asyncio.run(story()) == ["held", "last"]


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5, 8, 25, 50, 100])
def test_limits_of_groups_leave_slots_for_each_other(places: int) -> None:
    first, patient, unanswered = CallGroup
    for busy, idle, part in ((patient, unanswered, 1 / 2), (unanswered, patient, 1 / 4)):
        taken = dict.fromkeys(CallGroup, 0)
        while has_capacity(taken, busy, places):
            taken[busy] += 1
        assert 1 <= taken[busy] <= max(1, places * part)
        assert has_capacity(taken, idle, places) is (places > 1)
        while has_capacity(taken, idle, places):
            taken[idle] += 1
        assert has_capacity(taken, first, places) is (places > 2)
        while has_capacity(taken, first, places):
            taken[first] += 1
        assert sum(taken.values()) == places


@pytest.mark.parametrize(
    ("error", "share", "is_missed"),
    [
        (NotSent(Code.NOT_CONNECTED), 0.5, True),
        (NotSent(Code.BROKER_UNREACHABLE), 0.5, True),
        (TimeoutError(), 0.5, True),
        (ReadFailed(Code.BROKER_UNREACHABLE), 0.5, True),
        (NotSent(Code.SEND_DEADLINE), 1.0, False),
        (NotSent(Code.RATE_LIMITED), 1.0, False),
        (NotSent(Code.SESSION_MOVED), 1.0, False),
        (Rejected(Code.NO_MONEY), 0.5, False),  # an answer that took long
    ],
    ids=repr,
)
def test_only_failures_of_the_host_count_against_it(
    simulated: SimulatedLoop, error: Exception, share: float, is_missed: bool
) -> None:
    """Send a cancel that takes more than a third of its time-out and ends like this."""
    time_out = 0.6
    ended: list[CallResult] = []
    runner = BackgroundCallRunner(simulated, ended.append, lambda: time_out)

    async def cancel() -> None:
        await asyncio.sleep(time_out / 2)
        raise error

    async def noted() -> tuple[float, bool]:
        return load_of("host").share, 1 in load_of("host").missed

    runner.start([background_call(1, cancel)])
    assert simulated.until(lambda: bool(ended), 30)
    assert simulated.run_until_complete(noted()) == (share, is_missed)


def test_call_without_a_slot_is_not_made(loop: asyncio.AbstractEventLoop) -> None:
    """A look-up waits longer for its slot than a cancel, which keeps its row claimed."""
    done: list[CallResult] = []
    runner = BackgroundCallRunner(loop, done.append, lambda: 0.2)

    released = threading.Event()
    holding: list[None] = []

    async def holds_its_place() -> None:
        holding.append(None)
        while not released.is_set():  # past its time-out too
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async def answers() -> str:
        return "answered"

    holders = [background_call(n, holds_its_place) for n in range(MAX_PER_HOST)]
    runner.start([replace(one, patience=200) for one in holders])
    until(lambda: len(holding) == MAX_PER_HOST)
    runner.start([background_call(1_000, answers)])
    runner.start([replace(background_call(1_001, answers), patience=200)])
    until(lambda: bool(done))
    assert [(one.about.connection_id, one.had_slot) for one in done] == [(1_000, False)]
    released.set()
    until(lambda: len(done) == MAX_PER_HOST + 2)
    assert [one.answer for one in done if one.about.connection_id == 1_001] == ["answered"]


@dataclass(frozen=True)
class InLane(About):
    """An account of a lane."""

    lane: str = "sessions.1"


def test_queued_call_ends_at_once_when_its_lane_is_left(loop: asyncio.AbstractEventLoop) -> None:
    done: list[CallResult] = []
    runner = BackgroundCallRunner(loop, done.append, lambda: 10.0)
    held = Hang()

    async def holds_its_place() -> None:
        await held()

    async def answers() -> str:
        return "answered"

    runner.start([background_call(n, holds_its_place) for n in range(MAX_PER_HOST)])
    runner.start([replace(background_call(1_000, answers), about=InLane(1_000))])
    runner.start([background_call(1_001, answers)])
    until(lambda: len(runner._waiting) == 2)
    assert not runner.is_lane_busy("sessions.1")  # it only waits
    runner.cancel_queued(["sessions.1"])
    until(lambda: bool(done))
    assert [(one.about.connection_id, one.had_slot) for one in done] == [(1_000, False)]
    held.end()
    until(lambda: len(done) == MAX_PER_HOST + 2)
    assert [one.answer for one in done if one.about.connection_id == 1_001] == ["answered"]
