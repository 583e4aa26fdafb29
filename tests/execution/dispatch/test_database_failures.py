"""Database failures are not blamed on reports or orders: these are retried unchanged."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import InternalError, connection

from common.db.sql import rows, run
from execution.dispatch.background_calls import CallResult
from execution.dispatch.report_writer import apply_or_defer, record_call_results, retry_deferred
from execution.models import Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.auto_resolve import resolve
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from execution.services import cancel_order, execute
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.dispatch.test_background_calls import resting
from tests.execution.fake_broker import FakeBroker
from tests.until import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alice")]
SECONDS = 60.0
IDLE_MS = 50
Limits = Callable[..., None]
StandStill = Callable[[str, str], list[str]]


@pytest.fixture
def limited(limits: Limits) -> Iterator[Limits]:
    """Set time-outs of this session, in ms; the next test gets a new session."""

    def limit(**timeouts: int) -> None:
        limits(**timeouts)
        connection.close()

    yield limit
    connection.close()


@pytest.fixture
def stand_still(monkeypatch: pytest.MonkeyPatch, limited: Limits) -> StandStill:
    """Replace a function of a module by one that blocks, once and where `at` is its
    argument, until the server has ended the transaction. Return where it blocked."""

    def replace(module: str, at: str) -> list[str]:
        stood: list[str] = []

        def failpoint(name: str) -> None:
            if name == at and not stood:
                stood.append(name)
                stand()

        monkeypatch.setattr(f"{module}.failpoint", failpoint)
        return stood

    return replace


def stand() -> None:
    """Do nothing until the server has ended this session, which it does soon."""
    run(f"SET idle_in_transaction_session_timeout = {IDLE_MS}")
    assert connection.connection is not None
    with ThreadPoolExecutor(1) as other:
        other.submit(_until_ended, connection.connection.info.backend_pid).result()


def _until_ended(pid: int) -> None:
    sessions = "SELECT FROM pg_stat_activity WHERE pid = %s"
    try:
        until(lambda: not rows(sessions, (pid,)), "the server did not end the session")
    finally:
        connection.close()


def test_single_report_survives_a_stalled_process(
    feed: Feed, stand_still: StandStill, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.signal(feed)
    factories.claim_all()
    stood = stand_still("execution.reports.apply", "reports.written")
    monkeypatch.setattr("execution.dispatch.deferred_reports.RETRY_SECONDS", 0)
    apply_or_defer([factories.fill_report(factories.order(leg="entry"), 100, "f1")])
    retry_deferred()
    assert stood == ["reports.written"]
    assert Order.objects.get().status == "FILLED"
    assert ExecutionPosition.objects.get().quantity == 100
    assert factories.drift_items() == []


def test_single_order_stays_due_after_a_stalled_process(
    feed: Feed, runtime: trading_runtime.TradingRuntime, stand_still: StandStill
) -> None:
    factories.signal(feed)
    stood = stand_still("execution.submission.claim", "claim.locked")
    with pytest.raises(InternalError, match="idle"):
        execute(factories.pending())
    connection.close()
    assert stood == ["claim.locked"]
    assert Order.objects.get().status == "PENDING"
    execute(factories.pending())
    assert Order.objects.get().status == "SUBMITTING"


def test_failed_reconciliation_is_not_blamed_on_its_account(
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    limited: Limits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factories.filled(factories.signal(feed))

    def resolve_late(*arguments: Any) -> None:
        resolve(*arguments)
        stand()

    monkeypatch.setattr("execution.reconciliation.reconcile.resolve", resolve_late)
    with pytest.raises(InternalError, match="idle"):
        reconcile()


def test_locked_row_delays_its_own_report_only(
    feed: Feed, limited: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(lock_timeout=60)
    for _ in range(7):
        factories.signal(feed)
    factories.claim_all()
    entries = list(Order.objects.order_by("id"))
    lock = f"SELECT 1 FROM execution_order WHERE id = {entries[0].pk} FOR UPDATE"
    with factories.locked_elsewhere(lock):
        apply_or_defer([factories.fill_report(one, 100, f"f{one.pk}") for one in entries])
        filled = Order.objects.filter(status="FILLED").values_list("id", flat=True)
        assert sorted(filled) == [one.pk for one in entries[1:]]
    monkeypatch.setattr("execution.dispatch.deferred_reports.RETRY_SECONDS", 0)
    retry_deferred()
    assert Order.objects.filter(status="FILLED").count() == len(entries)


def test_locked_row_delays_its_own_brokers_answer_only(
    feed: Feed, limited: Limits, trading: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    for _ in range(3):
        factories.signal(feed)
    resting(trading, broker)
    orders = list(Order.objects.order_by("id"))
    for order in orders:
        cancel_order(order.pk)
    limited(lock_timeout=60)
    answers: list[CallResult] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "execution.dispatch.report_writer.record_call_results",
            lambda done, _: answers.extend(done),
        )
        process_pending_actions()
        until(lambda: len(answers) == 3)
    cancelled = Order.objects.filter(status="CANCELLED")
    with factories.locked_elsewhere(
        f"SELECT 1 FROM execution_order WHERE id = {orders[0].pk} FOR UPDATE"
    ):
        record_call_results(answers)
        assert sorted(cancelled.values_list("id", flat=True)) == [one.pk for one in orders[1:]]


def test_answers_to_cancels_survive_a_database_restart(
    feed: Feed, trading: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    factories.signal(feed)
    resting(trading, broker)
    order = Order.objects.get()
    cancel_order(order.pk)
    answers: list[CallResult] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "execution.dispatch.report_writer.record_call_results",
            lambda done, _: answers.extend(done),
        )
        process_pending_actions()
        until(lambda: len(answers) == 1)
    assert connection.connection is not None
    pid = connection.connection.info.backend_pid
    with ThreadPoolExecutor(1) as other:
        other.submit(_end_session, pid).result()
    record_call_results(answers)
    assert Order.objects.get().status == "CANCELLED"
    assert factories.log_codes(order.pk).count(("CANCEL_REQUESTED", "CANCEL_REQUESTED")) == 1


def _end_session(pid: int) -> None:
    try:
        rows("SELECT pg_terminate_backend(%s)", (pid,))
        _until_ended(pid)
    finally:
        connection.close()
