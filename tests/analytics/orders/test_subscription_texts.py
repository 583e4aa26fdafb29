"""What people are shown before a subscription pauses or ends."""

from decimal import Decimal as D

import pytest

from analytics.orders.subscription_texts import live_lines
from brokers.types import OrderType
from connections.models import ExecutionConnection, LossLimit
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def texts(account: ExecutionConnection, feed: Feed, *, ends: bool) -> list[str]:
    return [line.text for line in live_lines(account.subscriptions.get(feed=feed), ends=ends)]


def test_each_kind_of_what_is_live_is_counted(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    broker.order_types = frozenset({OrderType.MARKET, OrderType.LIMIT})
    make.subscription(alice, other := make.feed())
    for of in (feed, other):  # those of the other feed do not count
        factories.filled(factories.signal(of))
    factories.signal(feed, order_type="LIMIT", open_price=D("1.05"), sl=D("1.04"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.signal(feed, order_type="STOP", stop_price=D("1.105"))
    factories.claim_all()
    LossLimit.objects.create(subscription=alice.subscriptions.get(feed=feed), maximum=D(5))
    assert texts(alice, feed, ends=True) == [
        "Entries not sent yet: 1 (1 waits for a trigger or a condition). Each is denied when its"
        " turn comes.",
        "Entries at brokers: 1 (105.00 USD). They stay there and may still fill, unless you cancel"
        " them.",
        "Open positions: 1 (110.00 USD). They stay open, and the provider's closes still apply to"
        " them.",
        "The loss limits of the subscription end with it. They close nothing any more.",
    ]
    paused = texts(alice, feed, ends=False)
    assert paused[0].endswith("Each is denied when its turn comes unless you resume before.")
    assert len(paused) == 3


def test_without_anything_live_only_the_positions_are_stated(
    alice: ExecutionConnection, feed: Feed
) -> None:
    assert texts(alice, feed, ends=True) == [
        "Open positions: 0. They stay open, and the provider's closes still apply to them."
    ]
