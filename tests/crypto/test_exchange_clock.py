"""A clock that jumps, theirs or ours: nothing is left out, nothing is called absent by it."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from brokers.base import BrokerError, OutcomeUnknown, ReadFailed
from brokers.crypto import adapter as adapter_module
from brokers.crypto import exchanges, history, lookup
from brokers.crypto.exchange_clock import ExchangeClock
from brokers.types import OrderReport, ReportKind, Side
from common.clocks import machine_time, market_now
from tests.crypto.factories import D, VenueSetup, allow, each
from tests.fakes.exchange.venue import Fault

__all__ = ["each"]
TEN_MINUTES = 600_000
A_WHILE = timedelta(minutes=1)
SILENT_SECONDS = 8.0  # somebody may have to be that for longer, and is then refused at once
TIMES = 3  # an order that is refused for its time is sent again by the engine


def _jump(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> None:
    """Set this machine's clock, as an administrator or NTP would."""
    right = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right() + milliseconds * 1_000_000)


def _bought(house: VenueSetup) -> str:
    """Buy by market as the engine does: again where nothing was taken."""
    for _ in range(TIMES):
        request = house.order()
        try:
            told = house.submit(request)
        except BrokerError:
            continue
        assert [report.kind for report in told] == [ReportKind.FILLED]
        return request.client_order_id
    raise AssertionError(f"refused {TIMES} times")


@pytest.mark.parametrize("moved", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "back"])
def test_what_was_executed_after_their_clock_jumped_is_read(
    each: VenueSetup, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = each.order(limit_price=D("40000.0"))
    each.submit(request)
    since = market_now() - A_WHILE
    assert each.run(each.adapter.fills_since(each.spec, since)) == []
    each.venue.skew_ms = moved
    monkeypatch.setattr(history, "COMPARED_SECONDS", 0.0)  # as a minute later
    each.venue.execute(each.venue.orders[0])
    (told,) = each.run(each.adapter.fills_since(each.spec, since))
    assert told.client_order_id == request.client_order_id


def test_the_newest_executions_are_read_whatever_their_clock_shows(each: VenueSetup) -> None:
    """Theirs jumped ahead a moment ago, and nobody knows yet."""
    request = each.order(limit_price=D("40000.0"))
    each.submit(request)
    since = market_now() - A_WHILE
    assert each.run(each.adapter.fills_since(each.spec, since)) == []
    each.venue.skew_ms = TEN_MINUTES
    each.venue.execute(each.venue.orders[0])
    (told,) = each.run(each.adapter.fills_since(each.spec, since))
    assert told.client_order_id == request.client_order_id


@pytest.mark.parametrize("moved", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "back"])
def test_a_jump_of_our_own_clock_changes_nothing(
    each: VenueSetup, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    each.warm()
    _jump(monkeypatch, moved)
    request = each.order()
    assert [report.kind for report in each.submit(request)] == [ReportKind.FILLED]
    assert each.venue.accepted(request.client_order_id) == 1
    since = market_now() + timedelta(milliseconds=moved) - A_WHILE  # as this machine shows it now
    (told,) = each.run(each.adapter.fills_since(each.spec, since))
    assert told.client_order_id == request.client_order_id


@pytest.mark.parametrize("behind", [-90_000, -TEN_MINUTES])
def test_executions_are_read_where_the_exchange_is_behind_us_all_along(
    each: VenueSetup, behind: int
) -> None:
    each.venue.skew_ms = behind
    name = _bought(each)
    (told,) = each.run(each.adapter.fills_since(each.spec, market_now() - A_WHILE))
    assert told.client_order_id == name


@pytest.mark.parametrize("moved", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "back"])
def test_orders_go_on_after_their_clock_jumped(each: VenueSetup, moved: int) -> None:
    each.warm()
    each.venue.skew_ms = moved
    _bought(each)


