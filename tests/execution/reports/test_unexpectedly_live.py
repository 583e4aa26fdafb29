"""Orders given up that are live at the broker: the fact wins, people are notified, and the order is
treated as live. Also states that a broker skips, which the log contains."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from brokers.types import ReportKind
from common.clocks import market_now
from common.db.sql import run
from common.errors import ConflictError
from common.permissions import Role
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.ids import at_attempt
from execution.models import DriftItem, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from execution.services import cancel_order, execute, retry_order
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import KIND
from tests.roles import staff
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order in flight, without reports."""
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()
    return Order.objects.get()


@pytest.fixture
def operator(db: None) -> User:
    return staff(Role.OPERATOR)


def never_arrived(entry: Order, runtime: trading_runtime.TradingRuntime) -> None:
    for _ in range(2):
        factories.pass_time(61)
        sweeps.mark_orphaned_unknown("another")
        sweeps.query_unknown_orders(runtime.dispatcher)
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("FAILED", "NEVER_ARRIVED")


def test_absent_order_that_is_accepted_works_again(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.done_at) == ("SUBMITTED", "UNEXPECTEDLY_LIVE", None)
    assert factories.log_codes(entry.pk)[-1] == ("UNEXPECTEDLY_LIVE", "SUBMITTED")
    assert factories.events("order.unexpectedly_live") == [{"code": "UNEXPECTEDLY_LIVE"}]
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))  # a repetition changes nothing
    assert len(factories.events("order.unexpectedly_live")) == 1
    factories.apply(factories.fill_report(entry, 100, "f1"))
    entry.refresh_from_db()
    assert entry.status == "FILLED"


def test_order_live_after_its_validity_is_cancelled(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=1))
    never_arrived(entry, runtime)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    assert sweeps.cancel_expired_working() == 1
    entry.refresh_from_db()
    assert entry.pending_action == "EXPIRE"


@pytest.mark.parametrize("kind", ["CANCELLED", "EXPIRED", "REJECTED"])
def test_end_reported_by_the_broker_replaces_our_assumption(
    entry: Order, runtime: trading_runtime.TradingRuntime, kind: str
) -> None:
    never_arrived(entry, runtime)
    factories.apply(factories.report(entry, ReportKind(kind)))
    entry.refresh_from_db()
    assert entry.status == kind


def test_order_withdrawn_as_never_sent_and_accepted_is_cancelled_there(entry: Order) -> None:
    factories.answer(factories.claimed_call(entry), NotSent(Code.NOT_CONNECTED))
    cancel_order(entry.pk)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert (entry.status, entry.pending_action) == ("SUBMITTED", "CANCEL")
    assert factories.events("order.unexpectedly_live") == [{"code": "UNEXPECTEDLY_LIVE"}]


def test_order_withdrawn_and_ended_there_stays_ended(entry: Order) -> None:
    factories.answer(factories.claimed_call(entry), NotSent(Code.NOT_CONNECTED))
    cancel_order(entry.pk)
    factories.apply(factories.report(entry, ReportKind.EXPIRED))
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))  # reported late
    entry.refresh_from_db()
    assert (entry.status, entry.pending_action) == ("CANCELLED", "")


def test_reported_cancel_is_not_undone_by_an_older_acceptance(entry: Order) -> None:
    factories.apply(factories.report(entry, ReportKind.CANCELLED))
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert entry.status == "CANCELLED"


def test_retry_by_a_person_restarts_the_age_of_a_market_entry(
    entry: Order, runtime: trading_runtime.TradingRuntime, operator: User
) -> None:
    never_arrived(entry, runtime)  # confirmed absent after two minutes, twice its maximum age
    retry_order(entry.pk, by=operator)
    entry.refresh_from_db()
    assert (entry.reason, entry.detail) == (
        "OPERATOR_RETRY", f"by {operator.get_username()}; its age counts from now on",
    )  # fmt: skip
    factories.pass_time(50)
    (again,) = factories.claim_all()
    assert again.request.order_id == entry.pk


def test_retry_that_waits_longer_than_a_market_entry_may_expires(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    retry_order(entry.pk)
    factories.pass_time(62)
    assert factories.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", "SIGNAL_TOO_OLD")


def test_retry_after_the_validity_of_its_signal_is_not_sent(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=90))
    retry_order(entry.pk)
    factories.pass_time(91)
    assert factories.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("EXPIRED", "SIGNAL_EXPIRED")


def test_retry_of_an_entry_whose_signal_has_expired_is_refused(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=90))
    never_arrived(entry, runtime)
    with pytest.raises(ConflictError, match="publish a new signal") as refused:
        retry_order(entry.pk)
    assert refused.value.code == "SIGNAL_EXPIRED"
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("FAILED", "NEVER_ARRIVED")


def test_previous_attempt_found_live_before_the_retry_is_sent(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, client_order_id=first))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.attempt) == ("SUBMITTED", "UNEXPECTEDLY_LIVE", 0)
    factories.pass_time(60)
    assert factories.claim_all() == []  # otherwise it would exist twice


