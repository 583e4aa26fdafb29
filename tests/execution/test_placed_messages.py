"""Owners who ask for it learn that an order was placed, once."""

from decimal import Decimal as D

import pytest

from brokers.types import ReportKind
from common.db.sql import rows, run
from connections.models import ExecutionConnection
from events.models import Event, Notification
from events.services import create_channel, deliver
from execution.models import Order
from signals.models import Feed, Signal
from tests.events.conftest import _keys, hook
from tests.events.receiver import Receiver
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

__all__ = ["_keys", "hook"]
pytestmark = pytest.mark.django_db(transaction=True)


def kinds_at(hook: Receiver) -> list[str]:
    run("UPDATE events_channel SET backoff_until = NULL")
    deliver()
    return [event["kind"] for one in hook.journal for event in one["events"]]


def place_limit_order(feed: Feed, broker: FakeBroker) -> Signal:
    signal = factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    return signal


def test_order_placed_goes_to_channels_that_name_it(
    feed: Feed, alice: ExecutionConnection, broker: FakeBroker, hook: Receiver
) -> None:
    create_channel(user_id=alice.owner_id, name="all", url=hook.url("/all"))
    place_limit_order(feed, broker)
    assert kinds_at(hook) == []
    assert not Event.objects.filter(kind="order.placed").exists(), "no channel names it"

    create_channel(user_id=alice.owner_id, name="hook", url=hook.url(), kinds=["order.placed"])
    signal = place_limit_order(feed, broker)
    order = Order.objects.get(signal=signal)
    assert kinds_at(hook) == ["order.placed"]
    [message] = hook.journal
    assert message["events"][0]["order_id"] == order.pk
    assert message["events"][0]["payload"]["broker_order_id"] == order.broker_order_id
    assert message["title"] == "Accepted by the broker: Buy 100 EUR/USD"
    assert not Notification.objects.filter(kind="order.placed").exists()


def test_order_filled_at_once_is_placed_once(
    feed: Feed, alice: ExecutionConnection, hook: Receiver
) -> None:
    create_channel(
        user_id=alice.owner_id, name="hook", url=hook.url(), kinds=["order.placed", "order.filled"]
    )
    factories.signal(feed)
    factories.fill_all()
    assert sorted(kinds_at(hook)) == ["order.filled", "order.placed"]


def test_order_found_again_after_unknown_is_not_placed_twice(
    feed: Feed, alice: ExecutionConnection, broker: FakeBroker, hook: Receiver
) -> None:
    create_channel(user_id=alice.owner_id, name="hook", url=hook.url(), kinds=["order.placed"])
    signal = place_limit_order(feed, broker)
    run("UPDATE execution_order SET status = 'UNKNOWN'")
    order = Order.objects.get(signal=signal)
    factories.apply(factories.report(order, ReportKind.ACCEPTED))
    order.refresh_from_db()
    assert order.status == "SUBMITTED"
    assert kinds_at(hook) == ["order.placed"]


def test_subscriber_gets_no_placed_message_for_orders_of_others(
    feed: Feed, alice: ExecutionConnection, broker: FakeBroker, hook: Receiver
) -> None:
    factories.account(feed, name="bob")
    create_channel(user_id=alice.owner_id, name="hook", url=hook.url(), kinds=["order.placed"])
    factories.signal(feed)
    factories.fill_all()
    placed = rows("SELECT user_id FROM events_event WHERE kind = 'order.placed'")
    assert [row.user_id for row in placed] == [alice.owner_id]
