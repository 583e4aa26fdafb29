"""Entries that a process had in hand when it died are executed in ever smaller groups."""

import asyncio
from typing import Any

import pytest

from connections.models import ExecutionConnection
from execution import services
from execution.models import Order
from execution.recovery import isolation
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db(transaction=True)
SUSPECT = {"reason": "WORKER_LOST_UNSENT"}


@pytest.fixture
def order_ids(alice: ExecutionConnection, feed: Feed) -> list[int]:
    """Five entries that are due, of five accounts."""
    for _ in range(4):
        factories.account(feed)
    factories.signal(feed)
    factories.pass_time(2)
    return factories.pending()


def parts(order_ids: list[int], trading: TradingRuntime) -> list[list[int]]:
    return list(isolation.parts(order_ids, trading.dispatcher))


def test_entries_without_a_death_are_executed_together(
    order_ids: list[int], trading: TradingRuntime
) -> None:
    Order.objects.update(reason="BROKER_CLOCK", send_retries=2)
    assert parts(order_ids, trading) == [order_ids]


def test_suspects_come_last_and_in_groups(
    order_ids: list[int], trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "GROUP", 2)
    first, second, third, fourth, fifth = order_ids
    Order.objects.filter(pk__in=[first, second, third]).update(send_retries=1, **SUSPECT)
    Order.objects.filter(pk=fourth).update(send_retries=2, **SUSPECT)
    assert parts(order_ids, trading) == [[fifth], [first, second], [third], [fourth]]


def test_after_two_deaths_each_is_alone(order_ids: list[int], trading: TradingRuntime) -> None:
    Order.objects.update(send_retries=2, **SUSPECT)
    assert parts(order_ids, trading) == [[order_id] for order_id in order_ids]


def test_a_group_waits_for_the_calls_of_the_last_one(
    order_ids: list[int],
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Order.objects.update(send_retries=2, **SUSPECT)
    submit, in_hand, most = broker.submit, 0, 0

    async def slowly(*given: Any) -> Any:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        await asyncio.sleep(0.1)
        in_hand -= 1
        return await submit(*given)

    monkeypatch.setattr(broker, "submit", slowly)
    assert services.process_due_orders(10) == 5
    assert trading.report_writer.drain(10)
    assert Order.objects.filter(status="FILLED").count() == 5
    assert most == 1


def test_what_the_time_is_too_short_for_waits_for_the_next_poll(
    order_ids: list[int], trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    Order.objects.update(send_retries=2, **SUSPECT)
    monkeypatch.setattr(isolation, "MOST_SECONDS", 0.0)
    assert services.process_due_orders(10) == 5
    assert Order.objects.filter(status="PENDING").count() == 5
    monkeypatch.setattr(isolation, "MOST_SECONDS", 5.0)
    services.process_due_orders(10)
    assert trading.dispatcher.wait_idle(10)
    assert trading.report_writer.drain(10)
    assert Order.objects.filter(status="FILLED").count() == 5


def test_exits_wait_for_none(
    order_ids: list[int], trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.process_due_orders(10)
    assert trading.dispatcher.wait_idle(10)
    assert trading.report_writer.drain(10)
    for position in ExecutionPosition.objects.all():
        services.close_position(position.pk)
    exits = Order.objects.filter(position__isnull=False)
    exits.update(send_retries=2, **SUSPECT)
    ids = sorted(exits.values_list("pk", flat=True))
    assert len(ids) == 5
    assert parts(ids, trading) == [ids]