@pytest.mark.parametrize("in_one_flush", [True, False])
def test_report_of_an_attempt_filled_before_its_retry_counts(
    entry: Order, runtime: trading_runtime.TradingRuntime, in_one_flush: bool
) -> None:
    never_arrived(entry, runtime)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    fill = factories.fill_report(entry, 40, "f1", client_order_id=first)
    end = factories.report(entry, ReportKind.CANCELLED, client_order_id=first)
    for batch in [(fill, end)] if in_one_flush else [(fill,), (end,)]:
        factories.apply(*batch)
    entry.refresh_from_db()
    assert (entry.status, entry.filled_quantity, entry.attempt) == ("CANCELLED", 40, 0)
    assert not DriftItem.objects.exists()


@pytest.mark.parametrize("meanwhile", ["its host is away", "it was not sent"])
def test_waiting_retry_is_not_sent_when_the_first_attempt_is_live(
    entry: Order, runtime: trading_runtime.TradingRuntime, meanwhile: str
) -> None:
    never_arrived(entry, runtime)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    if meanwhile == "its host is away":
        runtime.hosts_down = frozenset({KIND})
        execute([entry.pk])
    else:
        (again,) = factories.claim_all()
        factories.answer(again, NotSent(Code.NOT_CONNECTED))
    entry.refresh_from_db()
    assert (entry.status, entry.attempt) == ("PENDING", 1)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, client_order_id=first))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.attempt) == ("SUBMITTED", "UNEXPECTEDLY_LIVE", 0)
    factories.pass_time(60)
    assert factories.claim_all() == []


@pytest.mark.parametrize("kind", ["ACCEPTED", "REJECTED"])
def test_retry_of_an_order_that_failed_without_an_id_is_reported(
    alice: ExecutionConnection, feed: Feed, kind: str
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    order = Order.objects.get()
    Order.objects.update(status="FAILED", reason="ORDER_PROCESSING_FAILED", done_at=market_now())
    retry_order(order.pk)
    factories.claim_all()
    order.refresh_from_db()
    factories.apply(factories.report(order, ReportKind(kind)))
    order.refresh_from_db()
    assert order.status == {"ACCEPTED": "SUBMITTED", "REJECTED": "REJECTED"}[kind]


def test_previous_attempt_live_beside_its_retry_becomes_drift(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    (again,) = factories.claim_all()
    assert again.request.client_order_id == at_attempt(first, 1)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, client_order_id=first))
    drift = DriftItem.objects.get()
    assert (drift.kind, drift.key) == ("UNEXPECTEDLY_LIVE", first)
    entry.refresh_from_db()
    assert entry.status == "SUBMITTING"


def test_acceptance_of_a_denied_order_is_drift(entry: Order) -> None:
    with factories.without_triggers():
        run(f"UPDATE execution_order SET status = 'DENIED' WHERE id = {entry.pk}")
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert entry.status == "DENIED"
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"


def test_rejection_of_an_order_taken_as_not_sent_ends_it(entry: Order) -> None:
    factories.answer(factories.claimed_call(entry), NotSent(Code.NOT_CONNECTED))
    factories.apply(factories.report(entry, ReportKind.REJECTED, code=Code.NO_MONEY))
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("REJECTED", "NO_MONEY")


def test_withdrawn_acceptance_ends_a_requested_cancel(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    cancel_order(entry.pk)
    run("UPDATE execution_order SET status = 'CANCEL_REQUESTED'")
    factories.apply(factories.report(entry, ReportKind.REJECTED))
    entry.refresh_from_db()
    assert entry.status == "REJECTED"
    process_pending_actions()
    entry.refresh_from_db()
    assert entry.pending_action == ""


@pytest.mark.parametrize(
    ("kinds", "lines"),
    [
        (["FILLED"], ["SUBMITTED", "FILLED"]),
        (["ACCEPTED", "FILLED"], ["SUBMITTED", "FILLED"]),
        (["CANCELLED"], ["SUBMITTED", "CANCELLED"]),
        (["FILLED", "CANCELLED"], ["SUBMITTED", "FILLED"]),
        (["REJECTED"], ["REJECTED"]),
    ],
)
def test_status_skipped_by_the_broker_is_logged(
    entry: Order, kinds: list[str], lines: list[str]
) -> None:
    reports = [
        factories.fill_report(entry, 100, "f1")
        if kind == "FILLED"
        else factories.report(entry, ReportKind(kind))
        for kind in kinds
    ]
    factories.apply(*reports)
    assert [status for _, status in factories.log_codes(entry.pk)][2:] == lines


def test_statuses_passed_in_one_flush_are_logged_in_order(entry: Order) -> None:
    factories.apply(
        factories.fill_report(entry, 40, "f1"), factories.report(entry, ReportKind.CANCELLED)
    )
    lines = [status for _, status in factories.log_codes(entry.pk)][2:]
    assert lines == ["SUBMITTED", "PARTIALLY_FILLED", "CANCELLED"]


def test_reported_status_is_not_implied_again(entry: Order) -> None:
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    factories.apply(factories.fill_report(entry, 100, "f1"))
    assert [status for _, status in factories.log_codes(entry.pk)][2:] == ["SUBMITTED", "FILLED"]
