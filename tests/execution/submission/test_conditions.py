"""Entries that wait for a time or for another signal: released once, or ended, per account."""

from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.condition_watch import wake_settled
from execution.preview import preview
from execution.services import cancel_order
from execution.submission.claim import claim
from execution.submission.conditions import ConditionRow, Verdict, verdict_of
from execution.submission.outcomes import Deferred
from positions.models import ExecutionPosition
from signals.models import AfterState, Feed, Signal
from signals.publishing.preview import Outcome
from signals.services import cancel, publish
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
NOON = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
SECOND = timedelta(seconds=1)


# ---- pure ----------------------------------------------------------------------------------------
def condition(**fields: Any) -> ConditionRow:
    usual = {
        "order_id": 1, "not_before": None, "after_signal_id": 7, "after_state": "FILLED",
        "orders": 1, "is_live": False, "is_filled": True, "is_open": True, "close_reason": "",
    }  # fmt: skip
    return ConditionRow(**{**usual, **fields})


CLOSED = {"is_open": False, "close_reason": "owner"}
NOTHING = {"is_filled": False, "is_open": False}


@pytest.mark.parametrize(
    ("state", "fields", "verdict"),
    [
        ("FILLED", {}, "HOLDS"),
        ("FILLED", CLOSED, "HOLDS"),
        ("FILLED", {"is_live": True}, "WAITS"),  # filled in part
        ("FILLED", NOTHING | {"is_live": True}, "WAITS"),
        ("FILLED", NOTHING, "NEVER"),
        ("FILLED", NOTHING | {"orders": 0}, "NEVER"),
        ("CLOSED", {}, "WAITS"),
        ("CLOSED", CLOSED, "HOLDS"),
        ("CLOSED", CLOSED | {"close_reason": "sl"}, "HOLDS"),
        ("CLOSED", CLOSED | {"is_live": True}, "WAITS"),  # the rest may still fill
        ("CLOSED", NOTHING, "NEVER"),
        ("CLOSED_AT_STOP", {}, "WAITS"),
        ("CLOSED_AT_STOP", CLOSED | {"close_reason": "sl"}, "HOLDS"),
        ("CLOSED_AT_STOP", CLOSED | {"close_reason": "tp"}, "NEVER"),
        ("CLOSED_AT_STOP", CLOSED, "NEVER"),
        ("CLOSED_AT_TARGET", CLOSED | {"close_reason": "tp"}, "HOLDS"),
        ("CLOSED_AT_TARGET", CLOSED | {"close_reason": "target_2"}, "HOLDS"),
        ("CLOSED_AT_STOP", CLOSED | {"close_reason": "target_2"}, "NEVER"),
        ("CLOSED_AT_TARGET", CLOSED | {"close_reason": "sl"}, "NEVER"),
        ("NOT_FILLED", NOTHING, "HOLDS"),
        ("NOT_FILLED", NOTHING | {"is_live": True}, "WAITS"),
        ("NOT_FILLED", {"is_live": True}, "NEVER"),  # a part has filled
        ("NOT_FILLED", CLOSED, "NEVER"),
        ("NOT_FILLED", NOTHING | {"orders": 0}, "NEVER"),
    ],
)
def test_state_of_another_signal_is_judged(
    state: str, fields: dict[str, Any], verdict: str
) -> None:
    assert verdict_of(condition(after_state=state, **fields), NOON) == Verdict[verdict]


@pytest.mark.parametrize(
    ("fields", "now", "verdict"),
    [
        ({"after_signal_id": None, "after_state": ""}, NOON - SECOND, "WAITS"),
        ({"after_signal_id": None, "after_state": ""}, NOON, "HOLDS"),
        ({}, NOON - SECOND, "WAITS"),
        ({}, NOON, "HOLDS"),
        (NOTHING, NOON - SECOND, "NEVER"),  # at once, not at its time
        ({"is_live": True}, NOON + SECOND, "WAITS"),
    ],
)
def test_time_and_signal_must_both_hold(
    fields: dict[str, Any], now: datetime, verdict: str
) -> None:
    assert verdict_of(condition(not_before=NOON, **fields), now) == Verdict[verdict]