def test_what_they_may_still_take_is_not_absent_because_our_time_has_passed(
    each: VenueSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their clock fell back: by it the order is good for longer than we meant."""
    each.warm()
    each.venue.skew_ms = -900  # as much as each of them takes of a request from the future
    each.venue.faults.append(Fault("silent", seconds=30.0))
    request = each.order()
    client = each.run(each.adapter._clients.of(each.spec))
    client.exchange.timeout = 1000
    with pytest.raises(OutcomeUnknown):
        each.submit(request)
    each.venue.skew_ms = -20_000
    late = machine_time() + exchanges.ARRIVES_SECONDS
    monkeypatch.setattr(adapter_module, "machine_time", lambda: late)
    monkeypatch.setattr(lookup, "machine_time", lambda: late)
    with pytest.raises(ReadFailed, match="may still arrive"):
        each.find(request.client_order_id)
    each.venue.skew_ms = 20_000
    assert each.find(request.client_order_id) is None


@pytest.mark.parametrize(("seconds", "may_arrive"), [(50.0, False), (59.0, True)])
def test_an_absence_is_of_the_time_when_they_were_asked(
    each: VenueSetup, seconds: float, may_arrive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They took the order until a minute ago, and the look-up lasted about as long: what they took
    last need not be in the lists that it read a second later."""
    each.warm()
    each.venue.faults.append(Fault("drop"))
    request = each.order()
    with pytest.raises(OutcomeUnknown):
        each.submit(request)
    known = each.adapter._memory.of(each.spec.connection_id, request.client_order_id)
    assert known is not None
    at, later = machine_time(), exchanges.ARRIVES_SECONDS  # by our own time it is late
    each.venue.skew_ms = known.until + 60_000 - each.venue.now()
    monkeypatch.setattr(adapter_module, "machine_time", lambda: at + later)
    monkeypatch.setattr(lookup, "machine_time", lambda: machine_time() + later + seconds)
    if may_arrive:
        with pytest.raises(ReadFailed, match="may still arrive"):
            each.find(request.client_order_id)
    else:
        assert each.find(request.client_order_id) is None


def test_an_exit_waits_for_no_other_account_that_must_be_silent(each: VenueSetup) -> None:
    """Both would look at the exchange's clock first; the other account may ask nothing for long."""
    other = replace(each.spec, connection_id="22222222-2222-4222-8222-222222222222")

    async def exit_beside_a_silent_one() -> list[OrderReport]:
        silent = await each.adapter._clients.of(other)
        await each.adapter.submit(each.spec, each.order(), allow)
        silent.budgets.reads.back_off(SILENT_SECONDS)
        silent.clock.doubt()
        poll = asyncio.ensure_future(each.adapter.account(other))
        await asyncio.sleep(0)  # it has begun
        closing = each.order(side=Side.SELL)
        try:
            async with asyncio.timeout(SILENT_SECONDS / 2):
                return await each.adapter.submit(each.spec, closing, allow)
        finally:
            poll.cancel()

    told = each.run(exit_beside_a_silent_one())
    assert [report.kind for report in told] == [ReportKind.FILLED]


class Answers:
    """An exchange that tells its time when the test lets it."""

    def __init__(self) -> None:
        self.has = {"fetchTime": True}
        self.told: list[asyncio.Future[int]] = []

    async def fetch_time(self) -> int:
        self.told.append(asyncio.get_running_loop().create_future())
        return await self.told[-1]


async def _compared(clock: ExchangeClock, said: Answers, *told: tuple[int, int]) -> None:
    """Have two accounts ask, one after the other, and be told in this order."""
    asking = []
    for _ in range(2):
        asking.append(asyncio.create_task(clock.compare(said)))
        await asyncio.sleep(0.001)
    for number, shown in told:
        said.told[number].set_result(shown)
        await asking[number]


def test_an_answer_that_comes_late_overwrites_no_newer_one() -> None:
    now = time.time_ns() // 1_000_000
    clock = ExchangeClock()
    asyncio.run(_compared(clock, Answers(), (1, now), (0, now - TEN_MINUTES)))
    assert clock.is_sure
    assert now <= clock.now_ms() < now + TEN_MINUTES
    asyncio.run(_compared(clock, Answers(), (0, now), (1, now + TEN_MINUTES)))
    assert clock.now_ms() >= now + TEN_MINUTES


def test_what_was_asked_before_a_doubt_is_no_answer_to_it() -> None:
    clock, said = ExchangeClock(), Answers()

    async def doubted() -> None:
        for shown in (1, 2):
            asking = asyncio.create_task(clock.compare(said, older=60))
            await asyncio.sleep(0.001)  # it has asked
            if shown == 1:
                clock.doubt()
            said.told[-1].set_result(shown)
            await asking
            assert clock.is_sure is (shown == 2)

    asyncio.run(doubted())
