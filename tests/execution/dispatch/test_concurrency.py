"""Dispatcher slots: exits first, slow accounts limited to a share."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from brokers.types import OrderRequest
from connections.models import ExecutionConnection
from execution.dispatch.concurrency import (
    LatencyTracker,
    SlotPool,
    is_slow,
    slow_after,
    throttled_connections,
)
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position, execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.dispatch.slots import set_slots
from tests.execution.fake_broker import FakeBroker
from tests.operational import set_setting
from tests.until import until


# ---- latency ----
@pytest.mark.parametrize(
    ("lasted", "usual", "slow"),
    [
        ([], 0.1, False),
        ([0.1, 0.1, 0.1], 0.1, False),
        ([9.0], 0.1, True),
        ([0.1, 9.0, 0.1], 0.1, False),  # one lost answer among good ones
        ([9.0, 9.0, 0.1], 0.1, True),
        ([1.4, 1.4], 0.1, False),
        ([3.0, 3.0], 1.2, False),  # all are late: the cause is this machine
        ([4.0, 4.0], 1.2, True),
    ],
)
def test_account_is_slow_beyond_a_limit_and_compared_with_others(
    lasted: list[float], usual: float, slow: bool
) -> None:
    assert is_slow(lasted, usual) is slow


def test_call_is_overdue_by_a_limit_or_three_times_the_usual_latency() -> None:
    assert (slow_after(0.0), slow_after(0.4), slow_after(2.0)) == (1.5, 1.5, 6.0)


def test_account_that_answers_in_time_again_is_no_longer_slow() -> None:
    pace = LatencyTracker()
    for seconds in (9, 9, 9):
        pace.record("a", seconds)
    assert pace.slow == {"a"}
    for _ in range(3):
        pace.record("a", 0.1)
    assert pace.slow == set()


def test_only_latest_accounts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("execution.dispatch.concurrency.MAX_ACCOUNTS", 2)
    pace = LatencyTracker()
    for name in "abc":
        pace.record(name, 9)
    assert pace.slow == {"b", "c"}


def test_slow_accounts_share_a_limited_number_of_slots() -> None:
    assert throttled_connections(["a", "b", "c"], {"b", "c"}, 2) == set()
    assert throttled_connections(["a", "b", "c"], {"b", "c"}, 1) == {"c"}
    assert throttled_connections(["a", "b", "c"], {"b", "c"}, 0) == {"b", "c"}
    assert throttled_connections(["a"], {"b"}, 0) == set()


# ---- slots ----
def test_entries_leave_an_eighth_of_the_slots_to_exits() -> None:
    room = SlotPool(80)
    assert room.reserve(100) == 70
    assert room.reserve(100, urgent=True) == 10
    assert room.in_flight == 80


@pytest.mark.parametrize("places", [1, 2, 3, 7, 8])
def test_small_slot_pool_still_serves_entries_and_exits(places: int) -> None:
    room = SlotPool(places)
    assert 1 <= room.reserve(10) <= places
    room.free(room.in_flight)
    assert room.reserve(10, urgent=True) == places


@pytest.mark.django_db(transaction=True)
def test_waiting_call_is_woken_when_a_slow_call_yields_its_slot() -> None:
    room, granted = SlotPool(4), []
    room.reserve(4, urgent=True)
    waiter = threading.Thread(target=lambda: granted.append(room.reserve(1, urgent=True)))
    waiter.start()
    assert room.yield_slot()
    waiter.join(120)
    assert granted == [1]
    assert (room.in_flight, room.free_for_slow) == (5, 0)
    room.free(1, slow=True)
    assert (room.in_flight, room.free_for_slow) == (4, 1)


def test_calls_that_yield_slots_are_limited_to_the_pool_size() -> None:
    room = SlotPool(2)
    aside = []
    for _ in range(3):
        room.reserve(1)
        aside.append(room.yield_slot())
    assert aside == [True, True, False]


# ---- on the dispatcher ----
@pytest.fixture
def hang(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Make orders of the accounts in this set wait until the test ends."""
    released, silent, real = threading.Event(), set[str](), broker.submit

    async def submit(spec: Any, request: OrderRequest, guard: Any) -> Any:
        if spec.connection_id in silent:
            await asyncio.to_thread(released.wait, 60)
        return await real(spec, request, guard)

    monkeypatch.setattr(broker, "submit", submit)
    yield silent
    released.set()


@pytest.mark.usefixtures("inline_commits")
def test_running_process_follows_the_setting_of_its_slots(trading: TradingRuntime) -> None:
    for size in (3, 40):
        set_setting("execution.dispatch_slots", size)
        trading.renew()
        granted = trading.dispatcher.slots.reserve(100, urgent=True)
        trading.dispatcher.slots.free(granted)
        assert granted == size


@pytest.mark.django_db(transaction=True)
def test_dispatcher_full_of_overdue_calls_has_slots_for_others(
    feed: Feed, trading: TradingRuntime, hang: set[str]
) -> None:
    set_slots(trading, 4)
    silent = [factories.account(feed) for _ in range(3)]  # as many as the slots of entries
    answering = [factories.account(feed) for _ in range(3)]
    hang.update(str(account.pk) for account in silent)
    factories.signal(feed)
    execute(list(Order.objects.filter(connection__in=silent).values_list("pk", flat=True)))
    execute(list(Order.objects.filter(connection__in=answering).values_list("pk", flat=True)))
    until(lambda: Order.objects.filter(connection__in=answering, status="FILLED").count() == 3)
    assert Order.objects.filter(connection__in=silent, status="SUBMITTING").count() == 3


@pytest.mark.usefixtures("inline_commits")
def test_entries_of_slow_accounts_wait_while_their_share_is_taken(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    set_slots(trading, 8)  # two of them for slow accounts
    slow, answering = [factories.account(feed) for _ in range(3)], factories.account(feed)
    for account in slow:
        trading.dispatcher.latency.record(str(account.pk), 9)
    factories.signal(feed)
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    assert Order.objects.get(connection=answering).status == "FILLED"
    assert Order.objects.filter(connection__in=slow, status="FILLED").count() == 2
    assert Order.objects.filter(connection__in=slow, status="PENDING").count() == 1


@pytest.mark.django_db(transaction=True)
def test_exit_of_a_slow_account_gets_a_slot_though_entries_fill_the_pool(
    alice: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    hang: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("execution.dispatch.concurrency.SLOW_SECONDS", 600)  # none is overdue
    set_slots(trading, 4)
    position = factories.filled(factories.signal(feed))
    crowd = [factories.account(feed) for _ in range(3)]
    hang.update(str(account.pk) for account in crowd)
    factories.signal(feed)
    execute(list(Order.objects.filter(connection__in=crowd).values_list("pk", flat=True)))
    trading.dispatcher.latency.record(str(alice.pk), 9)
    [exit_id] = close_position(position.pk)
    execute([exit_id], urgent=True)
    until(lambda: Order.objects.get(pk=exit_id).status == "FILLED")
