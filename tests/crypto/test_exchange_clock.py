"""The exchange's clock or ours jumps: no fill is left out and no order is called absent."""

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
from tests.crypto.factories import D, ExchangeAccount, allow, any_account
from tests.fakes.exchange.venue import Fault

__all__ = ["any_account"]
TEN_MINUTES = 600_000
ONE_MINUTE = timedelta(minutes=1)
BACKOFF_SECONDS = 600.0  # longer than an exit may take
ATTEMPTS = 3  # the engine sends an order again that was refused for its time


def _jump(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> None:
    """Set this machine's clock, as an administrator or NTP would."""
    real_time_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + milliseconds * 1_000_000)


def _buy(account: ExchangeAccount) -> str:
    """Buy at market; like the engine, repeat an order that was not accepted."""
    for _ in range(ATTEMPTS):
        request = account.order()
        try:
            reports = account.submit(request)
        except BrokerError:
            continue
        assert [report.kind for report in reports] == [ReportKind.FILLED]
        return request.client_order_id
    raise AssertionError(f"refused {ATTEMPTS} times")


@pytest.mark.parametrize("jump_ms", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "back"])
def test_fills_after_exchange_clock_jump_are_read(
    any_account: ExchangeAccount, jump_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = any_account.order(limit_price=D("40000.0"))
    any_account.submit(request)
    since = market_now() - ONE_MINUTE
    assert any_account.run(any_account.adapter.fills_since(any_account.spec, since)) == []
    any_account.venue.skew_ms = jump_ms
    monkeypatch.setattr(history, "COMPARED_SECONDS", 0.0)  # as if a minute had passed
    any_account.venue.execute(any_account.venue.orders[0])
    (report,) = any_account.run(any_account.adapter.fills_since(any_account.spec, since))
    assert report.client_order_id == request.client_order_id


def test_newest_fills_are_read_before_clock_jump_is_noticed(any_account: ExchangeAccount) -> None:
    """Their clock jumped ahead a moment ago, and we have not noticed."""
    request = any_account.order(limit_price=D("40000.0"))
    any_account.submit(request)
    since = market_now() - ONE_MINUTE
    assert any_account.run(any_account.adapter.fills_since(any_account.spec, since)) == []
    any_account.venue.skew_ms = TEN_MINUTES
    any_account.venue.execute(any_account.venue.orders[0])
    (report,) = any_account.run(any_account.adapter.fills_since(any_account.spec, since))
    assert report.client_order_id == request.client_order_id


@pytest.mark.parametrize("jump_ms", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "back"])
def test_jump_of_our_clock_changes_nothing(
    any_account: ExchangeAccount, jump_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_account.load_markets()
    _jump(monkeypatch, jump_ms)
    request = any_account.order()
    assert [report.kind for report in any_account.submit(request)] == [ReportKind.FILLED]
    assert any_account.venue.accepted(request.client_order_id) == 1
    # By this machine's clock now.
    since = market_now() + timedelta(milliseconds=jump_ms) - ONE_MINUTE
    (report,) = any_account.run(any_account.adapter.fills_since(any_account.spec, since))
    assert report.client_order_id == request.client_order_id


@pytest.mark.parametrize("skew_ms", [-90_000, -TEN_MINUTES])
def test_fills_are_read_from_exchange_whose_clock_is_behind(
    any_account: ExchangeAccount, skew_ms: int
) -> None:
    any_account.venue.skew_ms = skew_ms
    client_order_id = _buy(any_account)
    (report,) = any_account.run(
        any_account.adapter.fills_since(any_account.spec, market_now() - ONE_MINUTE)
    )
    assert report.client_order_id == client_order_id


@pytest.mark.parametrize("jump_ms", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "back"])
def test_orders_are_accepted_after_exchange_clock_jump(
    any_account: ExchangeAccount, jump_ms: int
) -> None:
    any_account.load_markets()
    any_account.venue.skew_ms = jump_ms
    _buy(any_account)


