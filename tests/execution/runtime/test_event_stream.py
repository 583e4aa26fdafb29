"""All events of a broker's stream are read, even if some must wait."""

import asyncio
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import BrokerAdapter
from brokers.types import CloseCause, OrderReport
from common.clocks import machine_time
from connections.models import DataConnection, ExecutionConnection
from execution import startup
from execution.dispatch.deferred_reports import DEFER_SECONDS
from execution.job_table import jobs_of_role
from execution.models import DriftItem, Order
from execution.runtime import event_stream
from execution.runtime.event_news import news
from execution.runtime.event_stream import PAGE_SIZE, drain_before_comparison, drain_events
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from prices.feeds import open_live
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket
from tests.execution.recovery.test_sweeps import sent
from tests.prices.sources import Source, at, quote, source
from tests.until import until

__all__ = ["source"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("runtime")]


@pytest.fixture
def tickets(alice: ExecutionConnection, feed: Feed, broker: FakeBroker) -> list[Ticket]:
    """Alice's and Bob's entries at the broker; our process has received no report yet."""
    factories.account(feed)
    factories.signal(feed)
    factories.claim_all()
    return [broker.receive(sent(order)) for order in Order.objects.order_by("id")]


def test_batch_that_must_wait_does_not_block_later_events(
    tickets: list[Ticket], broker: FakeBroker
) -> None:
    hers, his = tickets
    came_in = broker.execute(hers)
    went_out = broker.close_at_broker(hers, CloseCause.STOP_LOSS, D(100))
    for _ in range(PAGE_SIZE):  # an exit before its entry waits for the entry's fills
        broker.publish(went_out)
    broker.publish(broker.execute(his))
    assert drain_events() == 1
    his_id = his.request.client_order_id
    assert Order.objects.get(status="FILLED").client_order_id == his_id
    assert len(broker.news) == PAGE_SIZE  # not acknowledged
    broker.publish(came_in)
    assert drain_events() == PAGE_SIZE + 1  # retried in the same pass as the fills it waited for
    assert broker.news == {}
    position = ExecutionPosition.objects.get(connection__id=hers.request.connection_id)
    assert (position.opened_quantity, position.quantity) == (100, 0)
    assert Order.objects.filter(position=position).count() == 1
    assert drain_events() == 0


def test_broken_broker_package_does_not_stop_other_streams(
    tickets: list[Ticket],
    runtime: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hers, his = tickets
    ExecutionConnection.objects.filter(pk=his.request.connection_id).update(type="broken")
    real = runtime.dispatcher.adapter

    def adapter(broker_type: str) -> BrokerAdapter:
        if broker_type == "broken":
            raise RuntimeError("module compiled against another version of numpy")
        return real(broker_type)

    monkeypatch.setattr(runtime.dispatcher, "adapter", adapter)
    broker.publish(broker.execute(hers))
    assert drain_events() == 1
    assert drain_before_comparison() == {"broken"}


def test_waiting_event_is_applied_later_and_exactly_once(
    tickets: list[Ticket], broker: FakeBroker
) -> None:
    hers, his = tickets
    broker.execute(hers)
    broker.publish(broker.close_at_broker(hers, CloseCause.STOP_LOSS, D(100)))
    for _ in range(PAGE_SIZE):
        broker.publish(broker.execute(his, D("0.1")))
    assert drain_events() == PAGE_SIZE
    assert [report.close_cause for report in broker.news.values()] == [CloseCause.STOP_LOSS]
    assert drain_events() == 0
    entry = Order.objects.get(client_order_id=his.request.client_order_id)
    assert entry.filled_quantity == 50


def test_events_without_ids_each_wait_their_own_time(
    tickets: list[Ticket], broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has waited its minute when the second comes; which waits its own minute."""
    hers, his = tickets
    exits, events, shift = [], broker.events, [0.0]
    monkeypatch.setattr(event_stream, "machine_time", lambda: machine_time() + shift[0])

    async def nameless(limit: int, after: str = "") -> list[OrderReport]:
        return [replace(report, event_id="") for report in await events(limit, after)]

    monkeypatch.setattr(broker, "events", nameless)
    for ticket in (hers, his):
        broker.publish(broker.execute(ticket, D(50)))
        drain_events()
        broker.news.clear()
        broker.execute(ticket)  # the remaining fill is never reported
        exits.append(broker.close_at_broker(ticket, CloseCause.STOP_LOSS, D(100)))
    broker.publish(exits[0])
    drain_events()
    shift[0] = DEFER_SECONDS + 1
    broker.publish(exits[1])
    drain_events()
    assert [str(one.connection_id) for one in DriftItem.objects.all()] == [
        hers.request.connection_id
    ]


def test_settled_event_is_forgotten(
    tickets: list[Ticket], broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: dict[Any, float] = {}
    monkeypatch.setattr(event_stream, "_waiting_since", waiting)
    hers, _ = tickets
    came_in = broker.execute(hers)
    broker.publish(broker.close_at_broker(hers, CloseCause.STOP_LOSS, D(100)))
    drain_events()
    assert len(waiting) == 1
    broker.publish(came_in)
    drain_events()
    assert waiting == {}


def test_hanging_events_of_one_broker_do_not_delay_prices_of_another(
    source: DataConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real broker's prices also go to the paper broker, whose events hang here."""
    asked: list[str] = []

    async def hang(limit: int, after: str = "") -> list[OrderReport]:
        asked.append(after)
        await asyncio.sleep(60)
        return []

    factories.account(feed)
    monkeypatch.setattr(broker, "events", hang)
    news.take()
    broker_connection = open_live(source, Source(quote("1.10", 100)), at(100), to_paper=True)
    broker_connection.step(at(100))
    assert asked == []
    until(news.take)


def test_paper_events_caused_by_real_prices_are_applied_at_once(
    tickets: list[Ticket], broker: FakeBroker
) -> None:
    broker.publish(broker.execute(tickets[0]))
    [job] = [j for j in jobs_of_role("exits", exits_only=True) if j.name == "events"]
    assert job.alarm is not None
    job.alarm.take()
    startup.on_quotes_at_paper()
    assert job.alarm.take()
    job.run()
    assert Order.objects.filter(status="FILLED").count() == 1
