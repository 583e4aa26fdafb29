from decimal import Decimal as D
from typing import Any

import pytest

from common.db.sql import rows, run
from connections.exposure import is_priced_by_sql
from connections.models import DataConnection, ExecutionConnection
from execution.models import Order, OrderTrigger, PricePeak
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.monitoring.trigger_upkeep import keep_up_triggers
from execution.services import cancel_order
from prices import symbol_selection
from signals.models import Feed
from tests.execution import factories
from tests.execution.monitoring.held_orders import (
    BUY_STOP,
    SELL_TRAIL,
    held,
    market_and_limit_only,
    monitor,
    quotes_of,
    source,
)

__all__ = ["market_and_limit_only", "monitor"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]


def test_account_with_another_price_source_follows_that_one(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    order = held(feed, **SELL_TRAIL)
    other = DataConnection.objects.create(name="other prices")
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=other)
    alice.refresh_from_db()
    factories.quote(alice, "1.2")
    keep_up_triggers()
    factories.claim_all()
    trigger = OrderTrigger.objects.get()
    assert (trigger.source_id, trigger.level) == (other.pk, D("1.195"))
    assert monitor.process_quotes(other.pk, quotes_of("1.195")) == [order.pk]


ACTIVATED_SELL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "direction": "SELL", "trail_distance": D("0.005"),
    "activation_price": D("1.11"), "sl": D("1.2"),
}  # fmt: skip


def give_another_source(of: ExecutionConnection, bid: str) -> int:
    """Give an account another price source with this price, and let its triggers follow."""
    other = DataConnection.objects.create(name="other prices")
    ExecutionConnection.objects.filter(pk=of.pk).update(data_connection=other)
    of.refresh_from_db()
    factories.quote(of, bid)
    keep_up_triggers()
    factories.claim_all()
    return other.pk


def test_activated_trailing_stop_follows_another_price_source(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    order = held(feed, **ACTIVATED_SELL)
    monitor.process_quotes(source(alice), quotes_of("1.11"))
    monitor.process_quotes(source(alice), quotes_of("1.118", seconds=1))
    other = give_another_source(alice, "1.116")
    trigger = OrderTrigger.objects.get()
    assert (trigger.source_id, trigger.level, trigger.distance) == (other, D("1.111"), D("0.005"))
    assert trigger.active_since is not None
    looked_at = Order.objects.get().due_at
    keep_up_triggers()
    assert Order.objects.get().due_at == looked_at  # not woken again
    assert monitor.process_quotes(other, quotes_of("1.1111")) == []
    assert monitor.process_quotes(other, quotes_of("1.111", seconds=1)) == [order.pk]


@pytest.mark.parametrize(
    ("bid", "level"), [("1.105", None), ("1.11", D("1.105")), ("1.118", D("1.113"))]
)
def test_waiting_trailing_stop_is_activated_by_the_price_of_another_source(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, bid: str, level: D | None
) -> None:
    held(feed, **ACTIVATED_SELL)
    other = give_another_source(alice, bid)
    trigger = OrderTrigger.objects.get()
    assert (trigger.source_id, trigger.level) == (other, level)
    assert (trigger.active_since is None) == (level is None)
    assert trigger.activation_price == D("1.11")


def test_distance_stays_when_the_price_source_changes(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    """One in percent was calculated when it was armed; the other source's price is far higher."""
    held(feed, order_type="TRAILING_STOP", direction="SELL", trail_percent=D(1), sl=D("1.2"))
    distance = OrderTrigger.objects.get().distance
    give_another_source(alice, "2.2")
    trigger = OrderTrigger.objects.get()
    assert (trigger.distance, trigger.level) == (distance, D("2.2") - (distance or 0))


def test_peaks_that_nothing_follows_are_deleted(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.101"))
    factories.quote(alice, "1.101")
    held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.102"))
    assert sorted(PricePeak.objects.values_list("price", flat=True)) == [D("1.101"), D("1.102")]
    keep_up_triggers()
    assert PricePeak.objects.count() == 2  # the monitor may be writing them
    run("UPDATE execution_pricepeak SET began_at = began_at - interval '2 minutes'")
    run("UPDATE execution_ordertrigger SET active_since = active_since - interval '2 minutes'")
    keep_up_triggers()
    assert PricePeak.objects.get().price == D("1.102")  # it has passed the other one
    OrderTrigger.objects.update(is_armed=False)
    keep_up_triggers()
    assert not PricePeak.objects.exists()


def test_price_source_of_a_held_order_is_needed(alice: ExecutionConnection, feed: Feed) -> None:
    used = f"SELECT id FROM connections_dataconnection d WHERE {is_priced_by_sql('d.id')}"
    order = held(feed, **BUY_STOP)
    assert [row.id for row in rows(used)] == [source(alice)]
    of_source = {"sources": [source(alice)]}
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=None)  # not by its order
    found = rows(symbol_selection.required_pairs_sql(), of_source)
    assert [(row.source, row.pair) for row in found] == [(source(alice), "EUR/USD")]
    cancel_order(order.pk)
    keep_up_triggers()
    assert rows(used) == rows(symbol_selection.required_pairs_sql(), of_source) == []