# ---- a time --------------------------------------------------------------------------------------
def held(feed: Feed, **fields: Any) -> Order:
    """Publish an entry whose condition does not hold, and let it wait."""
    signal = factories.signal(feed, **fields)
    assert factories.claim_all() == []
    order = Order.objects.get(signal=signal)
    assert (order.status, order.reason) == ("PENDING", "AWAITING_CONDITION")
    return order


def state_of(order: Order) -> tuple[str, str]:
    order.refresh_from_db()
    return order.status, order.reason


def is_due_at(order: Order, at: datetime) -> bool:
    assert order.due_at is not None
    return abs(order.due_at - at) < SECOND


@pytest.mark.parametrize(
    ("fields", "order_type"),
    [
        ({}, "MARKET"),
        ({"order_type": "LIMIT", "open_price": D("1.095")}, "LIMIT"),
        ({"order_type": "STOP", "stop_price": D("1.105")}, "STOP"),
    ],
)
def test_entry_is_sent_from_its_time_on(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], order_type: str
) -> None:
    at = market_now() + timedelta(seconds=30)
    order = held(feed, not_before=at, **fields)
    assert order.detail == f"not before {at:%Y-%m-%d %H:%M:%S} UTC"
    assert order.waiting_since is not None
    assert is_due_at(order, at)
    assert order.client_order_id is None
    reach(order)
    [outgoing] = factories.claim_all()
    assert outgoing.request.order_type == order_type
    codes = [code for code, _ in factories.log_codes(order.pk)]
    assert codes == ["CREATED", "AWAITING_CONDITION", "CONDITION_MET", "INTENT"]
    order.refresh_from_db()
    assert not order.awaits_condition


def reach(order: Order, late: float = 0) -> None:
    """Let the time come that an order waits for, and so many seconds pass."""
    Signal.objects.filter(pk=order.signal_id or 0).update(
        not_before=market_now() - timedelta(seconds=late)
    )
    Order.objects.filter(pk=order.pk).update(due_at=market_now() - SECOND)


