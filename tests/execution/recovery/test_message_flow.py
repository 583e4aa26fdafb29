"""Polls leave due entries to messages that flow, not to those that never come."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from redis import Redis

from connections.models import ExecutionConnection
from execution import services
from execution.models import Order
from execution.recovery import message_flow, sweeps
from execution.recovery.message_flow import (
    DOWN_SECONDS,
    FLOW_SECONDS,
    LOST_SECONDS,
    MessageFlow,
    flow_of,
)
from execution.runtime.trading_runtime import TradingRuntime
from execution.tasks import enqueue
from signals.models import Feed
from tests.execution import factories


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(message_flow, "machine_time", lambda: clock.now)
    return clock


@pytest.fixture
def queue() -> Iterator[str]:
    name = f"flow-{uuid4()}"
    yield name
    redis().delete(name)


def redis() -> "Redis":
    from django.conf import settings

    return Redis.from_url(settings.REDIS_URL)


def send(queue: str, number: int) -> None:
    for order_id in range(1, number + 1):
        enqueue([order_id], queue=queue, lanes={order_id: queue})


def take(queue: str, number: int = 1) -> None:
    """Take messages, as a worker does."""
    for _ in range(number):
        assert redis().rpop(queue) is not None


def test_entries_wait_while_their_queue_is_served(clock: Clock, queue: str) -> None:
    flow = flow_of(queue)
    send(queue, 5)
    assert not flow.must_wait()  # it may have been so for long
    take(queue)
    assert not flow.must_wait()  # the first poll while messages flow finds lost ones
    clock.now += 1
    assert flow.must_wait()
    take(queue, 4)
    assert not flow.must_wait()  # what is due now has no message


def test_queue_that_no_worker_serves_delays_nothing(clock: Clock, queue: str) -> None:
    flow = flow_of(queue)
    send(queue, 5)
    flow.must_wait()
    take(queue)
    flow.must_wait()
    clock.now += FLOW_SECONDS + 0.1
    assert not flow.must_wait()
    send(queue, 3)  # it only grows
    assert not flow.must_wait()


def test_lost_messages_are_looked_for_while_others_flow(clock: Clock, queue: str) -> None:
    flow, answers = flow_of(queue), []
    send(queue, 30)
    flow.must_wait()
    for _ in range(25):
        take(queue)
        answers.append(flow.must_wait())
        clock.now += 1
    assert [n for n, waits in enumerate(answers) if not waits] == [
        0,
        LOST_SECONDS,
        2 * LOST_SECONDS,
    ]


def test_unreachable_queue_delays_nothing_and_is_not_asked_each_time(clock: Clock) -> None:
    asked = []

    def length() -> int:
        asked.append(clock.now)
        raise ConnectionRefusedError

    flow = MessageFlow(length)
    assert [flow.must_wait() for _ in range(3)] == [False] * 3
    assert asked == [100.0]
    clock.now += DOWN_SECONDS
    assert not flow.must_wait()
    assert len(asked) == 2


@pytest.fixture
def flowing(clock: Clock, queue: str, monkeypatch: pytest.MonkeyPatch) -> MessageFlow:
    """Let workers take messages about entries, and polls not wait a second for lost ones."""
    flow = flow_of(queue)
    monkeypatch.setattr(services, "_entry_messages", flow)
    monkeypatch.setattr(sweeps, "ENQUEUED_GRACE_SECONDS", 0)
    send(queue, 5)
    for _ in range(2):
        flow.must_wait()
        take(queue)
    return flow


@pytest.mark.usefixtures("inline_commits")
def test_poll_leaves_entries_to_messages_that_flow(
    feed: Feed,
    alice: ExecutionConnection,
    trading: TradingRuntime,
    clock: Clock,
    flowing: MessageFlow,
) -> None:
    factories.signal(feed)
    factories.signal(feed)
    first, deferred = Order.objects.order_by("id")
    Order.objects.filter(pk=deferred.pk).update(reason="HOST_DOWN")  # no message is on its way
    assert services.process_due_orders(10) == 1
    first.refresh_from_db()
    deferred.refresh_from_db()
    assert (first.status, deferred.status == "PENDING") == ("PENDING", False)
    clock.now += FLOW_SECONDS + 0.1
    assert services.process_due_orders(10) == 1
    first.refresh_from_db()
    assert first.status != "PENDING"
