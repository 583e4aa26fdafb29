"""An exchange raises its minimum amount while a position is open."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F

from connections.health.connection_checks import run_test
from connections.models import ExecutionConnection, Instrument, InstrumentBook
from execution.models import DriftItem, Fill, Order
from execution.monitoring.level_monitor import scan_levels
from execution.reconciliation.reconcile import reconcile
from execution.runtime.trading_runtime import TradingRuntime
from execution.tasks import enqueue
from positions.models import ExecutionPosition
from positions.selectors import with_prices
from signals.models import Feed
from tests.crypto.engine.test_engine import adapter, alice, engine, exchange, feed, is_reconciled
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.exchange.server import Server

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def raise_minimum(
    connection: ExecutionConnection, server: Server, engine: TradingRuntime, minimum: D
) -> None:
    """Change the exchange's minimum amount; the connection test reads it."""
    venue = server.venue
    (symbol,) = venue.markets
    venue.markets[symbol] = replace(venue.markets[symbol], min_amount=minimum)
    engine.dispatcher.run_call(adapter().disconnect(), 30)
    assert [check for check in run_test(connection.pk) if check.result == "fail"] == []
    assert Instrument.objects.get().close_min == minimum
    until(lambda: is_reconciled(connection))


def reconcile_twice(connection: ExecutionConnection) -> None:
    """Reconcile twice, with the required time between the two reads."""
    reconcile([connection.pk])
    factories.pass_time(6)
    reconcile([connection.pk])


def test_position_below_a_raised_minimum_stays_open_until_its_balance_goes(
    alice: ExecutionConnection, feed: Feed, engine: TradingRuntime, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    raise_minimum(alice, server, engine, D(6000))
    reconcile_twice(alice)
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.close_reason) == (5000, "")
    assert Order.objects.count() == Fill.objects.count() == 1
    assert not DriftItem.objects.exists()

    server.venue.balances["EUR"] = D(2000)  # the owner sells part of it at the exchange
    reconcile_twice(alice)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (5000, "")
    assert factories.drift_items() == [("QUANTITY_DIFFERS", "OPEN")]

    server.venue.balances["EUR"] = D("0.4")  # and then the rest
    until(lambda: reconcile([alice.pk]) is not None
          and ExecutionPosition.objects.get().quantity == 0)  # fmt: skip
    position = ExecutionPosition.objects.get()
    assert position.close_reason == "external_close"
    assert Order.objects.get(leg="external-1").filled_quantity == 5000


def pass_a_minute() -> None:
    """Move the times of ended, waiting and read rows back by a minute."""
    factories.pass_time(60)
    waiting = Order.objects.filter(waiting_since__isnull=False)
    waiting.update(waiting_since=F("waiting_since") - timedelta(minutes=1))


def close_after_own_sale(
    alice: ExecutionConnection, feed: Feed, engine: TradingRuntime, server: Server, left: str
) -> None:
    """Open 5,000 and raise the minimum to 1,000; the owner sells at the exchange until `left`
    remains; then publish a CLOSE."""
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    raise_minimum(alice, server, engine, D(1000))
    server.venue.balances["EUR"] = D(left)
    factories.close_signal(signal)


def blocker() -> str:
    position: Any = with_prices(ExecutionPosition.objects.all()).get()
    return str(position.exit_blocker)


only_binance = pytest.mark.parametrize("exchange", [("binance", "EURUSD")], indirect=True)


