"""End to end: a spot symbol leaves the exchange's list while a position is open."""

import pytest

from connections.models import ExecutionConnection
from execution.models import DriftItem, Fill, Order
from execution.monitoring.level_monitor import scan_levels
from execution.reconciliation.reconcile import reconcile
from execution.runtime.trading_runtime import TradingRuntime
from execution.tasks import enqueue
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.crypto.engine.test_engine import adapter, alice, engine, exchange, feed
from tests.crypto.engine.test_raised_minimum import reconcile_twice
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.exchange.server import Server

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.parametrize("exchange", [("binance", "EURUSD")], indirect=True),
]


def test_delisted_holding_stays_open_and_is_notified_once(
    alice: ExecutionConnection, feed: Feed, engine: TradingRuntime, exchange: tuple[str, Server]
) -> None:
    venue = exchange[1].venue
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    venue.delisted.add("EURUSD")
    venue.drop_levels()
    engine.dispatcher.run_call(adapter().disconnect(), 30)
    reconcile_twice(alice)
    reconcile_twice(alice)
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.close_reason, Fill.objects.count()) == (5000, "", 1)
    assert factories.drift_items() == [("POSITION_NOT_TRADABLE", "OPEN")]
    (found,) = factories.events("drift.found")
    assert found["kind"] == "POSITION_NOT_TRADABLE"

    factories.close_signal(signal)  # is tried once; there is no market to sell at
    until(lambda: Order.objects.filter(leg="close-1", status="REJECTED").exists())
    assert Order.objects.get(leg="close-1").reason == "UNKNOWN_SYMBOL_AT_BROKER"
    factories.pass_time(1000)
    assert scan_levels() == []
    assert [order.side for order in venue.orders if not order.is_level] == ["BUY"]

    venue.delisted.clear()
    engine.dispatcher.run_call(adapter().disconnect(), 30)
    until(lambda: reconcile([alice.pk]) == 0 and not DriftItem.objects.filter(state="OPEN"))

    def is_closed() -> bool:
        factories.pass_time(60)
        enqueue(scan_levels())
        return bool(ExecutionPosition.objects.get().quantity == 0)

    until(is_closed)
    assert [order.side for order in venue.orders if not order.is_level] == ["BUY", "SELL"]
