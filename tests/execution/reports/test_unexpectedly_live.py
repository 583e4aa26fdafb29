"""What we had given up, and the broker has: a fact wins, people are told, and it is treated as
what it is. And the states that a broker skips: the log has them."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from brokers.types import ReportKind
from common.clocks import market_now
from common.errors import ConflictError
from common.permissions import Role
from common.reason_codes import Code
from common.sql import run
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

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """On its way, nothing told yet."""
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


def test_an_order_that_never_arrived_and_is_accepted_works_again(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.done_at) == ("SUBMITTED", "UNEXPECTEDLY_LIVE", None)
    assert factories.log_codes(entry.pk)[-1] == ("UNEXPECTEDLY_LIVE", "SUBMITTED")
    assert factories.events("order.unexpectedly_live") == [{"code": "UNEXPECTEDLY_LIVE"}]
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))  # told again it is no news
    assert len(factories.events("order.unexpectedly_live")) == 1
    factories.apply(factories.fill_report(entry, 100, "f1"))
    entry.refresh_from_db()
    assert entry.status == "FILLED"


def test_one_that_has_risen_beyond_its_validity_is_taken_back(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=1))
    never_arrived(entry, runtime)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    assert sweeps.cancel_expired_working() == 1
    entry.refresh_from_db()
    assert entry.pending_action == "CANCEL"


@pytest.mark.parametrize("kind", ["CANCELLED", "EXPIRED", "REJECTED"])
def test_the_brokers_word_about_its_end_replaces_our_belief(
    entry: Order, runtime: trading_runtime.TradingRuntime, kind: str
) -> None:
    never_arrived(entry, runtime)
    factories.apply(factories.report(entry, ReportKind(kind)))
    entry.refresh_from_db()
    assert entry.status == kind


def test_one_withdrawn_as_never_sent_that_is_accepted_is_cancelled_there(entry: Order) -> None:
    factories.answer(factories.claimed_call(entry), NotSent(Code.NOT_CONNECTED))
    cancel_order(entry.pk)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert (entry.status, entry.pending_action) == ("SUBMITTED", "CANCEL")
    assert factories.events("order.unexpectedly_live") == [{"code": "UNEXPECTEDLY_LIVE"}]


def test_one_withdrawn_and_ended_there_too_does_not_come_back(entry: Order) -> None:
    factories.answer(factories.claimed_call(entry), NotSent(Code.NOT_CONNECTED))
    cancel_order(entry.pk)
    factories.apply(factories.report(entry, ReportKind.EXPIRED))
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))  # told late
    entry.refresh_from_db()
    assert (entry.status, entry.pending_action) == ("CANCELLED", "")


def test_a_cancel_that_the_broker_told_is_not_undone_by_an_older_acceptance(entry: Order) -> None:
    factories.apply(factories.report(entry, ReportKind.CANCELLED))
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert entry.status == "CANCELLED"


def test_a_retry_by_a_person_counts_the_age_of_a_market_entry_from_then_on(
    entry: Order, runtime: trading_runtime.TradingRuntime, operator: User
) -> None:
    never_arrived(entry, runtime)  # proven after two minutes, twice the age that it may have
    retry_order(entry.pk, by=operator)
    entry.refresh_from_db()
    assert (entry.reason, entry.detail) == (
        "OPERATOR_RETRY", f"by {operator.get_username()}; its age counts from now on",
    )  # fmt: skip
    factories.pass_time(50)
    (again,) = factories.claim_all()
    assert again.request.order_id == entry.pk


def test_a_retry_that_waits_for_longer_than_a_market_entry_may_is_too_old(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    retry_order(entry.pk)
    factories.pass_time(62)
    assert factories.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", "SIGNAL_TOO_OLD")


def test_a_retry_beyond_the_validity_of_its_signal_is_not_sent(
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


def test_the_attempt_before_a_retry_rises_before_the_retry_is_sent(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    never_arrived(entry, runtime)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, client_order_id=first))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.attempt) == ("SUBMITTED", "UNEXPECTEDLY_LIVE", 0)
    factories.pass_time(60)
    assert factories.claim_all() == []  # else it would be there twice


@pytest.mark.parametrize("in_one_flush", [True, False])
def test_what_the_broker_says_of_an_attempt_that_fills_before_its_retry_is_sent_counts(
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
def test_nor_is_a_retry_sent_that_has_waited_or_was_not_sent_before_the_first_one_rises(
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
def test_a_retry_of_what_broke_before_it_had_an_id_is_heard_of(
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


def test_the_attempt_before_a_retry_that_rises_beside_it_becomes_drift(
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


def test_an_acceptance_of_what_we_denied_is_drift(entry: Order) -> None:
    with factories.without_triggers():
        run(f"UPDATE execution_order SET status = 'DENIED' WHERE id = {entry.pk}")
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert entry.status == "DENIED"
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"


def test_a_refusal_of_what_was_thought_not_sent_ends_it(entry: Order) -> None:
    factories.answer(factories.claimed_call(entry), NotSent(Code.NOT_CONNECTED))
    factories.apply(factories.report(entry, ReportKind.REJECTED, code=Code.NO_MONEY))
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("REJECTED", "NO_MONEY")


def test_a_taken_back_acceptance_ends_a_cancel_that_was_asked_for(
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
def test_a_state_that_the_broker_skipped_is_in_the_log(
    entry: Order, kinds: list[str], lines: list[str]
) -> None:
    told = [
        factories.fill_report(entry, 100, "f1")
        if kind == "FILLED"
        else factories.report(entry, ReportKind(kind))
        for kind in kinds
    ]
    factories.apply(*told)
    assert [status for _, status in factories.log_codes(entry.pk)][2:] == lines


def test_states_that_one_flush_led_through_stand_in_their_order(entry: Order) -> None:
    factories.apply(
        factories.fill_report(entry, 40, "f1"), factories.report(entry, ReportKind.CANCELLED)
    )
    lines = [status for _, status in factories.log_codes(entry.pk)][2:]
    assert lines == ["SUBMITTED", "PARTIALLY_FILLED", "CANCELLED"]


def test_a_state_that_was_told_is_not_implied_again(entry: Order) -> None:
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    factories.apply(factories.fill_report(entry, 100, "f1"))
    assert [status for _, status in factories.log_codes(entry.pk)][2:] == ["SUBMITTED", "FILLED"]
