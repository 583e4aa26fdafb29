"""Entries that wait while their subscription is paused, ends, expires or takes other directions."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.types import OrderType
from common.clocks import market_now
from connections import services as connections
from connections.models import ExecutionConnection, Subscription
from execution.models import Order
from execution.monitoring.trigger_monitor import TriggerMonitor
from positions.models import StopRule
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.monitoring.held_orders import held, quotes_of, source, state
from tests.execution.submission.test_slices import next_slice

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def without_stops(broker: FakeBroker) -> None:
    """The broker takes market and limit orders: the engine holds the others."""
    broker.order_types = frozenset({OrderType.MARKET, OrderType.LIMIT})


def paused(subscription: Subscription) -> None:
    connections.pause_subscription(subscription.pk, by=None)


def ended(subscription: Subscription) -> None:
    connections.unsubscribe(subscription.pk, by=None)


def expired(subscription: Subscription) -> None:
    end = market_now() - timedelta(seconds=1)
    Subscription.objects.filter(pk=subscription.pk).update(expires_at=end)


def turned(subscription: Subscription) -> None:
    connections.update_subscription(subscription.pk, by=None, directions="SELL")


NO_LONGER = {
    "SUBSCRIPTION_PAUSED": paused, "SUBSCRIPTION_ENDED": ended, "SUBSCRIPTION_EXPIRED": expired,
    "DIRECTION_EXCLUDED": turned,
}  # fmt: skip


@pytest.mark.parametrize("code", NO_LONGER)
def test_order_that_fires_is_denied_if_its_subscription_takes_it_no_longer(
    alice: ExecutionConnection, feed: Feed, code: str
) -> None:
    monitor = TriggerMonitor()
    order = held(feed, order_type="STOP", direction="BUY", stop_price=D("1.105"))
    NO_LONGER[code](alice.subscriptions.get())
    assert factories.claim_all() == []
    assert state() == ("PENDING", "AWAITING_TRIGGER")  # it may be resumed before it fires
    assert monitor.process_quotes(source(alice), quotes_of("1.1052")) == [order.pk]
    factories.quote(alice, "1.1052", "1.1053")
    assert factories.claim_all() == []
    assert state() == ("DENIED", code)


@pytest.mark.parametrize("code", NO_LONGER)
@pytest.mark.parametrize("kind", ["queued", "conditional"])
def test_entry_that_waits_is_denied_if_its_subscription_takes_it_no_longer(
    alice: ExecutionConnection, feed: Feed, kind: str, code: str
) -> None:
    begins = market_now() + timedelta(seconds=30) if kind == "conditional" else None
    factories.signal(feed, not_before=begins)
    NO_LONGER[code](alice.subscriptions.get())
    factories.force("UPDATE signals_signal SET not_before = now() WHERE not_before IS NOT NULL")
    factories.force("UPDATE execution_order SET due_at = now()")
    assert factories.claim_all() == []
    assert state() == ("DENIED", code)


@pytest.mark.parametrize("code", NO_LONGER)
def test_operators_account_takes_a_feed_without_the_subscription_that_ended(
    feed: Feed, broker: FakeBroker, code: str
) -> None:
    """Neither its state nor its size nor its stop rule counts any more."""
    account = factories.account(feed, user=None, admin=make.user("olga", is_staff=True))
    subscription = account.subscriptions.get()
    Subscription.objects.update(multiplier=D(2), break_even_profit=D(5), stop_rule_unit="PIPS")
    if code != "SUBSCRIPTION_ENDED":
        NO_LONGER[code](subscription)
    ended(subscription)
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == 100
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert not StopRule.objects.exists()


def test_operators_account_sends_nothing_of_a_subscription_that_ends(feed: Feed) -> None:
    account = factories.account(feed, user=None, admin=make.user("olga", is_staff=True))
    factories.signal(feed)
    ended(account.subscriptions.get())
    assert factories.claim_all() == []
    assert state() == ("DENIED", "SUBSCRIPTION_ENDED")


def test_entry_whose_subscription_expires_later_is_sent(
    alice: ExecutionConnection, feed: Feed
) -> None:
    end = market_now() + timedelta(minutes=1)
    connections.update_subscription(alice.subscriptions.get().pk, by=None, expires_at=end)
    connections.update_subscription(alice.subscriptions.get().pk, by=None, directions="BUY")
    factories.signal(feed)
    assert len(factories.claim_all()) == 1


@pytest.mark.parametrize("code", NO_LONGER)
def test_later_slice_is_denied_and_ends_its_entry(feed: Feed, code: str) -> None:
    account = factories.account(feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING")
    factories.signal(feed, execution_style="TWAP", duration_seconds=60, slice_count=3)
    factories.fill_all()
    NO_LONGER[code](account.subscriptions.get())
    next_slice()
    second, third = Order.objects.filter(leg__startswith="entry-").order_by("leg")
    assert (second.status, second.reason) == ("DENIED", code)
    if code == "SUBSCRIPTION_PAUSED":
        connections.resume_subscription(account.subscriptions.get().pk, by=None)
    next_slice()
    third.refresh_from_db()
    assert third.status in ("DENIED", "CANCELLED")
