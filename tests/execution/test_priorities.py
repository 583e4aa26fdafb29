"""Entries by hand come before those of feeds; these follow the class of their subscription."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import current_app
from django.conf import settings
from redis import Redis

from common.process.message_queues import MESSAGE_PRIORITIES, queue_keys
from connections.models import ExecutionConnection
from execution import services
from execution.models import Order
from execution.recovery import sweeps
from execution.tasks import enqueue
from signals.models import Feed, Origin
from tests.connections import make
from tests.execution import factories
from tests.operational import set_setting

pytestmark = pytest.mark.usefixtures("inline_commits")

HIGH, NORMAL, LOW = 1, 2, 3


def account(feed: Feed, priority: int) -> ExecutionConnection:
    """Return an account that takes the feed in this priority class."""
    row = factories.account()
    make.subscription(row, feed, priority=priority)
    return row


def accounts_of(order_ids: list[int]) -> list[UUID]:
    """Return the accounts of these orders, in the order of the ids given."""
    found = Order.objects.in_bulk(order_ids)
    return [found[order_id].connection_id for order_id in order_ids]


@pytest.mark.parametrize(
    ("origin", "priority"),
    [(Origin.HAND, 2), (Origin.API, 5), (Origin.ALERT, 5), (Origin.FILE, 5)],
)
def test_only_signals_by_hand_have_their_priority(
    alice: ExecutionConnection, feed: Feed, origin: Origin, priority: int
) -> None:
    factories.signal(feed, origin=origin)
    assert Order.objects.get().priority == priority


def test_entries_of_a_signal_follow_the_classes(feed: Feed) -> None:
    classes = {account(feed, n).pk: n for n in (LOW, NORMAL, HIGH, LOW, NORMAL, HIGH)}
    operators = factories.account(user=None, admin=make.user("olga", is_staff=True)).pk
    factories.signal(feed, origin=Origin.API)
    written = Order.objects.order_by("id")
    assert [order.priority for order in written] == [4, 4, 5, 5, 5, 6, 6]
    assert {order.connection_id: order.priority - 3 for order in written} == {
        **classes, operators: NORMAL,
    }  # fmt: skip
    sent = [UUID(str(outgoing.request.connection_id)) for outgoing in factories.claim_all()]
    assert sent == [order.connection_id for order in written]


def test_accounts_of_a_class_are_rotated_within_it(feed: Feed) -> None:
    high = [account(feed, HIGH).pk for _ in range(3)]
    low = [account(feed, LOW).pk for _ in range(3)]
    firsts = set[tuple[UUID, UUID]]()
    for _ in range(20):
        signal = factories.signal(feed, origin=Origin.API)
        order = list(
            Order.objects.filter(signal=signal).order_by("id").values_list("connection", flat=True)
        )
        assert (set(order[:3]), set(order[3:])) == (set(high), set(low))
        firsts.add((order[0], order[3]))
    assert {first for first, _ in firsts} == set(high)
    assert {first for _, first in firsts} == set(low)


def test_poll_takes_exits_then_by_hand_then_classes(feed: Feed) -> None:
    high, low = account(feed, HIGH), account(feed, LOW)
    opened = factories.signal(feed)
    factories.fill_all()
    of_feed = factories.signal(feed, origin=Origin.API)
    by_hand = factories.signal(feed)
    factories.close_signal(opened)
    factories.pass_time(2)
    due = [Order.objects.get(pk=pk) for pk in sweeps.due(100)]
    assert [(order.leg.split("-")[0], order.signal_id, order.priority) for order in due] == [
        *[("close", due[0].signal_id, 1)] * 2,
        *[("entry", by_hand.pk, 2)] * 2,
        ("entry", of_feed.pk, 4), ("entry", of_feed.pk, 6),
    ]  # fmt: skip
    assert [order.connection_id for order in due[4:]] == [high.pk, low.pk]
    assert sweeps.due(100, exits_only=True) == [order.pk for order in due[:2]]


def test_accounts_take_turns_in_a_backlog(feed: Feed) -> None:
    other = make.feed(slug="other")
    busy, calm = factories.account(feed), factories.account(other)
    for _ in range(5):
        factories.signal(feed, origin=Origin.API)
    factories.signal(other, origin=Origin.API)  # the last one, of an account with no other
    assert not Order.objects.filter(enqueued_at=None).exists()  # its message waits behind five
    factories.pass_time(2)
    assert accounts_of(sweeps.due(2)) == [busy.pk, calm.pk]
    assert accounts_of(sweeps.due(100)) == [busy.pk, calm.pk, *[busy.pk] * 4]


def test_turns_are_counted_among_the_oldest_only(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make.feed(slug="other")
    busy, calm = factories.account(feed), factories.account(other)
    for _ in range(sweeps.TURNS):
        factories.signal(feed, origin=Origin.API)
    factories.signal(other, origin=Origin.API)
    factories.pass_time(2)
    assert accounts_of(sweeps.due(1)) == [busy.pk]  # the other one is beyond the window
    assert calm.pk in accounts_of(sweeps.due(2))


def test_retried_entry_is_one_by_hand(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed, origin=Origin.API)
    factories.force("UPDATE execution_order SET status = 'FAILED', done_at = now()")
    services.retry_order(Order.objects.get().pk)
    assert Order.objects.get().priority == 2


@pytest.fixture
def queue() -> Iterator[str]:
    name = f"priorities-{uuid4()}"
    yield name
    Redis.from_url(settings.REDIS_URL).delete(*queue_keys(name))


def taken(queue: str, number: int) -> list[list[int]]:
    """Return the order ids of the next messages, as a worker takes them from Redis."""
    with current_app.connection_for_read() as broker:
        channel: Any = broker.channel()
        messages = [channel.basic_get(queue, no_ack=True) for _ in range(number)]
        return [list(message.decode()[0][0]) for message in messages]


def test_worker_takes_messages_by_priority(queue: str, settings: Any) -> None:
    set_setting("execution.bundle_size", 2)
    enqueue([1, 2, 3, 4, 5], queue=queue, priorities={1: 4, 2: 5, 3: 5, 4: 5, 5: 6})
    enqueue([6], queue=queue, priorities={6: 4})
    enqueue([7], queue=queue, priorities={7: 2})
    enqueue([8], queue=queue)
    redis = Redis.from_url(settings.REDIS_URL)
    assert [redis.llen(key) for key in queue_keys(queue)] == [2, 2, 2, 1]
    assert taken(queue, 7) == [[7], [8], [1], [6], [2, 3], [4], [5]]
    assert sum(redis.llen(key) for key in queue_keys(queue)) == 0


def test_queue_keys_are_those_of_the_transport() -> None:
    with current_app.connection_for_read() as broker:
        channel: Any = broker.default_channel
        assert tuple(channel.priority_steps) == MESSAGE_PRIORITIES
        assert queue_keys("q") == tuple(channel._q_for_pri("q", n) for n in MESSAGE_PRIORITIES)
