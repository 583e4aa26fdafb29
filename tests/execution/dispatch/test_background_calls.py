"""Cancels, moved levels and look-ups: they block nothing, and none runs twice at once."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent
from common.clocks import machine_time
from common.db.sql import rows, run
from connections.models import ExecutionConnection
from connections.session_lanes import held_lanes_parameters
from execution.dispatch import background_calls as module
from execution.dispatch.background_calls import BackgroundCall, BackgroundCallRunner, CallResult
from execution.models import Order
from execution.monitoring import level_sync, pending_actions
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_order, execute
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.hanging import Hang
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


class Hanging:
    """`hang("cancel", account)` makes that call of that account wait until the test ends."""

    def __init__(self, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released = threading.Event()
        self.ended = 0
        self._broker, self._monkeypatch = broker, monkeypatch

    def __call__(self, name: str, account: ExecutionConnection) -> None:
        real = getattr(self._broker, name)

        async def call(spec: Any, *args: Any) -> Any:
            if spec.connection_id == str(account.pk):
                try:
                    await asyncio.to_thread(self.released.wait, 60)
                finally:
                    self.ended += 1
            return await real(spec, *args)

        self._monkeypatch.setattr(self._broker, name, call)


@pytest.fixture
def hang(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    hanging = Hanging(broker, monkeypatch)
    yield hanging
    hanging.released.set()


def resting(trading: TradingRuntime, broker: FakeBroker) -> None:
    broker.behaviour = broker.rest
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)


@pytest.mark.django_db(transaction=True)
def test_hanging_cancel_delays_neither_its_caller_nor_others(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker, hang: Hanging
) -> None:
    silent, well = factories.account(feed), factories.account(feed)
    factories.signal(feed)
    resting(trading, broker)
    hang("cancel", silent)
    for order in Order.objects.all():
        cancel_order(order.pk)
    pending_actions.process_pending_actions()
    assert hang.ended == 0  # its caller waited neither for an answer nor for its end
    until(lambda: Order.objects.get(connection=well).status == "CANCELLED")
    hanging = Order.objects.get(connection=silent)
    assert (hanging.status, hanging.pending_action) == (
        "SUBMITTED",
        "CANCEL",
    )  # until its call has ended


@pytest.mark.django_db(transaction=True)
def test_hanging_look_up_does_not_delay_look_ups_of_others(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker, hang: Hanging
) -> None:
    silent, well = factories.account(feed), factories.account(feed)
    factories.signal(feed)
    broker.behaviour = broker.accept_without_reply
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    hang("find_order", silent)
    factories.pass_time(60)
    assert sweeps.query_unknown_orders(trading.dispatcher) == 2
    assert hang.ended == 0  # no caller waited for it
    until(lambda: Order.objects.get(connection=well).status == "FILLED")
    assert Order.objects.get(connection=silent).status == "UNKNOWN"


def test_cancel_that_cancels_itself_is_made_again(
    alice: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An adapter may await what another of its calls has cancelled."""
    factories.signal(feed)
    resting(trading, broker)
    real, requests = broker.cancel, []

    async def cancel(spec: Any, *args: Any) -> Any:
        requests.append(args)
        if len(requests) == 1:
            raise asyncio.CancelledError
        return await real(spec, *args)

    monkeypatch.setattr(broker, "cancel", cancel)
    order = Order.objects.get()
    cancel_order(order.pk)
    pending_actions.process_pending_actions()
    assert trading.dispatcher.wait_idle(60)
    assert not trading.dispatcher.background_calls.awaits_results()

    def is_cancelled_later() -> bool:
        """Let the job run once more; when the first call's end is stored is not known."""
        factories.pass_time(60)
        pending_actions.process_pending_actions()
        return Order.objects.get().status == "CANCELLED"

    until(is_cancelled_later)
    assert len(requests) == 2


def test_cancel_is_retried_with_growing_delays(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(Order.objects.get().pk)
    broker.cancelling = "silent"
    for wait in (5, 10, 20, 30, 30):
        run("UPDATE execution_order SET due_at = clock_timestamp()")
        with due_in(wait, "execution_order", "due_at"):
            pending_actions.process_pending_actions()


@pytest.mark.django_db(transaction=True)
def test_stop_is_moved_by_one_process_at_a_time(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker, hang: Hanging
) -> None:
    account = factories.account(feed, settings={"native_stops": True})
    signal = factories.signal(feed)
    factories.fill_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))
    hang("modify", account)
    with due_in(11, "positions_executionposition", "level_sync_due_at"):
        pending_actions.process_pending_actions()
    assert (
        rows(level_sync.LEVELS, {"longest": 11, **held_lanes_parameters()}) == []
    )  # as another process would poll


def test_stop_that_the_broker_holds_is_not_sent_again(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    factories.account(feed, settings={"native_stops": True})
    signal = factories.signal(feed)
    factories.fill_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))
    pending_actions.process_pending_actions()
    position = ExecutionPosition.objects.get()
    assert (position.level_sync_due_at, position.level_sync_attempts) == (None, 0)
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.096"))
    pending_actions.process_pending_actions()
    assert ExecutionPosition.objects.get().broker_sl == D("1.096")


