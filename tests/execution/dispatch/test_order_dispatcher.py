"""The dispatcher: last-moment stops, lost answers, and waiting for slots."""

import asyncio
import threading
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import OrderReport, OrderRequest, ReportKind
from common.clocks import machine_time
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution import services
from execution.base.kill_switch import Halts
from execution.dispatch.order_dispatcher import KillSwitchSnapshot, OrderDispatcher
from execution.dispatch.report_writer import OrderCallReports
from execution.models import Order
from execution.monitoring import level_monitor
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.runtime.event_stream import drain_events
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position, execute
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.dispatch.slots import set_slots
from tests.execution.fake_broker import FakeBroker
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


def settle(present: TradingRuntime) -> None:
    """Wait until every call has ended and its outcome is written."""
    assert present.dispatcher.wait_idle(60)
    assert present.report_writer.drain(60)


def trade(present: TradingRuntime) -> Order:
    execute(factories.pending())
    settle(present)
    return Order.objects.latest("id")


def test_order_is_claimed_sent_and_filled(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    factories.signal(feed)
    order = trade(trading)
    assert (order.status, order.worker_id) == ("FILLED", trading.id)
    assert len(broker.accepted()) == 1
    assert trading.dispatcher.in_flight == 0


@pytest.mark.django_db(transaction=True)
def test_late_failure_of_a_batch_does_not_affect_an_orders_next_call(
    alice: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, broken, answer = threading.Event(), asyncio.Event(), asyncio.Event()
    batches: list[asyncio.Task[Any] | None] = []

    async def submit_many(requests: Any, guard: Any, on_outcome: Any) -> None:
        batches.append(asyncio.current_task())
        if len(batches) == 1:
            on_outcome(requests[0][1], NotSent(Code.BROKER_CLOCK))
            await broken.wait()
            answer.set()
            raise RuntimeError("it breaks")
        begun.set()
        await answer.wait()
        assert batches[0] is not None
        await asyncio.wait([batches[0]])  # its outcome has been reported
        on_outcome(requests[0][1], NotSent(Code.BROKER_CLOCK))

    broker.submit_many_at_once = True
    monkeypatch.setattr(broker, "submit_many", submit_many)
    factories.signal(feed)
    order = trade(trading)
    assert (order.status, order.send_retries) == ("PENDING", 1)
    factories.pass_time(2)
    execute([order.pk])
    assert begun.wait(60)
    trading.dispatcher.loop.call_soon_threadsafe(broken.set)
    settle(trading)
    order.refresh_from_db()
    assert (order.status, order.send_retries) == ("PENDING", 2)
    assert trading.dispatcher.in_flight == 0


def test_orders_are_sent_as_one_batch_where_the_broker_takes_batches(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    broker.submit_many_at_once = True
    for _ in range(20):
        factories.account(feed)
    factories.signal(feed)
    trade(trading)
    assert Order.objects.filter(status="FILLED").count() == 20
    assert len(set(broker.accepted())) == 20


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (NotSent(Code.NOT_CONNECTED), "PENDING", "NOT_CONNECTED"),
        (Rejected(Code.NO_MONEY), "REJECTED", "NO_MONEY"),
        (OutcomeUnknown(Code.REPLY_LOST), "UNKNOWN", "REPLY_LOST"),
        (TimeoutError(), "UNKNOWN", "REPLY_LOST"),
        (ZeroDivisionError("a bug of the adapter"), "UNKNOWN", "UNEXPECTED"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_outcome_of_a_call_sets_the_orders_status(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker,
    outcome: Exception, status: str, reason: str, many: bool,
) -> None:  # fmt: skip
    def end(request: OrderRequest) -> list[OrderReport]:
        raise outcome

    broker.behaviour, broker.submit_many_at_once = end, many
    factories.signal(feed)
    order = trade(trading)
    assert order.status == status
    assert order.reason in (reason, "UNEXPECTED" if many else reason, "REPLY_LOST")
    assert trading.dispatcher.in_flight == 0


# ---- the last moment ----
def test_kill_switch_is_checked_right_before_sending(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    position = factories.filled(factories.signal(feed))
    factories.signal(feed)
    close_position(position.pk)
    broker.reset()
    broker.on_call = lambda: trading.kill_switch.update(
        Halts(all_trading="REDUCING"), machine_time()
    )
    ids = factories.pending()
    entry, leaving = Order.objects.filter(pk__in=ids).order_by("id")
    execute(ids)
    settle(trading)
    entry.refresh_from_db()
    leaving.refresh_from_db()
    assert (entry.status, entry.reason) == ("PENDING", "KILL_SWITCH")
    assert (
        leaving.reason == "NO_POSITION"
    )  # it went out; the fake broker has forgotten the position
    make.kill_switch("REDUCING", scope="ALL")
    factories.pass_time(10)
    execute([entry.pk])
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", "ENTRIES_HALTED")


@pytest.mark.parametrize(
    ("halts", "is_entry", "stopped"),
    [
        (Halts(), True, False),
        (Halts(all_trading="REDUCING"), True, True),
        (Halts(all_trading="REDUCING"), False, False),
        (Halts(all_trading="HALTED"), False, True),
        (Halts(feeds={7: "HALTED"}), False, True),
        (Halts(feeds={8: "HALTED"}), True, False),
        (Halts(users={3: "REDUCING"}), True, True),
        (Halts(connections={"c": "HALTED"}), True, True),
        (Halts(all_trading="REDUCING", users={3: "HALTED"}), False, True),
        (Halts(broker_types={"paper": "REDUCING"}), True, True),
        (Halts(broker_types={"paper": "REDUCING"}), False, False),
        (Halts(broker_types={"paper": "HALTED"}), False, True),
        (Halts(broker_types={"mt5": "HALTED"}), True, False),
        (Halts(pairs={"GER40/EUR": "REDUCING"}), True, True),
        (Halts(pairs={"DAX/EUR": "HALTED"}), False, True),
        (Halts(pairs={"EUR/USD": "HALTED"}), True, False),
        (Halts(pairs={"DAX/EUR": "REDUCING"}, broker_types={"paper": "HALTED"}), False, True),
    ],
)
def test_kill_switch_stops_the_orders_in_its_scope(
    halts: Halts, is_entry: bool, stopped: bool
) -> None:
    switch = KillSwitchSnapshot(10)
    switch.update(halts, machine_time())
    assert switch.blocks(an_outgoing(is_entry)) is stopped


def test_kill_switch_not_read_for_a_lease_counts_as_set() -> None:
    switch = KillSwitchSnapshot(10)
    assert switch.blocks(an_outgoing(False))
    switch.update(Halts(), machine_time() - 11)
    assert switch.blocks(an_outgoing(False))
    switch.update(Halts(), machine_time() - 9)
    assert not switch.blocks(an_outgoing(False))


def an_outgoing(is_entry: bool, send_by: float = 0) -> Any:
    from types import SimpleNamespace as Some

    request = Some(connection_id="c", order_id=1, fence=1, send_by=send_by)
    return Some(
        owner_id=3, feed_id=7, is_entry=is_entry, request=request,
        broker_type="paper", pairs=("GER40/EUR", "DAX/EUR"), other_feeds=(),
    )  # fmt: skip


def test_order_is_not_sent_after_its_deadline(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As when the process was stopped between the claim and the dispatcher."""
    factories.signal(feed)
    late = machine_time() + 60
    broker.on_call = lambda: monkeypatch.setattr(
        "execution.dispatch.order_dispatcher.machine_time", lambda: late
    )
    order = trade(trading)
    assert (order.status, order.reason, broker.accepted()) == ("PENDING", "SEND_DEADLINE", [])


def test_ended_call_may_not_send(runtime: TradingRuntime) -> None:
    with pytest.raises(NotSent):
        runtime.dispatcher._guard(an_outgoing(True, machine_time() + 60).request)


# ---- neighbours ----
@pytest.mark.django_db(transaction=True)
def test_slow_account_does_not_delay_others(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, *_ = (factories.account(feed) for _ in range(5))
    release, real = threading.Event(), broker.submit

    async def submit(spec: Any, request: OrderRequest, guard: Any) -> Any:
        if spec.connection_id == str(slow.pk):
            await asyncio.to_thread(release.wait, 120)
        return await real(spec, request, guard)

    monkeypatch.setattr(broker, "submit", submit)
    factories.signal(feed)
    execute(factories.pending())
    until(lambda: Order.objects.filter(status="FILLED").count() == 4)
    assert Order.objects.get(status="SUBMITTING").connection == slow
    release.set()
    settle(trading)
    assert Order.objects.filter(status="FILLED").count() == 5


def test_claims_are_limited_to_free_slots(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    set_slots(trading, 2)
    most: list[int] = []
    broker.on_call = lambda: most.append(trading.dispatcher.in_flight)
    for _ in range(9):
        factories.account(feed)
    factories.signal(feed)
    trade(trading)
    assert Order.objects.filter(status="FILLED").count() == 9
    assert max(most) <= 2


def test_slots_are_only_reclaimed_while_calls_are_in_flight(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.dispatch.order_dispatcher.RECLAIM_SECONDS", 0.01)
    dispatcher, seen = trading.dispatcher, list[bool]()
    broker.on_call = lambda: seen.append(dispatcher._is_reclaiming)
    for _ in range(2):  # again after a pause
        assert not dispatcher._is_reclaiming
        factories.account(feed)
        factories.signal(feed)
        trade(trading)
        until(lambda: not dispatcher._is_reclaiming)
    assert len(seen) == 3
    assert all(seen)


def test_draining_process_claims_nothing(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime
) -> None:
    factories.signal(feed)
    trading.drain()
    execute(factories.pending())
    assert Order.objects.get().status == "PENDING"


def test_slots_are_released_when_the_claim_fails(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ValueError("the claim itself")

    factories.signal(feed)
    monkeypatch.setattr("execution.services.claim", fail)
    execute(factories.pending())
    assert (trading.dispatcher.in_flight, Order.objects.get().status) == (0, "FAILED")


# ---- never inside a transaction ----
def test_no_adapter_is_called_inside_a_transaction(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Not on the loop, and not in the thread that waits for it."""
    inside: list[str] = []
    real = OrderDispatcher.run_call

    def ask(self: OrderDispatcher, call: Any, timeout: float) -> Any:
        if connection.in_atomic_block:
            inside.append(call.__name__)
        return real(self, call, timeout)

    def start(calls: Any) -> None:
        inside.extend("background call" for _ in calls if connection.in_atomic_block)
        begin(calls)

    begin = trading.dispatcher.background_calls.start
    monkeypatch.setattr(trading.dispatcher.background_calls, "start", start)
    monkeypatch.setattr(OrderDispatcher, "run_call", ask)
    broker.on_call = lambda: inside.append("loop") if connection.in_atomic_block else None
    signal = factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    broker.behaviour = broker.rest
    trade(trading)
    factories.close_signal(signal)
    services.process_pending_actions()
    settle(trading)
    factories.signal(feed)
    broker.behaviour = broker.accept_without_reply
    trade(trading)
    sweeps.query_unknown_orders(trading.dispatcher)
    settle(trading)
    drain_events()
    reconcile()
    execute(level_monitor.scan_levels())
    assert inside == []
    asked = {name for name, _ in broker.calls}
    assert asked == {"submit", "cancel", "find_order", "events", "positions", "open_orders"}


# ---- the report writer ----
def test_report_writer_survives_an_unwritable_report(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.dispatch.report_writer.quarantine_report", lambda *_: 1 / 0)
    unwritable = OrderReport(ReportKind.FILLED, "no uuid", "x" * 18)
    factories.signal(feed)
    trading.dispatcher.results.put(OrderCallReports([unwritable]))
    assert trade(trading).status == "FILLED"
    assert trading.report_writer.is_alive()


def test_report_is_written_at_once_if_no_call_is_in_flight(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.dispatch.report_writer.GATHER_SECONDS", 3600.0)
    factories.signal(feed)
    execute(factories.pending())
    until(lambda: Order.objects.get().status == "FILLED")


def test_reports_wait_for_those_of_calls_in_flight(
    alice: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def submit_many(requests: Any, guard: Any, on_outcome: Any) -> None:
        for _, request in requests:
            on_outcome(request, broker.fill_at_once(request))
            await asyncio.to_thread(until, trading.dispatcher.results.empty)

    batches: list[int] = []
    monkeypatch.setattr("execution.dispatch.report_writer.GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(trading.report_writer, "_on_reports", lambda b: batches.append(len(b)))
    monkeypatch.setattr(broker, "submit_many", submit_many)
    broker.submit_many_at_once = True
    for _ in range(2):
        factories.account(feed)
    factories.signal(feed)
    execute(factories.pending())
    until(lambda: Order.objects.filter(status="FILLED").count() == 3)
    until(lambda: batches)  # it is called after the writer's commit
    assert batches == [3]
