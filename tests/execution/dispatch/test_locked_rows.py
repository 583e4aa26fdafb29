"""Rows locked by another session delay their own reports and nothing else."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from structlog.testing import capture_logs

from brokers.base import NotSent, OutcomeUnknown
from brokers.call_runner import HostSkipped
from brokers.types import HeldLevels, OrderReport, ReportKind
from common.clocks import machine_time
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.dispatch.background_calls import CallResult
from execution.dispatch.report_writer import (
    OrderCallReports,
    ReportWriter,
    ResultItem,
    apply_or_defer,
    apply_with_bisection,
    record_call_results,
    retry_deferred,
)
from execution.models import AccountSyncState, ExecutionLog, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery import sweeps
from execution.runtime import event_stream, trading_runtime
from execution.runtime.event_stream import drain_events
from execution.services import cancel_order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.dispatch.test_background_calls import resting
from tests.execution.fake_broker import FakeBroker
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
Limits = Callable[..., None]
LOCK = "SELECT 1 FROM {} WHERE id IN ({}) FOR UPDATE"
POSITIONS, ORDERS = "positions_executionposition", "execution_order"


@pytest.fixture(autouse=True)
def short_waits(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A wait for a row ends after 60 ms, and each call retries deferred reports."""
    limits(lock_timeout=60)
    connection.close()
    monkeypatch.setattr("execution.dispatch.partial_writes.LOCK_WAIT_MS", 40)
    monkeypatch.setattr("execution.dispatch.deferred_reports.RETRY_SECONDS", 0)
    monkeypatch.setattr(event_stream, "_waiting_since", {})
    monkeypatch.setattr(event_stream, "_blocked", {}, raising=False)
    yield
    connection.close()