def test_unanswered_stop_is_retried_with_growing_delays(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.account(feed, settings={"native_stops": True})
    signal = factories.signal(feed)
    factories.fill_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))

    async def silent(*_: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr(broker, "modify", silent)
    for wait in (1, 2, 4, 8, 16, 30, 30):
        run("UPDATE positions_executionposition SET level_sync_due_at = clock_timestamp()")
        with due_in(wait, "positions_executionposition", "level_sync_due_at"):
            pending_actions.process_pending_actions()


@pytest.mark.parametrize("stopped_for", [0, 6])
def test_pending_action_not_written_in_time_is_not_written_late(
    feed: Feed,
    runtime: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
    stopped_for: int,
) -> None:
    """Stopped after the claim and continued right before the write: a newer request may exist."""
    factories.account(feed, settings={"native_stops": True})
    signal = factories.signal(feed)
    factories.fill_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(Order.objects.get(status="SUBMITTED").pk)
    with monkeypatch.context() as later:
        later.setattr("brokers.base.machine_time", lambda: machine_time() + stopped_for)
        pending_actions.process_pending_actions()
    in_time = not stopped_for
    assert (ExecutionPosition.objects.get().broker_sl == D("1.095")) is in_time
    assert (Order.objects.filter(status="CANCELLED").count() == 1) is in_time
    run("UPDATE positions_executionposition SET level_sync_due_at = clock_timestamp()")
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    pending_actions.process_pending_actions()  # a request that is still pending is sent again
    assert ExecutionPosition.objects.get().broker_sl == D("1.095")
    assert Order.objects.filter(status="CANCELLED").count() == 1


@contextmanager
def due_in(seconds: float, table: str, column: str) -> Iterator[None]:
    """Assert that the block makes a column of the table's only row due so many seconds later."""
    (began,) = rows("SELECT clock_timestamp() AS at")
    yield
    (found,) = rows(f"SELECT {column} AS due, clock_timestamp() AS at FROM {table}")
    assert began.at <= found.due - timedelta(seconds=seconds) <= found.at


# ---- slots ----
@dataclass
class About:
    broker_host: str
    lane: str = ""
    connection_id: object = None


@pytest.fixture
def runner_and_results(trading: TradingRuntime) -> tuple[BackgroundCallRunner, list[CallResult]]:
    results: list[CallResult] = []
    return BackgroundCallRunner(trading.dispatcher.loop, results.append, lambda: 60.0), results


def background_call(key: object, host: str, call: Any) -> BackgroundCall:
    return BackgroundCall(key, About(host), call, lambda done: None)


def test_hanging_host_holds_only_its_share_of_the_slots(
    trading: TradingRuntime,
) -> None:
    hanging, never, results = [], asyncio.Event(), list[CallResult]()
    runner = BackgroundCallRunner(trading.dispatcher.loop, results.append, lambda: 60.0)

    async def hang() -> None:
        hanging.append(1)
        await never.wait()

    async def answer() -> str:
        return "yes"

    many = module.MAX_CONCURRENT + 50
    runner.start([background_call(("hang", n), "slow", hang) for n in range(many)])
    runner.start([background_call(("ask", n), "well", answer) for n in range(20)])
    until(lambda: len(results) == 20)
    assert {result.answer for result in results} == {"yes"}
    assert len(hanging) == module.MAX_PER_HOST
    trading.dispatcher.loop.call_soon_threadsafe(never.set)
    assert runner.wait_idle(30)
    assert len(results) == many + 20


def test_unanswered_background_call_ends(trading: TradingRuntime) -> None:
    results = list[CallResult]()
    runner = BackgroundCallRunner(trading.dispatcher.loop, results.append, lambda: 0.2)
    runner.start([background_call("never", "slow", asyncio.Event().wait)])
    assert runner.wait_idle(60)
    assert isinstance(results[0].answer, TimeoutError)


def test_running_call_is_not_started_again(
    runner_and_results: tuple[BackgroundCallRunner, list[CallResult]],
) -> None:
    runner, results = runner_and_results
    begun_three_times = Hang()

    async def slowly() -> str:
        await begun_three_times()
        return "once"

    for _ in range(3):
        runner.start([background_call("the same", "host", slowly)])
    begun_three_times.end()
    assert runner.wait_idle(30)
    assert [result.answer for result in results] == ["once"]


def test_resumed_process_does_not_make_expired_calls(
    runner_and_results: tuple[BackgroundCallRunner, list[CallResult]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner, results = runner_and_results
    asked: list[str] = []

    async def call() -> None:
        asked.append("old")

    later = machine_time() + 600
    send_by = iter([machine_time()])  # start checks first; the loop has been stopped meanwhile
    monkeypatch.setattr(module, "machine_time", lambda: next(send_by, later))
    runner.start([background_call("old", "host", call)])
    assert runner.wait_idle(30)
    assert asked == []
    assert isinstance(results[0].answer, NotSent)


def test_unwritable_answer_leaves_the_report_writer_alive(trading: TradingRuntime) -> None:
    def fail(done: object) -> None:
        raise ZeroDivisionError

    async def answer() -> str:
        return "yes"

    trading.dispatcher.background_calls.start([BackgroundCall("k", About("h"), answer, fail)])
    assert trading.dispatcher.wait_idle(30)
    assert trading.report_writer.drain(30)
    assert trading.report_writer.is_alive()
