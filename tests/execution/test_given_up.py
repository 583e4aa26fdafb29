"""What we had given up, and the broker has: a fact wins, people are told, and it is treated as
what it is. And the states that a broker skips: the log has them."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from brokers.messages import ReportKind
from common.clocks import market_now
from common.codes import Code
from common.errors import ConflictError
from common.permissions import Role
from common.sql import run
from connections.models import ExecutionConnection
from execution.calls import runtime, sweeps
from execution.exits.wishes import grant_wishes
from execution.ids import at_attempt
from execution.models import DriftItem, Order
from execution.services import cancel_order, execute, retry_order
from signals.models import Feed, Signal
from tests.execution import cast
from tests.execution.double import KIND
from tests.roles import staff
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """On its way, nothing told yet."""
    cast.signal(feed)
    cast.live_lease()
    cast.claim_all()
    return Order.objects.get()


@pytest.fixture
def operator(db: None) -> User:
    return staff(Role.OPERATOR)


def never_arrived(entry: Order, wire: runtime.Runtime) -> None:
    for _ in range(2):
        cast.pass_time(61)
        sweeps.take_over("another")
        sweeps.ask_brokers(wire.wire)
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("FAILED", "NEVER_ARRIVED")


def test_an_order_that_never_arrived_and_is_accepted_works_again(
    entry: Order, wire: runtime.Runtime
) -> None:
    never_arrived(entry, wire)
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.done_at) == ("SUBMITTED", "RISEN", None)
    assert cast.log_codes(entry.pk)[-1] == ("RISEN", "SUBMITTED")
    assert cast.events("order.risen") == [{"code": "RISEN"}]
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))  # told again it is no news
    assert len(cast.events("order.risen")) == 1
    cast.tell(cast.fill_report(entry, 100, "f1"))
    entry.refresh_from_db()
    assert entry.status == "FILLED"


def test_one_that_has_risen_beyond_its_validity_is_taken_back(
    entry: Order, wire: runtime.Runtime
) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=1))
    never_arrived(entry, wire)
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    assert sweeps.withdraw_outlived() == 1
    entry.refresh_from_db()
    assert entry.wish == "CANCEL"


@pytest.mark.parametrize("kind", ["CANCELLED", "EXPIRED", "REJECTED"])
def test_the_brokers_word_about_its_end_replaces_our_belief(
    entry: Order, wire: runtime.Runtime, kind: str
) -> None:
    never_arrived(entry, wire)
    cast.tell(cast.report(entry, ReportKind(kind)))
    entry.refresh_from_db()
    assert entry.status == kind


def test_one_withdrawn_as_never_sent_that_is_accepted_is_cancelled_there(entry: Order) -> None:
    cast.answer(cast.in_hand(entry), NotSent(Code.NOT_CONNECTED))
    cancel_order(entry.pk)
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert (entry.status, entry.wish) == ("SUBMITTED", "CANCEL")
    assert cast.events("order.risen") == [{"code": "RISEN"}]


def test_one_withdrawn_and_ended_there_too_does_not_come_back(entry: Order) -> None:
    cast.answer(cast.in_hand(entry), NotSent(Code.NOT_CONNECTED))
    cancel_order(entry.pk)
    cast.tell(cast.report(entry, ReportKind.EXPIRED))
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))  # told late
    entry.refresh_from_db()
    assert (entry.status, entry.wish) == ("CANCELLED", "")


def test_a_cancel_that_the_broker_told_is_not_undone_by_an_older_acceptance(entry: Order) -> None:
    cast.tell(cast.report(entry, ReportKind.CANCELLED))
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert entry.status == "CANCELLED"


def test_a_retry_by_a_person_counts_the_age_of_a_market_entry_from_then_on(
    entry: Order, wire: runtime.Runtime, operator: User
) -> None:
    never_arrived(entry, wire)  # proven after two minutes, twice the age that it may have
    retry_order(entry.pk, by=operator)
    entry.refresh_from_db()
    assert (entry.reason, entry.detail) == (
        "OPERATOR_RETRY", f"by {operator.get_username()}; its age counts from now on",
    )  # fmt: skip
    cast.pass_time(50)
    (again,) = cast.claim_all()
    assert again.request.order_id == entry.pk


def test_a_retry_that_waits_for_longer_than_a_market_entry_may_is_too_old(
    entry: Order, wire: runtime.Runtime
) -> None:
    never_arrived(entry, wire)
    retry_order(entry.pk)
    cast.pass_time(62)
    assert cast.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", "SIGNAL_TOO_OLD")


def test_a_retry_beyond_the_validity_of_its_signal_is_not_sent(
    entry: Order, wire: runtime.Runtime
) -> None:
    never_arrived(entry, wire)
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=90))
    retry_order(entry.pk)
    cast.pass_time(91)
    assert cast.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("EXPIRED", "SIGNAL_EXPIRED")


def test_retry_of_an_entry_whose_signal_has_expired_is_refused(
    entry: Order, wire: runtime.Runtime
) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=90))
    never_arrived(entry, wire)
    with pytest.raises(ConflictError, match="publish a new signal") as refused:
        retry_order(entry.pk)
    assert refused.value.code == "SIGNAL_EXPIRED"
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("FAILED", "NEVER_ARRIVED")


def test_the_attempt_before_a_retry_rises_before_the_retry_is_sent(
    entry: Order, wire: runtime.Runtime
) -> None:
    never_arrived(entry, wire)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    cast.tell(cast.report(entry, ReportKind.ACCEPTED, client_order_id=first))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.attempt) == ("SUBMITTED", "RISEN", 0)
    cast.pass_time(60)
    assert cast.claim_all() == []  # else it would be there twice


@pytest.mark.parametrize("in_one_flush", [True, False])
def test_what_the_broker_says_of_an_attempt_that_fills_before_its_retry_is_sent_counts(
    entry: Order, wire: runtime.Runtime, in_one_flush: bool
) -> None:
    never_arrived(entry, wire)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    fill = cast.fill_report(entry, 40, "f1", client_order_id=first)
    end = cast.report(entry, ReportKind.CANCELLED, client_order_id=first)
    for batch in [(fill, end)] if in_one_flush else [(fill,), (end,)]:
        cast.tell(*batch)
    entry.refresh_from_db()
    assert (entry.status, entry.filled_quantity, entry.attempt) == ("CANCELLED", 40, 0)
    assert not DriftItem.objects.exists()


@pytest.mark.parametrize("meanwhile", ["its host is away", "it was not sent"])
def test_nor_is_a_retry_sent_that_has_waited_or_was_not_sent_before_the_first_one_rises(
    entry: Order, wire: runtime.Runtime, meanwhile: str
) -> None:
    never_arrived(entry, wire)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    if meanwhile == "its host is away":
        wire.hosts_away = frozenset({KIND})
        execute([entry.pk])
    else:
        (again,) = cast.claim_all()
        cast.answer(again, NotSent(Code.NOT_CONNECTED))
    entry.refresh_from_db()
    assert (entry.status, entry.attempt) == ("PENDING", 1)
    cast.tell(cast.report(entry, ReportKind.ACCEPTED, client_order_id=first))
    entry.refresh_from_db()
    assert (entry.status, entry.reason, entry.attempt) == ("SUBMITTED", "RISEN", 0)
    cast.pass_time(60)
    assert cast.claim_all() == []


@pytest.mark.parametrize("kind", ["ACCEPTED", "REJECTED"])
def test_a_retry_of_what_broke_before_it_had_an_id_is_heard_of(
    alice: ExecutionConnection, feed: Feed, kind: str
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    order = Order.objects.get()
    Order.objects.update(status="FAILED", reason="POISONED", done_at=market_now())
    retry_order(order.pk)
    cast.claim_all()
    order.refresh_from_db()
    cast.tell(cast.report(order, ReportKind(kind)))
    order.refresh_from_db()
    assert order.status == {"ACCEPTED": "SUBMITTED", "REJECTED": "REJECTED"}[kind]


def test_the_attempt_before_a_retry_that_rises_beside_it_becomes_drift(
    entry: Order, wire: runtime.Runtime
) -> None:
    never_arrived(entry, wire)
    first = entry.client_order_id or ""
    retry_order(entry.pk)
    (again,) = cast.claim_all()
    assert again.request.client_order_id == at_attempt(first, 1)
    cast.tell(cast.report(entry, ReportKind.ACCEPTED, client_order_id=first))
    drift = DriftItem.objects.get()
    assert (drift.kind, drift.key) == ("RISEN", first)
    entry.refresh_from_db()
    assert entry.status == "SUBMITTING"


def test_an_acceptance_of_what_we_denied_is_drift(entry: Order) -> None:
    run(f"UPDATE execution_order SET status = 'DENIED' WHERE id = {entry.pk}")
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    entry.refresh_from_db()
    assert entry.status == "DENIED"
    assert DriftItem.objects.get().kind == "POISONED_REPORT"


def test_a_refusal_of_what_was_thought_not_sent_ends_it(entry: Order) -> None:
    cast.answer(cast.in_hand(entry), NotSent(Code.NOT_CONNECTED))
    cast.tell(cast.report(entry, ReportKind.REJECTED, code=Code.NO_MONEY))
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("REJECTED", "NO_MONEY")


def test_a_taken_back_acceptance_ends_a_cancel_that_was_asked_for(
    entry: Order, wire: runtime.Runtime
) -> None:
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    cancel_order(entry.pk)
    run("UPDATE execution_order SET status = 'CANCEL_REQUESTED'")
    cast.tell(cast.report(entry, ReportKind.REJECTED))
    entry.refresh_from_db()
    assert entry.status == "REJECTED"
    grant_wishes()
    entry.refresh_from_db()
    assert entry.wish == ""


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
        cast.fill_report(entry, 100, "f1")
        if kind == "FILLED"
        else cast.report(entry, ReportKind(kind))
        for kind in kinds
    ]
    cast.tell(*told)
    assert [status for _, status in cast.log_codes(entry.pk)][2:] == lines


def test_states_that_one_flush_led_through_stand_in_their_order(entry: Order) -> None:
    cast.tell(cast.fill_report(entry, 40, "f1"), cast.report(entry, ReportKind.CANCELLED))
    lines = [status for _, status in cast.log_codes(entry.pk)][2:]
    assert lines == ["SUBMITTED", "PARTIALLY_FILLED", "CANCELLED"]


def test_a_state_that_was_told_is_not_implied_again(entry: Order) -> None:
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    cast.tell(cast.fill_report(entry, 100, "f1"))
    assert [status for _, status in cast.log_codes(entry.pk)][2:] == ["SUBMITTED", "FILLED"]