@pytest.fixture
def account(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """The broker holds stops itself."""
    return factories.account(feed, settings={"native_stops": True})


def lock(table: str, *ids: int) -> str:
    return LOCK.format(table, ",".join(map(str, ids)))


def levels(of: Order, stop_loss: str | None) -> OrderReport:
    held = HeldLevels(D(stop_loss) if stop_loss else None, None)
    return factories.report(of, ReportKind.LEVELS, levels=held)


def stop_of(position: ExecutionPosition) -> D | None:
    found: D | None = ExecutionPosition.objects.get(pk=position.pk).broker_sl
    return found


def entry_of(position: ExecutionPosition) -> Order:
    return Order.objects.get(signal=position.signal, leg="entry")


# ---- levels ----
def test_blocked_levels_event_does_not_replace_a_newer_one(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is locked while the first page is applied and free when the second is read."""
    position = factories.filled(factories.signal(feed))
    broker.news.clear()
    monkeypatch.setattr(event_stream, "PAGE_SIZE", 1)
    broker.publish(levels(entry_of(position), "1.09500"))
    broker.publish(levels(entry_of(position), None))
    pages: list[str] = []
    with ExitStack() as locked:
        locked.enter_context(factories.locked_elsewhere(lock(POSITIONS, position.pk)))

        def on_call() -> None:
            if broker.calls[-1][0] == "events":
                pages.append("")
                if len(pages) == 2:
                    locked.close()

        broker.on_call = on_call
        drain_events()
    for _ in range(2):
        drain_events()
        retry_deferred()
    assert broker.news == {}
    assert stop_of(position) is None
    assert AccountSyncState.objects.get(connection=account).reconcile_requested_at is not None


def test_newer_levels_are_written_last_when_a_batch_is_split(
    account: ExecutionConnection, feed: Feed
) -> None:
    position = factories.filled(factories.signal(feed))
    for _ in range(2):
        factories.signal(feed)
    factories.claim_all()
    locked, free = Order.objects.filter(status="SUBMITTING").order_by("id")
    batch = [
        levels(entry_of(position), "1.09500"), factories.fill_report(locked, 100, "x1"),
        levels(entry_of(position), None), factories.fill_report(free, 100, "x2"),
    ]  # fmt: skip
    with factories.locked_elsewhere(lock(ORDERS, locked.pk)):
        apply_or_defer(batch)
    assert stop_of(position) is None
    assert Order.objects.get(pk=free.pk).status == "FILLED"


@pytest.mark.parametrize(
    ("reported", "held"),
    [
        pytest.param(["1.09500"], "1.09500", id="one"),
        pytest.param(["1.09500", None], None, id="newer has none"),
        pytest.param(["1.09500", None, "1.09500"], "1.09500", id="newest again"),
    ],
)
def test_latest_of_blocked_levels_is_applied_when_the_row_is_free(
    account: ExecutionConnection, feed: Feed, reported: list[str | None], held: str | None
) -> None:
    position = factories.filled(factories.signal(feed))
    with factories.locked_elsewhere(lock(POSITIONS, position.pk)):
        for stop_loss in reported:
            apply_or_defer([levels(entry_of(position), stop_loss)])
            retry_deferred()
    assert stop_of(position) == D("1.09")
    retry_deferred()
    assert stop_of(position) == (D(held) if held else None)
    assert AccountSyncState.objects.get(connection=account).reconcile_requested_at is not None


def test_levels_of_a_blocked_fill_are_unknown_when_it_is_applied(
    account: ExecutionConnection, feed: Feed
) -> None:
    """Its levels may have changed since, when there was no position to store the change in."""
    factories.signal(feed)
    factories.claim_all()
    entry = factories.order(leg="entry")
    with factories.locked_elsewhere(lock(ORDERS, entry.pk)):
        apply_or_defer([factories.fill_report(entry, 100, "f1", stop_loss=D("1.09"))])
    apply_or_defer([levels(entry, None)])
    retry_deferred()
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.broker_sl, position.levels_reported_at) == (100, None, None)


def compared(account: ExecutionConnection) -> bool:
    """Return whether its reconciliation is requested."""
    return AccountSyncState.objects.filter(
        connection=account, reconcile_requested_at__isnull=False
    ).exists()


def test_levels_that_are_applied_late_have_their_account_compared(
    account: ExecutionConnection, feed: Feed
) -> None:
    """The broker's stream may have reported a drop meanwhile, and reports it once."""
    position = factories.filled(factories.signal(feed))
    AccountSyncState.objects.update(reconcile_requested_at=None)
    apply_or_defer([levels(entry_of(position), "1.09")])
    assert not compared(account)
    apply_or_defer([levels(entry_of(position), "1.09")], waited=2)
    assert compared(account)


def test_late_answer_to_a_look_up_has_its_account_compared(
    account: ExecutionConnection,
    feed: Feed,
    broker: FakeBroker,
    runtime: trading_runtime.TradingRuntime,
) -> None:
    """It opens the position, and carries a stop that its broker may have dropped since."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    broker.fill_at_once(outgoing.request)
    factories.pass_time(60)
    AccountSyncState.objects.update(reconcile_requested_at=None)
    kept: list[CallResult] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.execution.conftest.record_call_results", kept.extend)
        sweeps.query_unknown_orders(runtime.dispatcher)
    record_call_results([replace(one, ended_at=one.ended_at - 4) for one in kept])
    assert stop_of(ExecutionPosition.objects.get()) == D("1.09")
    assert compared(account)


def test_answer_that_contradicts_a_newer_event_has_its_account_compared(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """The event came after the answer, and is written before it: it may be the newer one."""
    position = factories.filled(factories.signal(feed))
    factories.pass_time(60)
    AccountSyncState.objects.update(reconcile_requested_at=None)
    broker.publish(levels(entry_of(position), None))
    drain_events()
    assert not compared(account)
    apply_or_defer([levels(entry_of(position), "1.09")])
    assert compared(account)


def test_answer_that_waited_in_the_queue_has_its_account_compared(
    account: ExecutionConnection, feed: Feed
) -> None:
    """It was queued behind others: the broker may have dropped the stop that it carries."""
    factories.signal(feed)
    factories.claim_all()
    fill = factories.fill_report(factories.order(leg="entry"), 100, "f1", stop_loss=D("1.09"))
    AccountSyncState.objects.update(reconcile_requested_at=None)
    results: queue.SimpleQueue[ResultItem] = queue.SimpleQueue()
    results.put(OrderCallReports([fill], ended_at=machine_time() - 4))
    report_writer = ReportWriter(results)
    report_writer.start()
    assert report_writer.drain(60)
    report_writer.stop()
    report_writer.join(60)
    assert stop_of(ExecutionPosition.objects.get()) == D("1.09")
    assert compared(account)


@pytest.fixture
def entry(account: ExecutionConnection, feed: Feed, broker: FakeBroker) -> Order:
    """The order is being sent, and an event states that the broker holds no level of it."""
    factories.signal(feed)
    factories.claim_all()
    found = factories.order(leg="entry")
    AccountSyncState.objects.update(reconcile_requested_at=None)
    broker.publish(levels(found, None))
    return found


def test_levels_reported_before_the_fill_is_written_have_the_account_compared(
    account: ExecutionConnection, broker: FakeBroker, entry: Order
) -> None:
    drain_events()
    assert broker.news == {}
    apply_or_defer([factories.fill_report(entry, 100, "f1", stop_loss=D("1.09"))])
    assert compared(account)
    AccountSyncState.objects.update(reconcile_requested_at=None)
    factories.pass_time(60)
    broker.publish(levels(entry, None))
    drain_events()
    assert not compared(account), "there is a position now: its levels are written"


def test_levels_reported_while_the_fill_is_written_have_the_account_compared(
    account: ExecutionConnection, entry: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event finds no position, and the fill with its older stop is written right after."""
    fill = factories.fill_report(entry, 100, "f1", stop_loss=D("1.09"))

    def apply_and_fill(*args: Any, **options: Any) -> Any:
        left = apply_with_bisection(*args, **options)
        apply_or_defer([fill])
        return left

    monkeypatch.setattr(event_stream, "apply_with_bisection", apply_and_fill)
    drain_events()
    assert stop_of(ExecutionPosition.objects.get()) == D("1.09")
    assert compared(account)


# ---- background calls ----
@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[CallResult]:
    """Return the results of calls that are not written yet."""
    kept: list[CallResult] = []
    monkeypatch.setattr(
        "execution.dispatch.report_writer.record_call_results", lambda done, _: kept.extend(done)
    )
    return kept


def cancelled_in_silence(
    many: int,
    feed: Feed,
    trading: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    answers: list[CallResult],
) -> list[Order]:
    """Return resting orders whose cancels were requested; their answers are kept unwritten."""
    for _ in range(many):
        factories.signal(feed)
    resting(trading, broker)
    orders = list(Order.objects.order_by("id"))
    for order in orders:
        cancel_order(order.pk)
    broker.cancelling = "silent"
    process_pending_actions()
    until(lambda: len(answers) == many)
    return orders


def test_locked_row_counts_no_cancel_request_twice(
    feed: Feed,
    alice: ExecutionConnection,
    trading: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    answers: list[CallResult],
) -> None:
    orders = cancelled_in_silence(4, feed, trading, broker, answers)
    failed: list[Exception] = [
        OutcomeUnknown(Code.REPLY_LOST), OutcomeUnknown(Code.REPLY_LOST),
        NotSent(Code.NOT_CONNECTED), HostSkipped("host"),
    ]  # fmt: skip
    by_order = sorted(answers, key=lambda done: done.about.id)
    done = [replace(one, answer=error) for one, error in zip(by_order, failed, strict=True)]
    with factories.locked_elsewhere(lock(ORDERS, orders[2].pk)):
        record_call_results(done)
    assert [one.pending_action_attempts for one in Order.objects.order_by("id")] == [1, 1, 0, 0]
    for order in orders[:2]:
        assert factories.log_codes(order.pk).count(("CANCEL_REQUESTED", "CANCEL_REQUESTED")) == 1


def test_answer_to_a_cancel_is_applied_when_its_order_is_free_again(
    feed: Feed,
    alice: ExecutionConnection,
    trading: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    answers: list[CallResult],
) -> None:
    factories.signal(feed)
    resting(trading, broker)
    order = Order.objects.get()
    cancel_order(order.pk)
    process_pending_actions()
    until(lambda: len(answers) == 1)
    with factories.locked_elsewhere(lock(ORDERS, order.pk)):
        record_call_results(answers)
    until(lambda: Order.objects.get().status == "CANCELLED")  # the process retries it


def test_locked_row_gives_up_no_stop_twice(
    account: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.drops_levels = True
    positions = [factories.filled(factories.signal(feed)) for _ in range(3)]
    factories.pass_time(2)
    kept: list[CallResult] = []
    monkeypatch.setattr("tests.execution.conftest.record_call_results", kept.extend)
    process_pending_actions()
    assert len(kept) == 3
    dropped = ExecutionLog.objects.filter(code="STOP_DROPPED", detail__contains="placed again")
    with factories.locked_elsewhere(lock(POSITIONS, positions[2].pk)):
        record_call_results(
            [
                one
                if one.about.id != positions[2].pk
                else replace(one, answer=NotSent(Code.NOT_CONNECTED))
                for one in kept
            ]
        )
    assert dropped.count() == 2
    given_up = ExecutionPosition.objects.filter(levels_given_up=True)
    assert set(given_up.values_list("id", flat=True)) == {one.pk for one in positions[:2]}


@pytest.mark.parametrize("broken", ["answer", "row"])
def test_answer_that_breaks_its_writer_loses_no_other_answer(
    feed: Feed,
    alice: ExecutionConnection,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    broken: str,
) -> None:
    for _ in range(3):
        factories.signal(feed)
    for outgoing in factories.claim_all():
        factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
        broker.fill_at_once(outgoing.request)
    factories.pass_time(60)
    kept: list[CallResult] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.execution.conftest.record_call_results", kept.extend)
        sweeps.query_unknown_orders(runtime.dispatcher)
    bad = replace(kept[1], answer=7)
    if broken == "row":
        about = replace(kept[1].about, type="no such type")
        bad = CallResult(replace(kept[1].background_call, about=about), None)
    record_call_results([kept[0], bad, kept[2]])
    orders = {one.pk: one for one in Order.objects.all()}
    assert [orders[one.about.id].status for one in kept] == ["FILLED", "UNKNOWN", "FILLED"]
    assert {one.lookup_claimed_until for one in orders.values()} == {None}


def test_unreadable_answer_to_a_cancel_is_a_request_that_counts_once(
    feed: Feed,
    alice: ExecutionConnection,
    trading: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    answers: list[CallResult],
) -> None:
    orders = cancelled_in_silence(3, feed, trading, broker, answers)
    done = sorted(answers, key=lambda one: one.about.id)
    record_call_results([done[0], replace(done[1], answer=7), done[2]])
    assert [one.pending_action_attempts for one in Order.objects.order_by("id")] == [1, 1, 1]
    for order in orders:
        assert factories.log_codes(order.pk).count(("CANCEL_REQUESTED", "CANCEL_REQUESTED")) == 1


# ---- time ----
def entries(feed: Feed, count: int) -> list[Order]:
    for _ in range(count):
        factories.signal(feed)
    factories.claim_all()
    return list(Order.objects.order_by("id"))


def waits(logs: Sequence[Any]) -> int:
    """Return how often a write waited for a locked row: each such wait ends by its timeout."""
    return [one["event"] for one in logs].count("write timed out")


def test_many_locked_rows_delay_the_others_for_one_wait(
    feed: Feed, alice: ExecutionConnection
) -> None:
    orders = entries(feed, 20)
    reports = [factories.fill_report(one, 100, f"f{one.pk}") for one in orders]
    locked = {one.pk for one in orders[::4]}
    with factories.locked_elsewhere(lock(ORDERS, *locked)), capture_logs() as logs:
        apply_or_defer(reports)
        filled = set(Order.objects.filter(status="FILLED").values_list("id", flat=True))
        assert filled == {one.pk for one in orders} - locked
        assert waits(logs) == 1
        for _ in range(5):
            retry_deferred()
        assert waits(logs) == 1
    retry_deferred()
    assert Order.objects.filter(status="FILLED").count() == len(orders)


def test_report_blocked_for_a_minute_is_logged_once_as_an_error(
    feed: Feed, alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = entries(feed, 1)
    monkeypatch.setattr("execution.dispatch.deferred_reports.DEFER_SECONDS", 0)
    with factories.locked_elsewhere(lock(ORDERS, order.pk)), capture_logs() as logs:
        apply_or_defer([factories.fill_report(order, 100, "f1")])
        for _ in range(3):
            retry_deferred()
    errors = [one for one in logs if one["log_level"] == "error"]
    assert [one.get("order") for one in errors] == [order.client_order_id]
    retry_deferred()
    assert Order.objects.get().status == "FILLED"


def test_event_blocked_for_a_minute_is_logged_once_as_an_error(
    feed: Feed,
    alice: ExecutionConnection,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (order,) = entries(feed, 1)
    broker.publish(factories.fill_report(order, 100, "f1"))
    monkeypatch.setattr(event_stream, "DEFER_SECONDS", -1)
    with factories.locked_elsewhere(lock(ORDERS, order.pk)), capture_logs() as logs:
        for _ in range(3):
            drain_events()
    errors = [one for one in logs if one["log_level"] == "error"]
    assert [one.get("order") for one in errors] == [order.client_order_id]
    assert len(broker.news) == 1
    drain_events()
    assert (Order.objects.get().status, broker.news) == ("FILLED", {})