@pytest.fixture
def lists_are_loaded_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours have passed since the adapter has loaded one."""
    monkeypatch.setattr("brokers.crypto.adapter.LISTED_SECONDS", 0.0)


def lower_minimum_again(server: Server, *, hours: int) -> None:
    """Give the exchange its former minimum; what is remembered of it is some hours old."""
    (symbol,) = server.venue.markets
    server.venue.markets[symbol] = replace(server.venue.markets[symbol], min_amount=D(1))
    InstrumentBook.objects.update(read_at=F("read_at") - timedelta(hours=hours))


@only_binance
@pytest.mark.usefixtures("lists_are_loaded_each_time")
def test_close_below_a_minimum_that_has_fallen_again_is_sent(
    alice: ExecutionConnection, feed: Feed, engine: TradingRuntime, exchange: tuple[str, Server]
) -> None:
    """The remembered minimum refuses nothing until it was read again."""
    _, server = exchange
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    raise_minimum(alice, server, engine, D(6000))
    lower_minimum_again(server, hours=1)
    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert [order.leg for order in Order.objects.exits()] == ["close-1"]


@only_binance
@pytest.mark.usefixtures("lists_are_loaded_each_time")
def test_stop_that_was_held_back_is_sent_once_the_minimum_falls(
    alice: ExecutionConnection, feed: Feed, engine: TradingRuntime, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    raise_minimum(alice, server, engine, D(6000))
    factories.close_signal(signal)
    until(lambda: Order.objects.filter(reason="EXIT_BELOW_MINIMUM").exists())
    pass_a_minute()
    assert (scan_levels(), blocker()) == ([], "EXIT_BELOW_MINIMUM")
    lower_minimum_again(server, hours=1)

    def is_closed() -> bool:
        pass_a_minute()
        enqueue(scan_levels())
        return bool(ExecutionPosition.objects.get().quantity == 0)

    until(is_closed)
    sides = [order.side for order in server.venue.orders if not order.is_level]
    assert sides == ["BUY", "SELL"]


@only_binance
def test_exit_of_an_unsellable_remainder_is_held_back_until_the_balance_is_back(
    alice: ExecutionConnection, feed: Feed, engine: TradingRuntime, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    close_after_own_sale(alice, feed, engine, server, "500")
    until(lambda: DriftItem.objects.filter(kind="QUANTITY_DIFFERS", state="OPEN").exists())
    pass_a_minute()
    until(lambda: Order.objects.filter(leg="close-1", done_at__isnull=False).exists())
    exit_order = Order.objects.get(leg="close-1")
    assert (exit_order.status, exit_order.reason, exit_order.detail) == (
        "CANCELLED", "EXIT_BELOW_MINIMUM", "500 of 5000 EUR/USD at the broker",
    )  # fmt: skip
    for _ in range(3):
        read_at = ExecutionPosition.objects.get().broker_checked_at
        pass_a_minute()
        assert scan_levels() == []
        until(lambda before=read_at: ExecutionPosition.objects.get().broker_checked_at > before)  # type: ignore[misc]
    assert Order.objects.exclude(leg="entry").count() == 1
    assert len(factories.events("exit.delayed")) == len(factories.events("order.cancelled")) == 1
    assert (ExecutionPosition.objects.get().quantity, blocker()) == (5000, "EXIT_BELOW_MINIMUM")

    server.venue.balances["EUR"] = D(5000)  # the owner buys back what was sold
    pass_a_minute()
    assert scan_levels() == []
    until(lambda: ExecutionPosition.objects.get().broker_quantity == 5000)
    assert blocker() == ""

    def is_closed() -> bool:
        """Whether it is closed, after another scan: one leaves out a position in use."""
        enqueue(scan_levels())
        return bool(ExecutionPosition.objects.get().quantity == 0)

    until(is_closed)
    sides = [(order.side, order.filled) for order in server.venue.orders if not order.is_level]
    assert sides == [("BUY", D(5000)), ("SELL", D(5000))]


@only_binance
@pytest.mark.parametrize(
    "left", ["0.4", *(pytest.param(left, marks=pytest.mark.exhaustive) for left in ("0", "20"))]
)
def test_exit_of_a_position_sold_at_the_exchange_ends_after_a_comparison(
    alice: ExecutionConnection,
    feed: Feed,
    engine: TradingRuntime,
    exchange: tuple[str, Server],
    left: str,
) -> None:
    _, server = exchange
    close_after_own_sale(alice, feed, engine, server, left)
    until(lambda: Order.objects.filter(leg="close-1", done_at__isnull=False).exists())
    exit_order = Order.objects.get(leg="close-1")
    assert (exit_order.status, exit_order.reason) == ("CANCELLED", "NOTHING_TO_CLOSE")
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    assert (scan_levels(), factories.events("exit.delayed")) == ([], [])
    assert [order.side for order in server.venue.orders if not order.is_level] == ["BUY"]
