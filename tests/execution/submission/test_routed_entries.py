"""Routed entries: one account of a route executes, the next one only if that proves not to have."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from analytics.orders.rounding_debt import rounding_debts
from analytics.what_if.route_preview import preview_route
from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import AccountState, OrderReport, PositionMode
from common.clocks import market_now
from common.db.sql import run
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections import services as accounts
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    Instrument,
    Subscription,
    TradingPause,
)
from connections.models import ExecutionConnection as Account
from connections.services import RouteAccount
from execution import services
from execution.audit.counters import audit
from execution.changes.signal_changes import begin_waiting_changes
from execution.models import ArchivedOrder, EntryChange, ExecutionLog, Order
from execution.monitoring.condition_watch import wake_settled
from execution.monitoring.loss_limits import apply_loss_limits
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.claim import claim
from execution.submission.outgoing import Outgoing
from execution.submission.route_writes import route_failed
from positions.models import StopRule
from signals.models import Feed, Origin, Signal
from signals.publishing.closing import TradeSelection, close_trades
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.loss_limits import limit_of

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def first(feed: Feed, broker: FakeBroker) -> Account:
    return factories.account(feed)


@pytest.fixture
def second(first: Account) -> Account:
    """Another account of the same owner, with a price of its own: one pip better."""
    return factories.account(owner=first.user)


@pytest.fixture
def routed(first: Account, second: Account) -> Subscription:
    """The route by health: the entry stays on the first account as long as that works."""
    return route(first, second)


def route(first: Account, *others: Account, policy: str = "HEALTH") -> Subscription:
    subscription = first.subscriptions.get()
    named = [RouteAccount(row.pk) for row in (first, *others)]
    assert accounts.set_route(subscription.pk, by=first.user, policy=policy, accounts=named)
    return subscription


def states() -> list[tuple[Any, str, str, str]]:
    """Return account, status, reason and route state of each entry, in the order of ids."""
    found = Order.objects.entries().order_by("id")
    return list(found.values_list("connection_id", "status", "reason", "route_state"))


def claimed() -> list[Outgoing]:
    """Claim what is due, and what that moved."""
    first = claim(factories.pending(), worker_id=factories.OWNER)
    return first.outgoing + claim(first.moved, worker_id=factories.OWNER).outgoing


def accounts_of(sent: list[Outgoing]) -> list[str]:
    return [outgoing.request.connection_id for outgoing in sent]


def moved_on() -> list[int]:
    with transaction.atomic():
        return route_failed()


def fail(of: Order, code: Code) -> None:
    factories.force(
        "UPDATE execution_order SET status = 'FAILED', reason = %s, done_at = now() WHERE id = %s",
        (code.value, of.pk),
    )


def publish(feed: Feed | None = None, **fields: Any) -> Signal:
    """Publish in a feed; None: in the only one."""
    return factories.signal(feed or Feed.objects.get(), origin=Origin.API, **fields)


def publish_and_fail(**fields: Any) -> Signal:
    """Publish; the entry is claimed, and proven not to have reached its account."""
    signal = publish(**fields)
    claimed()
    fail(Order.objects.get(signal=signal, leg="entry"), Code.NEVER_ARRIVED)
    return signal


def not_reached(sent: Outgoing) -> None:
    """The broker was not reached, and the time until the next attempt has passed."""
    factories.answer(sent, NotSent(Code.NOT_CONNECTED))
    factories.force(
        "UPDATE execution_order SET due_at = now() - interval '1 second' WHERE status = 'PENDING'"
    )


# ---- the first choice --------------------------------------------------------------------------
def test_entry_stays_on_the_subscribing_account(
    routed: Subscription, first: Account, second: Account
) -> None:
    publish()
    assert states() == [(first.pk, "PENDING", "", "OPEN")]
    assert accounts_of(claimed()) == [str(first.pk)]
    assert states() == [(first.pk, "SUBMITTING", "", "HERE")]
    line = ExecutionLog.objects.get(code="ROUTED")
    assert line.detail == "HEALTH: 0 failures in a row"
    assert [one["connection"] for one in line.numbers["accounts"]] == [
        str(first.pk), str(second.pk),
    ]  # fmt: skip


def test_entry_moves_to_the_best_price_before_it_is_sent(first: Account, second: Account) -> None:
    route(first, second, policy="PRICE")
    factories.quote(first, "1.1", "1.1003")
    factories.quote(second, "1.1", "1.1002")
    signal = publish()
    assert accounts_of(claimed()) == [str(second.pk)]
    assert states() == [
        (first.pk, "CANCELLED", "ROUTED", "MOVED"), (second.pk, "SUBMITTING", "", "HERE"),
    ]  # fmt: skip
    lines = ExecutionLog.objects.filter(code="ROUTED").order_by("order_id")
    assert [line.connection_id for line in lines] == [first.pk, second.pk]
    assert lines[0].numbers == lines[1].numbers
    assert lines[0].numbers["chosen"] == str(second.pk)
    old, new = Order.objects.filter(signal=signal).order_by("id")
    assert new.routed_from_id == old.routed_from_id == first.pk
    assert (new.priority, new.side, new.order_type) == (5, "BUY", "MARKET")


def test_subscriptions_multiplier_applies_on_every_account(first: Account, second: Account) -> None:
    subscription = route(first, second, policy="PRICE")
    Subscription.objects.filter(pk=subscription.pk).update(multiplier=D(3))
    factories.quote(second, "1.1", "1.1001")
    factories.quote(first, "1.1", "1.1003")
    publish()
    [sent] = claimed()
    assert (sent.request.connection_id, sent.request.quantity) == (str(second.pk), D(300))


def test_account_that_does_not_answer_is_passed_over_at_once(
    routed: Subscription, first: Account, second: Account
) -> None:
    ConnectionHealth.objects.filter(connection=first).update(
        circuit_open_until=market_now() + timedelta(hours=1)
    )
    publish()
    assert states() == [(first.pk, "PENDING", "", "OPEN")]
    assert accounts_of(claimed()) == [str(second.pk)]


def test_entry_waits_here_if_no_account_may_trade_and_moves_when_one_may(
    routed: Subscription, first: Account, second: Account
) -> None:
    until = market_now() + timedelta(hours=1)
    ConnectionHealth.objects.update(circuit_open_until=until)
    publish()
    assert claimed() == []
    assert states() == [(first.pk, "PENDING", "CIRCUIT_OPEN", "HERE")]
    ConnectionHealth.objects.filter(connection=second).update(circuit_open_until=None)
    factories.force("UPDATE execution_order SET due_at = now() - interval '1 second'")
    assert accounts_of(claimed()) == [str(second.pk)]


def test_paused_subscriber_skips_the_signal(routed: Subscription, first: Account) -> None:
    Account.objects.filter(pk=first.pk).update(is_paused=True)
    publish()
    assert states() == [(first.pk, "SKIPPED", "CONNECTION_PAUSED", "OPEN")]


def test_shares_divide_the_signals(first: Account, second: Account) -> None:
    route(first, second, policy="SHARE")
    for _ in range(20):
        publish()
    taken = accounts_of(claimed())
    assert {taken.count(str(first.pk)), taken.count(str(second.pk))} <= {8, 9, 10, 11, 12}
    assert len(taken) == 20


# ---- fallback ----------------------------------------------------------------------------------
def test_next_account_follows_when_the_broker_was_not_reached(
    routed: Subscription, first: Account, second: Account
) -> None:
    publish()
    [sent] = claimed()
    factories.answer(sent, NotSent(Code.NOT_CONNECTED))
    assert states() == [(first.pk, "PENDING", "NOT_CONNECTED", "HERE")]
    factories.force("UPDATE execution_order SET due_at = now() - interval '1 second'")
    assert accounts_of(claimed()) == [str(second.pk)]
    assert [state[1:] for state in states()] == [
        ("CANCELLED", "ROUTED", "MOVED"), ("SUBMITTING", "", "HERE"),
    ]  # fmt: skip
    [_, new] = Order.objects.order_by("id")
    # The last one: it stays and is tried again.
    not_reached(factories.claimed_call(new))
    assert accounts_of(claimed()) == [str(second.pk)]


@pytest.mark.parametrize(
    "code", [Code.NEVER_ARRIVED, Code.CREDENTIALS_REFUSED, Code.SEND_RETRIES_EXHAUSTED]
)
def test_next_account_follows_a_failure_that_is_proven(
    routed: Subscription, first: Account, second: Account, code: Code
) -> None:
    publish()
    claimed()
    fail(Order.objects.get(), code)
    [new] = moved_on()
    assert moved_on() == []
    assert states() == [
        (first.pk, "FAILED", code.value, "MOVED"), (second.pk, "PENDING", "", "HERE"),
    ]  # fmt: skip
    assert accounts_of(claim([new], worker_id=factories.OWNER).outgoing) == [str(second.pk)]


def test_moved_entry_closes_nothing_of_another_signal(
    routed: Subscription, second: Account
) -> None:
    """The account that it moves to nets, and has an opposite order of another signal."""
    AccountSnapshot.objects.filter(connection=second).update(position_mode="NETTING")
    publish_and_fail()
    sell = publish(direction="SELL", sl="1.11000")
    with factories.without_triggers():
        Order.objects.filter(signal=sell).update(connection=second, route_state="LAST")
    claimed()
    assert Order.objects.get(signal=sell).status == "SUBMITTING"
    [new] = moved_on()
    assert claim([new], worker_id=factories.OWNER).outgoing == []
    assert Order.objects.get(pk=new).reason == Code.NETTING_OPPOSITE


def test_close_of_a_part_moves_with_its_entry(
    routed: Subscription, second: Account, runtime: TradingRuntime
) -> None:
    """Published while the entry has failed and may still move."""
    opened = publish_and_fail()
    half = factories.close_signal(opened, "0.5")
    assert Signal.objects.get(pk=half.pk).candidate_count == 1
    moved_on()
    factories.fill_all()
    factories.pass_time(2)
    [exit_id] = process_pending_actions()
    exit_ = Order.objects.get(pk=exit_id)
    assert (exit_.connection_id, exit_.quantity) == (second.pk, 50)
    assert process_pending_actions() == []


def test_owner_is_notified_of_a_failure_if_no_account_follows(
    routed: Subscription, first: Account, second: Account
) -> None:
    publish()
    for connection in (first, second):
        for outgoing in claimed() or claim(factories.pending(), worker_id=factories.OWNER).outgoing:
            factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
        never_arrived(Order.objects.get(connection=connection))
        assert factories.events("order.failed") == []
        moved_on()
    [event] = factories.events("order.failed")
    assert event["code"] == "NEVER_ARRIVED"
    assert moved_on() == []
    assert [state[3] for state in states()] == ["MOVED", "LAST"]


def never_arrived(order: Order) -> None:
    """Confirm twice that the broker does not have it."""
    for confirmations in range(2):
        order.refresh_from_db()
        run(
            sweeps.CONFIRM_ABSENCE,
            {
                "ids": [order.pk],
                "fences": [order.fence],
                "absence_confirmations": [confirmations],
                "sure": [False],
                "gap": 0,
            },
        )
    order.refresh_from_db()
    assert order.status == "FAILED"


def test_own_stop_rule_and_rounding_debt_apply_on_every_account(
    first: Account, second: Account
) -> None:
    Subscription.objects.update(
        break_even_profit=D(5), stop_rule_unit="PIPS", multiplier=D("1.00005")
    )
    route(first, second, policy="PRICE")
    factories.quote(first, "1.1", "1.1003")
    factories.quote(second, "1.1", "1.1002")
    publish()
    [sent] = claimed()
    factories.answer(sent, factories.fake_broker().fill_at_once(sent.request))
    order = Order.objects.get(route_state="HERE")
    assert order.connection == second
    rule = StopRule.objects.get(position__connection=second)
    assert (rule.break_even_origin, rule.break_even_profit) == ("SUBSCRIPTION", D(5))
    [debts] = rounding_debts(first.pk).values()
    assert [debt.entries for debt in debts] == [1]
    assert rounding_debts(second.pk) == {}


def test_unknown_order_blocks_the_subscription(routed: Subscription) -> None:
    publish()
    [sent] = claimed()
    factories.answer(sent, OutcomeUnknown(Code.REPLY_LOST))
    assert moved_on() == []
    assert claimed() == []
    assert [state[1] for state in states()] == ["UNKNOWN"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [(Rejected(Code.NO_MONEY), "REJECTED")],
)
def test_answers_of_the_broker_end_the_entry(
    routed: Subscription, answer: Exception, status: str
) -> None:
    publish()
    [sent] = claimed()
    factories.answer(sent, answer)
    assert moved_on() == []
    assert [state[1:] for state in states()] == [(status, "NO_MONEY", "HERE")]


def test_other_failures_are_not_followed(routed: Subscription, first: Account) -> None:
    publish()
    fail(Order.objects.get(), Code.INTERNAL_ERROR)
    factories.force("UPDATE execution_order SET route_state = 'HERE'")
    assert moved_on() == []
    assert states() == [(first.pk, "FAILED", "INTERNAL_ERROR", "LAST")]


def test_expired_and_restored_entries_are_not_followed(routed: Subscription) -> None:
    expired = publish(valid_until=market_now() + timedelta(hours=1))
    restored = publish()
    claimed()
    for order in Order.objects.all():
        fail(order, Code.NEVER_ARRIVED)
    Signal.objects.filter(pk=expired.pk).update(valid_until=market_now() - timedelta(seconds=1))
    ExecutionLog.objects.create(order_id=Order.objects.get(signal=restored).pk, code="RESTORED")
    assert moved_on() == []
    assert [state[3] for state in states()] == ["LAST", "LAST"]


def test_each_account_is_tried_once(routed: Subscription) -> None:
    publish_and_fail()
    [new] = moved_on()
    fail(Order.objects.get(pk=new), Code.NEVER_ARRIVED)
    assert moved_on() == []
    assert [state[3] for state in states()] == ["MOVED", "LAST"]


# ---- exactly once ------------------------------------------------------------------------------
def test_database_allows_one_row_at_a_time(
    routed: Subscription, first: Account, second: Account
) -> None:
    signal = publish()
    with pytest.raises(IntegrityError, match="one_routed_entry"), transaction.atomic():
        Order.objects.create(
            signal=signal, connection=second, leg="entry", pair="EUR/USD", side="BUY",
            order_type="MARKET", time_in_force="GTC", routed_from=first, route_state="HERE",
        )  # fmt: skip


@pytest.mark.parametrize("status", ["PENDING", "SUBMITTING", "UNKNOWN"])
def test_database_refuses_to_leave_an_order_that_may_be_live(
    routed: Subscription, status: str
) -> None:
    publish()
    claimed()
    factories.force("UPDATE execution_order SET status = %s", (status,))
    with pytest.raises(IntegrityError, match="moved_is_unsent"), transaction.atomic():
        Order.objects.update(route_state="MOVED")


def test_moved_order_cannot_be_retried(routed: Subscription) -> None:
    publish_and_fail()
    old = Order.objects.get()
    moved_on()
    with pytest.raises(ConflictError):
        services.retry_order(old.pk)


def test_retry_by_hand_and_fallback_exclude_each_other(
    routed: Subscription, first: Account
) -> None:
    publish_and_fail()
    old = Order.objects.get()
    services.retry_order(old.pk)
    assert moved_on() == []
    assert states() == [(first.pk, "PENDING", "OPERATOR_RETRY", "HERE")]


def test_cancelled_signal_is_not_sent_by_the_new_order(routed: Subscription) -> None:
    signal = publish_and_fail()
    [new] = moved_on()
    Signal.objects.filter(pk=signal.pk).update(cancelled_at=market_now())
    assert claim([new], worker_id=factories.OWNER).outgoing == []
    assert states()[1][1:3] == ("CANCELLED", "SIGNAL_CANCELLED")


def test_cancelled_signal_is_sent_to_no_other_account(routed: Subscription, first: Account) -> None:
    """It was cancelled while the first account had it, and only then it proved not to."""
    signal = publish()
    claimed()
    Signal.objects.filter(pk=signal.pk).update(cancelled_at=market_now())
    fail(Order.objects.get(), Code.NEVER_ARRIVED)
    assert moved_on() == []
    assert states() == [(first.pk, "FAILED", "NEVER_ARRIVED", "LAST")]


def test_plan_of_slices_stays_on_the_account_that_began_it(
    routed: Subscription, first: Account
) -> None:
    """Its first slice never arrived, and the others would be sent by both accounts."""
    publish_and_fail(execution_style="TWAP", duration_seconds=60, slice_count=3)
    assert moved_on() == []
    assert states() == [
        (first.pk, "FAILED", "NEVER_ARRIVED", "LAST"),
        (first.pk, "PENDING", "SLICE_SCHEDULED", "LAST"),
        (first.pk, "PENDING", "SLICE_SCHEDULED", "LAST"),
    ]


def test_move_is_undone_with_its_transaction(routed: Subscription) -> None:
    publish_and_fail()

    def killed() -> None:
        with transaction.atomic():
            assert len(route_failed()) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert [state[1:] for state in states()] == [("FAILED", "NEVER_ARRIVED", "HERE")]
    assert len(moved_on()) == 1


def test_late_fill_of_a_moved_order_is_stored(routed: Subscription) -> None:
    publish_and_fail()
    old = Order.objects.get()
    moved_on()
    report: OrderReport = factories.fill_report(old, 100, "late")
    factories.apply(report)
    old.refresh_from_db()
    assert (old.status, old.route_state, old.filled_quantity) == ("FILLED", "MOVED", 100)


def test_audit_counts_routed_entries_as_those_of_their_subscription(routed: Subscription) -> None:
    publish_and_fail()
    moved_on()
    report = audit()
    assert report.counters["EXTRA"] == 0
    assert report.counters["MISSING"] == 0


# ---- what is refused ---------------------------------------------------------------------------
def test_faults_of_a_route_are_refused_all_at_once(first: Account, second: Account) -> None:
    bobs = factories.account()
    named = [RouteAccount(second.pk, 2000), RouteAccount(second.pk), RouteAccount(bobs.pk)]
    with pytest.raises(InvalidInputError) as refused:
        accounts.set_route(
            first.subscriptions.get().pk, by=first.user, policy="PRICE", accounts=named
        )
    assert [fault.detail for fault in (refused.value, *refused.value.others)] == [
        "An account is named twice.",
        "The subscribing account must be one of them.",
        "A share is 0 to 1000.",
        f"{bobs.pk}: It does not exist, or you may not use it.",
    ]


def test_routed_account_takes_the_feed_in_one_way_only(
    first: Account, second: Account, feed: Feed
) -> None:
    subscription = route(first, second)
    with pytest.raises(ConflictError, match="in the route of"):
        accounts.subscribe(connection_id=second.pk, feed_id=feed.pk, by=second.user)
    accounts.unsubscribe(subscription.pk, by=first.user)
    taken = accounts.subscribe(connection_id=second.pk, feed_id=feed.pk, by=second.user)
    again = accounts.subscribe(connection_id=first.pk, feed_id=feed.pk, by=first.user)
    assert (taken.route_policy, again.route_policy, again.routes.count()) == ("", "", 0)
    with pytest.raises(InvalidInputError, match="takes this feed itself"):
        route(first, second)


def test_price_is_rounded_to_the_ticks_of_the_account_that_gets_it(
    routed: Subscription, first: Account, second: Account
) -> None:
    factories.instrument(book="fine", tick=D("0.0001"))
    Instrument.objects.filter(book=first.instrument_book).update(tick=D("0.01"))
    Account.objects.filter(pk=second.pk).update(instrument_book="fine")
    publish(order_type="LIMIT", open_price=D("1.08765"), sl=D("1.05"))
    [sent] = claimed()
    assert sent.request.limit_price == D("1.08")  # a buy is rounded down
    not_reached(sent)
    [moved] = claimed()
    assert (moved.request.connection_id, moved.request.limit_price) == (
        str(second.pk), D("1.0876"),
    )  # fmt: skip


def modify(of: Signal, price: str) -> None:
    factories.signal(
        of.feed, action="MODIFY", refers_to=of, direction=of.direction, open_price=D(price), sl=None
    )


@pytest.mark.parametrize("fails", ["NOT_CONNECTED", "NEVER_ARRIVED", "NEVER_ARRIVED before"])
def test_price_that_a_signal_changes_while_the_entry_is_sent_moves_with_it(
    routed: Subscription, second: Account, fails: str
) -> None:
    """The change waits for the outcome, and the entry ends there; or it has ended just before."""
    signal = publish(order_type="LIMIT", open_price=D("1.095"))
    [sent] = claimed()
    if fails == "NEVER_ARRIVED before":
        fail(Order.objects.get(), Code.NEVER_ARRIVED)
    modify(signal, "1.094")
    assert EntryChange.objects.get().state == "WAITING"
    if fails == "NOT_CONNECTED":
        not_reached(sent)
    elif fails == "NEVER_ARRIVED":
        fail(Order.objects.get(), Code.NEVER_ARRIVED)
    if fails != "NOT_CONNECTED":
        begin_waiting_changes()  # too early to refuse it: another account may follow
        assert EntryChange.objects.get().state == "WAITING"
        assert len(moved_on()) == 1
    [outgoing] = claimed()
    assert outgoing.request.connection_id == str(second.pk)
    assert outgoing.request.limit_price == D("1.094")
    change = EntryChange.objects.get()
    assert (change.state, change.order.connection_id) == ("DONE", second.pk)
    assert ("ORDER_CHANGED", "PENDING") in factories.log_codes(change.order_id)


def test_changed_price_counts_on_each_later_account(first: Account, second: Account) -> None:
    third = factories.account(owner=first.user)
    route(first, second, third)
    signal = publish(order_type="LIMIT", open_price=D("1.095"))
    modify(signal, "1.094")
    prices = []
    for _ in range(3):
        [sent] = claimed()
        prices.append((sent.request.connection_id, sent.request.limit_price))
        not_reached(sent)
    assert prices == [(str(one.pk), D("1.094")) for one in (first, second, third)]


def test_change_that_waits_is_refused_if_no_account_follows(routed: Subscription) -> None:
    signal = publish_and_fail(order_type="LIMIT", open_price=D("1.095"))
    [new] = moved_on()
    fail(Order.objects.get(pk=new), Code.NEVER_ARRIVED)
    modify(signal, "1.094")
    assert moved_on() == []
    begin_waiting_changes()
    change = EntryChange.objects.get()
    assert (change.state, change.code) == ("REFUSED", "ORDER_ENDED")


def test_loss_limit_of_the_subscription_counts_on_each_account(
    routed: Subscription, first: Account, second: Account
) -> None:
    limit = limit_of(None, subscription=routed, maximum=D(500), unit="AMOUNT", measure="BALANCE")
    store_balance(second, "10000", minutes_ago=2)
    assert apply_loss_limits() == []
    assert not TradingPause.objects.exists()
    store_balance(second, "9500")
    apply_loss_limits()
    pause = TradingPause.objects.get()
    assert (pause.connection_id, pause.subscription_id, pause.limit_id) == (
        second.pk, routed.pk, limit.pk,
    )  # fmt: skip
    publish()
    routed.refresh_from_db()
    shown = preview_route(routed, {"symbol": "EUR/USD"})
    assert shown is not None
    assert [line.account.reason for line in shown.lines] == [None, pause.code]
    [sent] = claimed()
    assert sent.request.connection_id == str(first.pk)
    not_reached(sent)
    assert accounts_of(claimed()) == [str(first.pk)]  # the other one is left out
    assert not Order.objects.filter(connection=second).exists()


def store_balance(account: Account, balance: str, *, minutes_ago: int = 0) -> None:
    at = market_now() - timedelta(minutes=minutes_ago)
    AccountSnapshot.objects.filter(connection=account, read_at__gte=at).update(
        read_at=at - timedelta(minutes=1)
    )
    state = AccountState(
        account=account.account, currency="USD", balance=D(balance), equity=D(balance),
        margin_used=D(0), free_margin=D(balance), leverage=D(30),
        position_mode=PositionMode.HEDGING, time=at,
    )  # fmt: skip
    accounts.store_account_state(account.pk, state, read_at=at)


def test_preview_shows_who_gets_the_entry_and_why(first: Account, second: Account) -> None:
    subscription = first.subscriptions.get()
    assert preview_route(subscription, {}) is None
    route(first, second, policy="PRICE")
    subscription.refresh_from_db()
    factories.quote(first, "1.0999", "1.1001")
    factories.quote(second, "1.0999", "1.1000")
    shown = preview_route(subscription, {"symbol": "eurusd", "side": "BUY"})
    assert shown is not None
    assert [(one.name, one.is_chosen, one.spread) for one in shown.lines] == [
        (first.name, False, D("0.0002")), (second.name, True, D("0.0001")),
    ]  # fmt: skip
    publish()
    assert accounts_of(claimed()) == [str(second.pk)]  # as it was shown
    Account.objects.filter(pk=second.pk).update(is_paused=True)
    shown = preview_route(subscription, {"symbol": "?", "side": "SELL"})
    assert shown is not None
    assert shown.error
    assert (shown.pair, shown.side) == ("EUR/USD", "SELL")  # of the feed's last trade
    assert [one.is_chosen for one in shown.lines] == [True, False]
    assert shown.lines[1].why_not


@pytest.mark.parametrize(("shares", "portions"), [((3, 1), [75, 25]), ((0, 1), [0, 100])])
def test_preview_of_shares_shows_the_portions(
    first: Account, second: Account, shares: tuple[int, int], portions: list[int]
) -> None:
    subscription = first.subscriptions.get()
    named = [RouteAccount(row.pk, n) for row, n in zip((first, second), shares, strict=True)]
    accounts.set_route(subscription.pk, by=first.user, policy="SHARE", accounts=named)
    subscription.refresh_from_db()
    shown = preview_route(subscription, {})
    assert shown is not None
    assert [one.portion for one in shown.lines] == portions
    assert not any(one.is_chosen for one in shown.lines)


def test_account_of_a_route_has_symbols_of_its_own(first: Account, second: Account) -> None:
    subscription = first.subscriptions.get()
    factories.instrument("EUR/USD", book="other", symbol="EURUSD.m")
    factories.instrument("EUR/GBP", book="other", symbol="EURUSD")
    Account.objects.filter(pk=second.pk).update(instrument_book="other")
    named = [RouteAccount(first.pk), RouteAccount(second.pk, 1, {"EURUSD": "EURUSD.m"})]
    accounts.set_route(subscription.pk, by=first.user, policy="HEALTH", accounts=named)
    publish()
    [sent] = claimed()
    assert (sent.request.connection_id, sent.request.symbol) == (str(first.pk), "EURUSD")
    not_reached(sent)
    [moved] = claimed()
    assert (moved.request.connection_id, moved.request.symbol) == (str(second.pk), "EURUSD.m")
    with pytest.raises(InvalidInputError) as refused:
        accounts.set_route(
            subscription.pk, by=first.user,
            accounts=[RouteAccount(first.pk, 1, {"EUR/USD": "X"}),
                      RouteAccount(second.pk, 1, {"?": "X"})],
        )  # fmt: skip
    assert "symbol map of the subscription" in refused.value.detail
    assert len(refused.value.others) == 1


@pytest.mark.parametrize("state", ["NOT_FILLED", "FILLED"])
def test_entry_that_waits_for_another_waits_until_that_has_no_account_left(
    routed: Subscription, state: str
) -> None:
    """One that has failed on one account may still fill on the next."""
    awaited = publish()
    claimed()
    other: dict[str, Any] = {"direction": "SELL", "sl": D("1.2")}
    waiting = Order.objects.get(signal=publish(after_signal=awaited, after_state=state, **other))
    claimed()
    fail(Order.objects.get(signal=awaited), Code.NEVER_ARRIVED)
    assert wake_settled() == []
    run("UPDATE execution_order SET due_at = clock_timestamp() WHERE id = %s", (waiting.pk,))
    assert claimed() == []
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == ("PENDING", "AWAITING_CONDITION")
    assert len(moved_on()) == 1
    factories.fill_all()
    assert Order.objects.filter(signal=awaited, status="FILLED").count() == 1
    assert wake_settled() == [waiting.pk]
    sent = claimed()
    assert len(sent) == (state == "FILLED")


def test_close_of_all_trades_reaches_an_entry_that_is_about_to_move(
    routed: Subscription, feed: Feed
) -> None:
    signal = publish_and_fail()
    done = close_trades(feed, TradeSelection(), origin=Origin.API, by=None)
    assert [close.refers_to_id for close in done.signals] == [signal.pk]
    moved_on()
    assert claimed() == []
    assert states()[-1][1:3] == ("CANCELLED", "CLOSED_BEFORE_SENT")


def test_exit_condition_is_set_on_an_entry_that_is_about_to_move(routed: Subscription) -> None:
    signal, other = publish(), publish(direction="SELL", sl=D("1.2"))
    claimed()
    fail(Order.objects.get(signal=signal), Code.NEVER_ARRIVED)
    publish(
        action="MODIFY", refers_to=signal, sl=None, close_when_signal=other,
        close_when_state="FILLED",
    )  # fmt: skip
    moved_on()
    assert Order.objects.get(signal=signal, status="PENDING").has_exit_condition


# ---- the archive -------------------------------------------------------------------------------
def test_account_whose_entry_is_in_the_archive_gets_no_other(
    routed: Subscription, first: Account, second: Account
) -> None:
    signal = publish()
    claimed()
    order = Order.objects.get()
    ArchivedOrder.objects.create(
        id=order.pk + 1000, signal=signal, connection=second, status="EXPIRED", pair="EUR/USD",
        side="BUY", order_type="MARKET", created_at=market_now(), done_at=market_now(),
    )  # fmt: skip
    fail(order, Code.NEVER_ARRIVED)
    assert moved_on() == []
    assert states() == [(first.pk, "FAILED", "NEVER_ARRIVED", "LAST")]
