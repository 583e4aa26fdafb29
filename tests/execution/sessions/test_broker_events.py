"""Events that a broker pushes are written at once."""

import threading
import time
from collections.abc import Collection
from decimal import Decimal as D

import pytest
from django.db import connection

from brokers import registry
from brokers.base import BrokerAdapter
from connections.models import ExecutionConnection
from execution.models import Order
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime.event_news import news
from execution.runtime.event_stream import drain_and_wait
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.until import until


def test_pushed_event_is_applied_by_one_drain_of_its_type(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, broker: FakeBroker
) -> None:
    session.sessions.maintain()  # takes the lane
    session.sessions.maintain()  # and listens for events
    reconcile_new()
    broker.behaviour = broker.rest
    for _ in range(11):
        factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    execute(factories.pending())
    assert session.dispatcher.wait_idle(30)
    assert session.report_writer.drain(30)
    ended, looks = threading.Event(), list[set[str]]()

    def drain(broker_types: Collection[str]) -> None:
        looks.append(set(broker_types))
        drain_and_wait(broker_types)

    def listen() -> None:
        while not ended.is_set():
            if broker_types := news.take():
                drain(broker_types)
            time.sleep(0.01)
        connection.close()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        orders = list(Order.objects.order_by("id"))
        for order in orders:
            fill(broker, order)
    finally:
        ended.set()
        thread.join(120)
    # One drain for each notification, and one when listening began. No other poll finds them:
    # nothing waits on the way. `make bench` measures how long it takes.
    assert len(looks) <= len(orders) + 1
    assert all(one == {laned.type} for one in looks)


def test_events_of_a_type_do_not_wait_for_those_of_another(
    laned: ExecutionConnection, session: TradingRuntime, broker: FakeBroker
) -> None:
    session.sessions.maintain()
    read = len(broker.calls)
    assert drain_and_wait({"paper"}) == 0
    assert len(broker.calls) == read
    drain_and_wait({laned.type})
    assert [name for name, _ in broker.calls[read:]] == ["events"]


def test_broken_broker_package_does_not_stop_the_lanes(
    laned: ExecutionConnection,
    feed: Feed,
    session: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = factories.account(feed)
    ExecutionConnection.objects.filter(pk=other.pk).update(type="broken", lane=laned.lane)
    real, loads = registry.adapter_for, []

    def adapter_for(broker_type: str) -> BrokerAdapter:
        if broker_type == "broken":
            loads.append(broker_type)
            raise RuntimeError("module compiled against another version of numpy")
        return real(broker_type)

    monkeypatch.setattr(registry, "adapter_for", adapter_for)
    for _ in range(3):
        session.sessions.maintain()
    assert loads == ["broken"]  # not tried again and again
    assert session.sessions._listening.keys() == {laned.type}


def fill(broker: FakeBroker, order: Order) -> None:
    """Have the broker fill an order, and wait until our row is updated."""
    ticket = next(t for t in broker.tickets if t.request.client_order_id == order.client_order_id)
    broker.publish(broker.execute(ticket))
    until(lambda: Order.objects.filter(pk=order.pk, status="FILLED").exists())