def test_order_is_not_absent_while_exchange_clock_still_accepts_it(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their clock jumped back: they accept the order for longer than we meant."""
    any_account.load_markets()
    any_account.venue.skew_ms = -900  # each exchange accepts a request from this far in the future
    any_account.venue.faults.append(Fault("silent", seconds=30.0))
    request = any_account.order()
    client = any_account.run(any_account.adapter._clients.get(any_account.spec))
    client.exchange.timeout = 1000
    with pytest.raises(OutcomeUnknown):
        any_account.submit(request)
    any_account.venue.skew_ms = -20_000
    late = machine_time() + exchanges.ARRIVES_SECONDS
    monkeypatch.setattr(adapter_module, "machine_time", lambda: late)
    monkeypatch.setattr(lookup, "machine_time", lambda: late)
    with pytest.raises(ReadFailed, match="may still arrive"):
        any_account.find(request.client_order_id)
    any_account.venue.skew_ms = 20_000
    assert any_account.find(request.client_order_id) is None


@pytest.mark.parametrize(("seconds", "may_arrive"), [(50.0, False), (59.0, True)])
def test_absence_counts_from_the_time_of_the_request(
    any_account: ExchangeAccount, seconds: float, may_arrive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They accepted the order until a minute ago, and the look-up took about as long. An order
    accepted last need not be in the lists that were read a second later."""
    any_account.load_markets()
    any_account.venue.faults.append(Fault("drop"))
    request = any_account.order()
    with pytest.raises(OutcomeUnknown):
        any_account.submit(request)
    known = any_account.adapter._order_cache.get(
        any_account.spec.connection_id, request.client_order_id
    )
    assert known is not None
    at, later = machine_time(), exchanges.ARRIVES_SECONDS  # by our own clock it is late
    any_account.venue.skew_ms = known.expires_ms + 60_000 - any_account.venue.now()
    monkeypatch.setattr(adapter_module, "machine_time", lambda: at + later)
    monkeypatch.setattr(lookup, "machine_time", lambda: machine_time() + later + seconds)
    if may_arrive:
        with pytest.raises(ReadFailed, match="may still arrive"):
            any_account.find(request.client_order_id)
    else:
        assert any_account.find(request.client_order_id) is None


def test_exit_does_not_wait_for_rate_limited_account(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both read the exchange's clock first; the other account is rate limited for long."""
    monkeypatch.setattr("brokers.crypto.rate_limits.READ_WAIT_SECONDS", 2 * BACKOFF_SECONDS)
    other = replace(any_account.spec, connection_id="22222222-2222-4222-8222-222222222222")

    async def exit_beside_limited_account() -> list[OrderReport]:
        other_client = await any_account.adapter._clients.get(other)
        await any_account.adapter.submit(any_account.spec, any_account.order(), allow)
        other_client.rate_limits.reads.back_off(BACKOFF_SECONDS)
        other_client.clock.doubt()
        poll = asyncio.ensure_future(any_account.adapter.account(other))
        await asyncio.sleep(0)  # it has started
        closing = any_account.order(side=Side.SELL)
        try:
            async with asyncio.timeout(BACKOFF_SECONDS / 5):
                reports = await any_account.adapter.submit(any_account.spec, closing, allow)
            assert not poll.done()
            return reports
        finally:
            poll.cancel()

    reports = any_account.run(exit_beside_limited_account())
    assert [report.kind for report in reports] == [ReportKind.FILLED]


class FakeTimeSource:
    """An exchange that answers a time request when the test lets it."""

    def __init__(self) -> None:
        self.has = {"fetchTime": True}
        self.answers: list[asyncio.Future[int]] = []

    async def fetch_time(self) -> int:
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]


async def _compare_twice(
    clock: ExchangeClock, source: FakeTimeSource, *answers: tuple[int, int]
) -> None:
    """Two accounts request the time one after the other and get the answers in this order."""
    comparisons = []
    for _ in range(2):
        comparisons.append(asyncio.create_task(clock.compare(source)))
        await asyncio.sleep(0.001)
    for number, their_ms in answers:
        source.answers[number].set_result(their_ms)
        await comparisons[number]


def test_late_clock_answer_does_not_replace_newer_one() -> None:
    now = time.time_ns() // 1_000_000
    clock = ExchangeClock()
    asyncio.run(_compare_twice(clock, FakeTimeSource(), (1, now), (0, now - TEN_MINUTES)))
    assert clock.is_sure
    assert now <= clock.now_ms() < now + TEN_MINUTES
    asyncio.run(_compare_twice(clock, FakeTimeSource(), (0, now), (1, now + TEN_MINUTES)))
    assert clock.now_ms() >= now + TEN_MINUTES


def test_clock_answer_requested_before_doubt_does_not_settle_it() -> None:
    clock, source = ExchangeClock(), FakeTimeSource()

    async def compare_around_doubt() -> None:
        for their_ms in (1, 2):
            comparison = asyncio.create_task(clock.compare(source, max_age=60))
            await asyncio.sleep(0.001)  # the request is made
            if their_ms == 1:
                clock.doubt()
            source.answers[-1].set_result(their_ms)
            await comparison
            assert clock.is_sure is (their_ms == 2)

    asyncio.run(compare_around_doubt())
