"""Unsent and rejected orders: how often they are retried, and who is notified."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent, Rejected
from brokers.types import OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import run
from common.reason_codes import RETRIES, Code
from connections.models import ExecutionConnection
from events.models import Notification
from events.routing import route_events
from execution.models import Order, Status
from execution.reports.transitions import MAX_TRIES, RETRYABLE, State, Transition, after_report
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.pauses import Pause, pause_after

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order in flight."""
    factories.signal(feed)
    factories.claim_all()
    return Order.objects.get()


def not_sent(order: Order, code: Code = Code.BROKER_CLOCK) -> Pause:
    """Report it as not sent; return the pause before the retry."""
    order.refresh_from_db()
    answer = NotSent(code, "the broker's words")
    pause = pause_after(lambda: factories.answer(factories.claimed_call(order), answer))
    order.refresh_from_db()
    return pause


def test_unsent_order_is_retried_five_times_with_growing_delays(entry: Order) -> None:
    pauses = []
    for _ in range(MAX_TRIES - 1):
        pauses.append(not_sent(entry))
        assert entry.status == "PENDING"
        factories.pass_time(10)
        assert len(factories.claim_all()) == 1
    for base, pause in zip((0.5, 1, 2, 4), pauses, strict=True):
        assert pause.overlaps(base, 1.5 * base)
    not_sent(entry)
    assert (entry.status, entry.reason) == ("FAILED", "SEND_RETRIES_EXHAUSTED")
    assert factories.claim_all() == []


@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize("code", ["NOT_CONNECTED", "BROKER_UNREACHABLE", "TRADING_DISABLED"])
def test_entry_of_an_unreachable_broker_waits_until_its_signal_is_too_old(
    entry: Order, code: str
) -> None:
    pauses = []
    while entry.status in ("SUBMITTING", "PENDING"):
        pauses.append(not_sent(entry, Code[code]))
        assert (entry.status, entry.reason, entry.send_retries) == ("PENDING", code, 0)
        since = entry.waiting_since
        factories.pass_time(pauses[-1].most + 0.05)
        factories.claim_all()
        entry.refresh_from_db()
        assert entry.waiting_since in (since, None)
    assert pauses[0].overlaps(0.3, 0.9)
    assert pauses[-1].overlaps(3.5, 6)
    assert 8 <= len(pauses) <= 20  # in a minute
    assert (entry.status, entry.reason) == ("DENIED", code)
    assert entry.detail == "The signal became older than 60 s while the order waited."
    assert factories.events("order.failed") == []


def test_order_whose_validity_ends_between_retries_expires(entry: Order) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(seconds=5))
    not_sent(entry)
    assert entry.status == "PENDING"
    factories.pass_time(6)
    assert factories.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("EXPIRED", "SIGNAL_EXPIRED")


def refused(order: Order, code: Code) -> None:
    order.refresh_from_db()
    factories.answer(factories.claimed_call(order), Rejected(code, "the broker's words"))
    order.refresh_from_db()


def test_requoted_order_passes_the_kill_switch_again(
    entry: Order, alice: ExecutionConnection
) -> None:
    refused(entry, Code.REQUOTE)
    assert entry.status == "PENDING"
    make.kill_switch("REDUCING", scope="ALL")
    assert factories.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", "ENTRIES_HALTED")


def test_a_requoted_order_passes_the_limits_again(entry: Order) -> None:
    refused(entry, Code.REQUOTE)
    run("UPDATE connections_tradingpreset SET max_quantity = 50")
    assert factories.claim_all() == []
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", "MAX_QUANTITY")


def test_a_requoted_order_is_not_sent_late(entry: Order) -> None:
    refused(entry, Code.REQUOTE)
    Signal.objects.update(valid_until=market_now())
    assert factories.claim_all() == []
    entry.refresh_from_db()
    assert entry.status == "EXPIRED"


def test_no_other_rejection_is_retried(entry: Order) -> None:
    refused(entry, Code.MARKET_CLOSED)
    assert (entry.status, entry.reason) == ("REJECTED", "MARKET_CLOSED")
    assert factories.claim_all() == []
    fresh = State(
        Status.SUBMITTING, D(100), D(0), attempt=0, send_retries=0, fence=1, is_exit=False
    )
    for code in set(Code) - RETRYABLE:
        step = after_report(fresh, OrderReport(ReportKind.REJECTED, "c", "x0", code=code))
        assert step == Transition(Status.REJECTED, code)


def test_documented_retryable_codes_are_the_retried_ones() -> None:
    assert set(RETRIES) >= RETRYABLE
    assert all(RETRIES.values())


def test_owner_is_notified_of_a_rejection_with_reason_and_link(
    entry: Order, alice: ExecutionConnection
) -> None:
    refused(entry, Code.NO_MONEY)
    assert factories.events("order.rejected") == [
        {"code": "NO_MONEY", "detail": "the broker's words"}
    ]
    route_events(100)
    notification = Notification.objects.get(user_id=alice.owner_id, kind="order.rejected")
    assert notification.title.startswith("Rejected by the broker")
    for text in (Code.NO_MONEY.sentence, "the broker's words", "NO_MONEY"):
        assert text in notification.body


def test_owner_and_operators_are_notified_of_a_failure(
    entry: Order, alice: ExecutionConnection
) -> None:
    operator = make.user(is_staff=True)
    for _ in range(MAX_TRIES):
        not_sent(entry)
        factories.pass_time(10)
        factories.claim_all()
    (payload,) = factories.events("order.failed")
    assert payload["code"] == "SEND_RETRIES_EXHAUSTED"
    route_events(100)
    users = set(Notification.objects.filter(kind="order.failed").values_list("user_id", flat=True))
    assert users == {alice.owner_id, operator.pk}
