"""Entries that a process had in hand when it died are executed in ever smaller groups."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from connections.models import ExecutionConnection
from execution import services
from execution.models import ExecutionLog, Order
from execution.recovery import isolation
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.usefixtures("inline_commits")


def lose_workers(order_ids: Sequence[int], deaths: int) -> None:
    """So many processes died with these entries in hand; they wait for something else since."""
    Order.objects.filter(pk__in=order_ids).update(
        send_retries=deaths, reason="CONNECTION_NOT_RECONCILED"
    )
    ExecutionLog.objects.bulk_create(
        ExecutionLog(order_id=order_id, code="WORKER_LOST_UNSENT")
        for order_id in order_ids
        for _ in range(deaths)
    )


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
    lose_workers([first, second, third], 1)
    lose_workers([fourth], 2)
    assert parts(order_ids, trading) == [[fifth], [first, second], [third], [fourth]]


def test_after_two_deaths_each_is_alone(order_ids: list[int], trading: TradingRuntime) -> None:
    lose_workers(order_ids, 2)
    assert parts(order_ids, trading) == [[order_id] for order_id in order_ids]


@pytest.mark.parametrize("by", ["poll", "decision"])
def test_a_group_waits_for_the_calls_of_the_last_one(
    by: str,
    order_ids: list[int],
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose_workers(order_ids, 2)
    submit, in_hand, most = broker.submit, 0, 0

    async def slowly(*given: Any) -> Any:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        await asyncio.sleep(0.1)
        in_hand -= 1
        return await submit(*given)

    monkeypatch.setattr(broker, "submit", slowly)
    if by == "poll":
        assert services.process_due_orders(10) == 5
    else:  # as when a provider has decided them all
        services._resume(order_ids)
    assert trading.report_writer.drain(60)
    assert Order.objects.filter(status="FILLED").count() == 5
    assert most == 1


def test_what_the_time_is_too_short_for_waits_and_newer_entries_do_not(
    order_ids: list[int], feed: Feed, trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_workers(order_ids, 2)
    factories.signal(feed)
    factories.pass_time(2)
    monkeypatch.setattr(isolation, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(isolation, "LEFT_SECONDS", 20.0)
    assert services.process_due_orders(5) == 10  # the suspects fill the first five
    assert sorted(factories.pending()) == order_ids
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    assert Order.objects.filter(status="FILLED").count() == 5
    monkeypatch.setattr(isolation, "MOST_SECONDS", 5.0)
    assert services.process_due_orders(10) == 0  # not at once
    factories.pass_time(21)
    services.process_due_orders(10)
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    assert Order.objects.filter(status="FILLED").count() == 10


def test_exits_wait_for_none(
    order_ids: list[int], trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.process_due_orders(10)
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    for position in ExecutionPosition.objects.all():
        services.close_position(position.pk)
    exits = Order.objects.filter(position__isnull=False)
    ids = sorted(exits.values_list("pk", flat=True))
    lose_workers(ids, 2)
    assert len(ids) == 5
    assert parts(ids, trading) == [ids]
