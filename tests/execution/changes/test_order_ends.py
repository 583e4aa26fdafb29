"""The end of an entry that has not filled is moved, by a MODIFY signal and for one order."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType
from common.clocks import market_now
from common.errors import ConflictError, InvalidInputError
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.changes.order_changes import change_order
from execution.models import EntryChange, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.change_terms import WantedTerms
from signals.models import Action, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.reading.errors import field_errors
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LIMIT: dict[str, Any] = {"order_type": "LIMIT", "open_price": D("1.095")}


@pytest.fixture(autouse=True)
def account(alice: ExecutionConnection, runtime: TradingRuntime) -> ExecutionConnection:
    return alice


def opened(feed: Feed, until: datetime | None = None, **fields: Any) -> Signal:
    return factories.signal(feed, valid_until=until, **LIMIT | fields)


def send() -> None:
    for outgoing in factories.claim_all():
        factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))


def modify(of: Signal, **fields: Any) -> Signal:
    usual = {"sl": None, "direction": of.direction, "refers_to": of}
    return factories.signal(of.feed, action="MODIFY", **usual | fields)


def order() -> Order:
    return Order.objects.get(leg="entry")


def expired_after(passed: timedelta) -> bool:
    """Return whether the sweep would cancel the order so much later, and cancel it if so."""
    ends = Order.objects.filter(pk=order().pk)
    found = ends.values_list("own_valid_until", "signal__valid_until").get()
    factories.force("UPDATE signals_signal SET valid_until = valid_until - %s", (passed,))
    factories.force(
        "UPDATE execution_order SET own_valid_until = own_valid_until - %s,"
        " expires_at = expires_at - %s", (passed, passed),
    )  # fmt: skip
    assert found != (None, None)
    return sweeps.cancel_expired_working() == 1


# ---- by a signal ---------------------------------------------------------------------------------
def test_working_entry_is_prolonged_and_cancelled_at_its_new_end(feed: Feed) -> None:
    now = market_now()
    signal = opened(feed, now + MINUTE)
    send()
    follower = modify(signal, valid_until=now + HOUR)
    assert (order().own_valid_until, order().status) == (now + HOUR, "SUBMITTED")
    assert factories.log_codes(order().pk)[-1] == ("ORDER_CHANGED", "SUBMITTED")
    change = EntryChange.objects.get()
    assert (change.state, change.requested_name, change.old_valid_until, change.valid_until) == (
        "DONE", follower.number, now + MINUTE, now + HOUR,
    )  # fmt: skip
    assert not expired_after(2 * MINUTE)
    assert expired_after(HOUR)
    assert order().pending_action == "EXPIRE"


def test_working_entry_is_shortened(feed: Feed) -> None:
    now = market_now()
    signal = opened(feed)  # until it is cancelled
    send()
    modify(signal, valid_until=now + MINUTE)
    assert not expired_after(timedelta(seconds=30))
    assert expired_after(MINUTE)


def test_waiting_entry_ends_at_its_new_end(
    feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = broker.capabilities
    only = frozenset({OrderType.MARKET})
    monkeypatch.setattr(broker, "capabilities", lambda spec: replace(usual(spec), order_types=only))
    signal = opened(feed, market_now() + 10 * HOUR, order_type="STOP", stop_price=D("1.2"))
    assert factories.claim_all() == []
    assert order().reason == "AWAITING_TRIGGER"
    end = market_now() + timedelta(seconds=30)
    modify(signal, valid_until=end)
    due_at = order().due_at
    assert due_at is not None
    assert abs(due_at - end) < timedelta(seconds=1)  # then it is looked at
    factories.force("UPDATE execution_order SET due_at = now(),"
                    " own_valid_until = own_valid_until - interval '31 seconds'")  # fmt: skip
    factories.claim_all()
    assert (order().status, order().reason) == ("EXPIRED", "SIGNAL_EXPIRED")


def test_end_moves_while_the_order_is_being_sent(feed: Feed) -> None:
    now = market_now()
    signal = opened(feed, now + MINUTE)
    [outgoing] = factories.claim_all()
    modify(signal, valid_until=now + HOUR)
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    assert not expired_after(2 * MINUTE)
    assert EntryChange.objects.get().state == "DONE"


@pytest.mark.parametrize("action", ["EXPIRE", "CANCEL", "CLOSE", ""])
def test_end_of_an_entry_that_is_being_cancelled_is_refused(feed: Feed, action: str) -> None:
    now = market_now()
    signal = opened(feed, now + MINUTE)
    send()
    status = order().status if action else "CANCEL_REQUESTED"
    Order.objects.update(pending_action=action, status=status)
    follower = modify(signal, valid_until=now + HOUR)
    assert (order().own_valid_until, order().pending_action) == (None, action)
    change = EntryChange.objects.get()
    assert (change.state, change.code, change.signal_id) == (
        "REFUSED", "ORDER_BEING_CANCELLED", follower.pk,
    )  # fmt: skip
    assert (change.old_valid_until, change.valid_until) == (now + MINUTE, now + HOUR)
    assert change.done_at is not None
    assert factories.log_codes(order().pk)[-1] == ("ORDER_BEING_CANCELLED", status)
    modify(signal, valid_until=now + MINUTE)  # what it has already
    modify(signal, close_at=now + timedelta(seconds=30))  # asks for no other end
    assert EntryChange.objects.count() == 1


# ---- expiries that brokers have ------------------------------------------------------------------
@pytest.mark.parametrize("in_flight", [False, True])
def test_order_with_an_expiry_at_its_broker_is_not_prolonged_and_the_others_are(
    feed: Feed, in_flight: bool
) -> None:
    now = market_now()
    second = factories.account(feed)
    signal = opened(feed, now + HOUR, time_in_force="GTD")
    gtd, other = Order.objects.order_by("pk")
    assert other.connection_id == second.pk or gtd.connection_id == second.pk
    Order.objects.filter(pk=other.pk).update(time_in_force="GTC")
    sent = factories.claim_all()
    assert [one.request.expires_at for one in sent] == [now + HOUR, None]
    broker = factories.fake_broker()
    if in_flight:
        modify(signal, valid_until=now + 2 * HOUR)
    for outgoing in sent:
        factories.answer(outgoing, broker.rest(outgoing.request))
    if not in_flight:
        modify(signal, valid_until=now + 2 * HOUR)
    process_pending_actions()
    gtd.refresh_from_db()
    other.refresh_from_db()
    assert (gtd.own_valid_until, other.own_valid_until) == (now + HOUR, now + 2 * HOUR)
    refused, done = gtd.changes.get(), other.changes.get()
    assert (refused.state, refused.code, done.state) == ("REFUSED", "CHANGE_UNSUPPORTED", "DONE")
    assert "Its broker ends it at" in refused.detail
    assert factories.log_codes(gtd.pk)[-1] == ("CHANGE_UNSUPPORTED", "SUBMITTED")
    assert {"change_order", "cancel"}.isdisjoint(name for name, _ in broker.calls)
    with pytest.raises(ConflictError) as refusal:
        change_order(gtd.pk, WantedTerms(valid_until=now + 2 * HOUR))
    assert refusal.value.code == "CHANGE_UNSUPPORTED"


def test_expiry_is_shortened_by_our_own_cancel_at_once(feed: Feed) -> None:
    now = market_now()
    signal = opened(feed, now + HOUR, time_in_force="GTD")
    send()
    modify(signal, valid_until=now + MINUTE)
    assert not expired_after(MINUTE - timedelta(seconds=5))
    assert expired_after(timedelta(seconds=6))  # without the broker's 30 seconds of grace
    assert EntryChange.objects.get().state == "DONE"


def test_shortened_order_may_be_prolonged_up_to_its_brokers_expiry(feed: Feed) -> None:
    now = market_now()
    signal = opened(feed, now + HOUR, time_in_force="GTD")
    send()
    modify(signal, valid_until=now + MINUTE)
    modify(signal, valid_until=now + HOUR)
    process_pending_actions()
    assert [one.state for one in EntryChange.objects.all()] == ["DONE", "DONE"]
    assert not expired_after(HOUR + timedelta(seconds=20))  # the broker ends it itself
    assert expired_after(timedelta(seconds=20))


# ---- closing times -------------------------------------------------------------------------------
def test_entry_never_ends_after_its_position_is_closed(feed: Feed) -> None:
    now = market_now()
    signal = opened(feed, now + HOUR, close_at=now + 2 * HOUR)
    send()
    modify(signal, valid_until=now + 3 * HOUR)  # published after a closing time that was set since
    assert order().own_valid_until == now + 2 * HOUR
    modify(signal, close_at=now + MINUTE)
    assert order().own_valid_until == now + MINUTE


def draft_of(opened: Signal, **fields: Any) -> SignalDraft:
    return SignalDraft(action=Action.MODIFY, refers_to=opened.pk, **fields)


def test_faults_of_a_modify_are_named_all_at_once(feed: Feed) -> None:
    now = market_now()
    signal = opened(feed, close_at=now + HOUR)
    wrong = draft_of(signal, valid_until=now + 2 * HOUR, stop_price=D("1.2"))
    with pytest.raises(InvalidInputError) as refusal:
        save_draft(feed, wrong, origin=Origin.API, by=None)
    assert [one.field for one in field_errors(refusal.value)] == ["stop_price", "valid_until"]
    wrong = draft_of(signal, valid_for=7200)
    with pytest.raises(InvalidInputError) as refusal:
        save_draft(feed, wrong, origin=Origin.API, by=None)
    assert refusal.value.field == "valid_for"
    before = market_now()
    stored, _ = save_draft(feed, draft_of(signal, valid_for=60), origin=Origin.API, by=None)
    assert stored.valid_until is not None
    assert before <= stored.valid_until - MINUTE <= market_now()


# ---- one order -----------------------------------------------------------------------------------
def test_end_of_one_order_is_changed(feed: Feed) -> None:
    now = market_now()
    opened(feed, now + HOUR)
    send()
    done = change_order(order().pk, WantedTerms(valid_until=now + MINUTE))
    assert (done.state, done.raises_risk) == ("DONE", False)
    [event] = factories.events("order.changed")
    assert event["valid_until"] == f"{now + MINUTE:%Y-%m-%d %H:%M:%S}"
    with pytest.raises(ConflictError) as refusal:
        change_order(order().pk, WantedTerms(valid_until=now + MINUTE))
    assert refusal.value.code == "NOTHING_TO_CHANGE"
    assert expired_after(MINUTE + timedelta(seconds=1))


def test_end_of_an_order_that_waits_for_a_time_lies_behind_it(feed: Feed) -> None:
    now = market_now()
    opened(feed, now + 3 * HOUR, not_before=now + HOUR, close_at=now + 2 * HOUR)
    factories.claim_all()
    for end in (now - MINUTE, now + HOUR, now + 2 * HOUR + MINUTE):
        with pytest.raises(InvalidInputError) as refusal:
            change_order(order().pk, WantedTerms(valid_until=end))
        assert refusal.value.field == "valid_until"
    assert change_order(order().pk, WantedTerms(valid_until=now + 2 * HOUR)).state == "DONE"


def test_price_and_end_together_are_two_changes_of_one_order(
    feed: Feed, broker: FakeBroker
) -> None:
    now = market_now()
    opened(feed, now + HOUR)
    send()
    change_order(order().pk, WantedTerms(limit_price=D("1.094"), valid_until=now + MINUTE))
    assert order().own_valid_until == now + MINUTE
    open_change = EntryChange.last_of(order().pk)
    assert open_change is not None
    assert (open_change.state, open_change.valid_until) == ("REQUESTED", None)
    process_pending_actions()
    assert order().limit_price == D("1.094")


def test_audit_counts_by_the_orders_own_end(feed: Feed) -> None:
    signal = opened(feed, market_now() + MINUTE)
    modify(signal, valid_until=market_now() + HOUR)
    send()
    factories.force("UPDATE signals_signal SET valid_until = now() - interval '1 hour'"
                    " WHERE action = 'OPEN'")  # fmt: skip
    assert audit().counters["LATE"] == 0
    factories.force("UPDATE execution_order SET own_valid_until = NULL")
    assert audit().counters["LATE"] == 1


def test_entry_in_slices_ends_earlier_and_never_later_than_its_plan(
    feed: Feed, broker: FakeBroker, account: ExecutionConnection
) -> None:
    factories.force("UPDATE connections_accountsnapshot SET position_mode = 'NETTING'")
    plan: dict[str, Any] = {"execution_style": "TWAP", "duration_seconds": 600, "slice_count": 3}
    signal = factories.signal(feed, **plan)
    factories.fill_all()
    planned = list(Order.objects.entries().order_by("pk").values_list("due_at", flat=True))
    modify(signal, valid_until=market_now() + HOUR)
    assert list(Order.objects.entries().order_by("pk").values_list("due_at", flat=True)) == planned
    end = market_now() + timedelta(seconds=120)
    modify(signal, valid_until=end)
    slices = Order.objects.filter(leg__startswith="entry-")
    assert set(slices.values_list("own_valid_until", flat=True)) == {end}
    factories.force("UPDATE execution_order SET own_valid_until = now(), due_at = now()")
    factories.fill_all()
    assert (
        list(slices.values_list("status", "reason").order_by("pk"))
        == [
            ("EXPIRED", "SIGNAL_EXPIRED"),
        ]
        * 2
    )