def test_published_long_before_its_age_counts_from_its_time(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = held(feed, not_before=market_now() + timedelta(hours=2))
    factories.pass_time(7200)
    factories.quote(alice)
    reach(order, late=59)
    assert len(factories.claim_all()) == 1


def test_market_entry_found_late_is_not_sent(alice: ExecutionConnection, feed: Feed) -> None:
    """No process ran at its time: the entry is too old when one does."""
    order = held(feed, not_before=market_now() + timedelta(seconds=30))
    reach(order, late=62)
    assert factories.claim_all() == []
    assert state_of(order) == ("DENIED", "SIGNAL_TOO_OLD")


def test_time_that_has_passed_holds_at_once(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed, not_before=market_now() - SECOND)
    assert len(factories.claim_all()) == 1


def test_entry_ends_at_valid_until_whatever_it_waits_for(
    alice: ExecutionConnection, feed: Feed
) -> None:
    now = market_now()
    order = held(feed, not_before=now + timedelta(hours=1), valid_until=now + timedelta(hours=2))
    Signal.objects.filter(pk=order.signal_id or 0).update(valid_until=now - SECOND)
    Order.objects.update(due_at=now - SECOND)
    assert factories.claim_all() == []
    assert state_of(order) == ("EXPIRED", "SIGNAL_EXPIRED")


def test_order_is_looked_at_when_it_expires(alice: ExecutionConnection, feed: Feed) -> None:
    first = factories.signal(feed)
    assert len(factories.claim_all()) == 1
    end = market_now() + 20 * SECOND
    order = held(feed, after_signal=first, after_state="CLOSED", valid_until=end)
    assert is_due_at(order, end)


@pytest.mark.parametrize("how", ["cancel order", "cancel signal", "close"])
def test_waiting_entry_ends_as_others_do(alice: ExecutionConnection, feed: Feed, how: str) -> None:
    order = held(feed, not_before=market_now() + timedelta(hours=1))
    assert order.signal is not None
    if how == "cancel order":
        cancel_order(order.pk)
    elif how == "cancel signal":
        cancel(order.signal.pk, by=None)
    else:
        factories.close_signal(order.signal)
    expected = {
        "cancel order": "OWNER_CANCELLED", "cancel signal": "SIGNAL_CANCELLED",
        "close": "CLOSED_BEFORE_SENT",
    }  # fmt: skip
    assert state_of(order) == ("CANCELLED", expected[how])
    reach(order)
    assert factories.claim_all() == []


def test_limits_are_checked_when_the_condition_holds(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = held(feed, not_before=market_now() + timedelta(hours=1))
    alice.is_paused = True
    alice.save(update_fields=["is_paused"])
    Order.objects.update(due_at=market_now() - SECOND)
    assert factories.claim_all() == []
    assert state_of(order) == ("PENDING", "AWAITING_CONDITION")  # a pause does not end it
    reach(order)
    assert factories.claim_all() == []
    assert state_of(order) == ("DENIED", "CONNECTION_PAUSED")


def test_sent_entry_keeps_its_condition_fulfilled(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """It is released once: what it waited for is not judged again, in whatever way it waits on."""
    first = factories.signal(feed)
    position = factories.filled(first)
    order = Order.objects.get(signal=factories.signal(feed, after_signal=first,
                                                      after_state="FILLED"))  # fmt: skip

    down = {str(alice.pk): Deferred(Code.BROKER_HOST_DOWN)}
    assert (
        claim([order.pk], worker_id=factories.OWNER, deferral_policy=lambda _: down).outgoing == []
    )
    assert state_of(order) == ("PENDING", "BROKER_HOST_DOWN")
    ExecutionPosition.objects.filter(pk=position.pk).update(quantity=0, closed_at=market_now())
    Order.objects.filter(pk=order.pk, status="PENDING").update(due_at=market_now() - SECOND)
    factories.claim_all()
    assert state_of(order)[0] == "SUBMITTING"
    codes = [code for code, _ in factories.log_codes(order.pk)]
    assert codes.count("CONDITION_MET") == 1


# ---- another signal ------------------------------------------------------------------------------
def end_first(first: Signal, how: str) -> None:
    """Let the first signal's order become something on the account."""
    order = Order.objects.get(signal=first)
    if how == "cancelled":
        Order.objects.filter(pk=order.pk).update(
            status="CANCELLED", reason="OWNER_CANCELLED", done_at=market_now()
        )
        return
    report = factories.fill_report(order, order.quantity or 0, f"f{order.pk}")
    factories.apply(report)
    if how == "filled":
        return
    closed = {"quantity": 0, "close_reason": how, "closed_at": market_now()}
    ExecutionPosition.objects.filter(signal=first).update(**closed)


@pytest.mark.parametrize(
    ("state", "how", "expected"),
    [
        ("FILLED", "filled", "SUBMITTING"),
        ("FILLED", "cancelled", "CONDITION_FAILED"),
        ("CLOSED", "filled", "AWAITING_CONDITION"),
        ("CLOSED", "owner", "SUBMITTING"),
        ("CLOSED", "time_exit", "SUBMITTING"),
        ("CLOSED", "cancelled", "CONDITION_FAILED"),
        ("CLOSED_AT_STOP", "sl", "SUBMITTING"),
        ("CLOSED_AT_STOP", "tp", "CONDITION_FAILED"),
        ("CLOSED_AT_STOP", "time_exit", "CONDITION_FAILED"),
        ("CLOSED_AT_TARGET", "tp", "SUBMITTING"),
        ("CLOSED_AT_TARGET", "owner", "CONDITION_FAILED"),
        ("NOT_FILLED", "cancelled", "SUBMITTING"),
        ("NOT_FILLED", "filled", "CONDITION_FAILED"),
    ],
)
def test_entry_follows_what_became_of_another_signal(
    alice: ExecutionConnection, feed: Feed, state: str, how: str, expected: str
) -> None:
    first = factories.signal(feed)
    assert len(factories.claim_all()) == 1
    order = held(feed, after_signal=first, after_state=state)
    assert order.detail == f"after {first.number}: {AfterState(state).label.lower()}"
    assert wake_settled() == []
    end_first(first, how)
    woken = wake_settled()
    assert woken == ([] if expected == "AWAITING_CONDITION" else [order.pk])
    sent = [outgoing.request.order_id for outgoing in factories.claim_all()]
    status, reason = state_of(order)
    if expected == "SUBMITTING":
        assert (sent, status) == ([order.pk], "SUBMITTING")
    else:
        assert sent == []
        ended = expected == "CONDITION_FAILED"
        assert (status, reason) == ("CANCELLED" if ended else "PENDING", expected)
        assert ended == (order.done_at is not None)
    assert wake_settled() == []


def test_account_without_the_other_signal_ends_at_once(
    alice: ExecutionConnection, feed: Feed
) -> None:
    first = factories.signal(feed)
    later = factories.account(feed)  # subscribes after it
    second = factories.signal(feed, after_signal=first, after_state="NOT_FILLED")
    factories.claim_all()
    ended = Order.objects.get(signal=second, connection=later)
    assert (ended.status, ended.reason) == ("CANCELLED", "CONDITION_FAILED")
    assert ended.detail.endswith("this account has no order of it")
    waits = Order.objects.get(signal=second, connection=alice)
    assert (waits.status, waits.reason) == ("PENDING", "AWAITING_CONDITION")


def test_account_that_was_skipped_ends_at_once(alice: ExecutionConnection, feed: Feed) -> None:
    alice.is_paused = True
    alice.save(update_fields=["is_paused"])
    first = factories.signal(feed)
    alice.is_paused = False
    alice.save(update_fields=["is_paused"])
    second = factories.signal(feed, after_signal=first, after_state="NOT_FILLED")
    factories.claim_all()
    assert state_of(Order.objects.get(signal=second)) == ("CANCELLED", "CONDITION_FAILED")


def test_each_account_is_judged_on_its_own(alice: ExecutionConnection, feed: Feed) -> None:
    bob = factories.account(feed)
    first = factories.signal(feed)
    assert len(factories.claim_all()) == 2
    second = factories.signal(feed, after_signal=first, after_state="FILLED")
    assert factories.claim_all() == []
    of_bob = Order.objects.get(signal=first, connection=bob)
    factories.apply(factories.fill_report(of_bob, of_bob.quantity or 0, "bob"))
    waiting = Order.objects.get(signal=second, connection=bob)
    assert wake_settled() == [waiting.pk]
    assert [one.request.order_id for one in factories.claim_all()] == [waiting.pk]


def test_signal_and_time_are_both_waited_for(alice: ExecutionConnection, feed: Feed) -> None:
    first = factories.signal(feed)
    factories.filled(first)
    at = market_now() + timedelta(seconds=30)
    order = held(feed, after_signal=first, after_state="FILLED", not_before=at)
    assert wake_settled() == []  # it is due at its time
    assert is_due_at(order, at)
    reach(order)
    assert len(factories.claim_all()) == 1


def test_age_counts_from_when_the_other_signal_was_done(
    alice: ExecutionConnection, feed: Feed
) -> None:
    first = factories.signal(feed)
    factories.claim_all()
    held(feed, after_signal=first, after_state="FILLED")
    factories.pass_time(7200)
    factories.quote(alice)
    end_first(first, "filled")
    assert len(factories.claim_all()) == 1


def test_unpublished_signal_is_not_waited_for(alice: ExecutionConnection, feed: Feed) -> None:
    fields = {"feed": feed, "currency_pair": "EUR/USD", "direction": "BUY", "approval": "APPROVED"}
    first = Signal.objects.create(**fields)
    second = Signal.objects.create(**fields, after_signal=first, after_state="CLOSED")
    with pytest.raises(ConflictError) as refused:
        publish(second.pk, by=None)
    assert refused.value.code == "SIGNAL_NOT_PUBLISHED"


def test_entry_in_slices_begins_when_its_condition_holds(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, snapshot_position_mode="NETTING")
    order = held(
        feed, not_before=market_now() + timedelta(hours=1), execution_style="TWAP",
        duration_seconds=600, slice_count=2,
    )  # fmt: skip
    assert not Order.objects.filter(leg="entry-2").exists()
    reach(order)
    assert len(factories.claim_all()) == 1
    assert Order.objects.filter(signal=order.signal_id).count() == 2


def test_preview_counts_entries_with_a_condition_as_waiting(
    alice: ExecutionConnection, feed: Feed
) -> None:
    signal = Signal(
        feed=feed, currency_pair="EUR/USD", direction="BUY", sl=D("1.09"),
        not_before=market_now() + timedelta(hours=1),
    )  # fmt: skip
    expected = preview(signal)
    assert (expected.sent, expected.count(Outcome.WAITING)) == (0, 1)
    assert expected.able_candidates == 1
    signal.sl = D("1.2")  # what would be denied then is known now
    assert preview(signal).able_candidates == 0
