"""Which quotes fire an order that the engine holds, and what is then sent."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType, TimeInForce
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import Order, OrderTrigger, PricePeak
from execution.monitoring.trigger_monitor import TriggerMonitor
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.monitoring.held_orders import (
    BUY_STOP,
    BUY_TRAIL,
    SELL_TRAIL,
    held,
    market_and_limit_only,
    monitor,
    quotes_of,
    source,
    state,
)

__all__ = ["market_and_limit_only", "monitor"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]
SELL_STOP: dict[str, Any] = {
    "order_type": "STOP", "stop_price": D("1.095"), "direction": "SELL", "sl": D("1.12"),
}  # fmt: skip


# ---- what fires ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "bids", "price"),
    [
        (BUY_STOP, ["1.1048"], None),
        (BUY_STOP, ["1.1", "1.1049", "1.1"], "1.105"),  # its ask, between two others
        (BUY_STOP, ["1.2"], "1.2001"),  # a gap
        (SELL_STOP, ["1.0951"], None),
        (SELL_STOP, ["1.095"], "1.095"),
        (BUY_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.095")}, ["1.095"], None),
        (BUY_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.095")}, ["1.0949"], "1.095"),
        (SELL_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.11")}, ["1.1099"], None),
        (SELL_STOP | {"order_type": "IF_TOUCHED", "stop_price": D("1.11")}, ["1.11"], "1.11"),
        (SELL_TRAIL, ["1.095"], None),  # 0.0049 below the bid at which it was armed
        (SELL_TRAIL, ["1.0949"], "1.0949"),
        (SELL_TRAIL, ["1.11", "1.1051"], None),
        (SELL_TRAIL, ["1.11", "1.105", "1.12"], "1.105"),  # 0.005 below its best, in one batch
        (SELL_TRAIL, ["1.105", "1.11"], None),
        (BUY_TRAIL, ["1.1048"], None),
        (BUY_TRAIL, ["1.1049"], "1.105"),
        (BUY_TRAIL, ["1.09", "1.0949"], None),
        (BUY_TRAIL, ["1.09", "1.095"], "1.0951"),
    ],
)
def test_price_at_the_trigger_makes_the_order_due(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor,
    fields: dict[str, Any], bids: list[str], price: str | None,
) -> None:  # fmt: skip
    order = held(feed, **fields)
    fired = monitor.process_quotes(source(alice), quotes_of(*bids))
    assert fired == ([order.pk] if price else [])
    trigger = OrderTrigger.objects.get()
    assert trigger.is_armed == (price is None)
    if price:
        assert state() == ("PENDING", "TRIGGERED")
        [outgoing] = factories.claim_all()
        request = outgoing.request
        assert (request.order_type, request.stop_price) == (OrderType.MARKET, None)
        assert factories.log_codes(order.pk)[-2:] == [
            ("TRIGGERED", "PENDING"), ("INTENT", "SUBMITTING"),
        ]  # fmt: skip


def test_stop_limit_is_sent_as_a_limit_order_when_it_is_triggered(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    until = market_now() + timedelta(hours=1)
    held(
        feed, order_type="STOP_LIMIT", stop_price=D("1.105"), open_price=D("1.106"),
        time_in_force="GTD", valid_until=until,
    )  # fmt: skip
    assert monitor.process_quotes(source(alice), quotes_of("1.1049"))
    [outgoing] = factories.claim_all()
    request = outgoing.request
    assert (request.order_type, request.limit_price) == (OrderType.LIMIT, D("1.106"))
    assert (request.stop_price, request.time_in_force) == (None, TimeInForce.GTC)


def test_other_pairs_and_sources_fire_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    assert monitor.process_quotes(source(alice) + 1, quotes_of("1.2")) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.2", pair="GBP/USD")) == []


def test_trigger_fires_once(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    assert len(monitor.process_quotes(source(alice), quotes_of("1.2"))) == 1
    assert monitor.process_quotes(source(alice), quotes_of("1.2")) == []
    assert TriggerMonitor().process_quotes(source(alice), quotes_of("1.2")) == []
    assert len(factories.claim_all()) == 1
    assert factories.claim_all() == []


def test_age_of_the_order_counts_from_its_trigger(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    """Its signal is hours old by then; a market entry may be 60 seconds old."""
    order = held(feed, **BUY_STOP)
    Signal.objects.update(published_at=market_now() - timedelta(hours=5))
    factories.claim_all()
    assert state() == ("PENDING", "AWAITING_TRIGGER")
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    Order.objects.filter(pk=order.pk).update(retried_at=market_now() - timedelta(seconds=62))
    factories.claim_all()
    assert state() == ("DENIED", "SIGNAL_TOO_OLD")


def test_order_fired_late_is_sent(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    Signal.objects.update(published_at=market_now() - timedelta(hours=5))
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    assert len(factories.claim_all()) == 1


def test_limits_are_checked_when_it_fires(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    type(alice.preset).objects.update(allowed_symbols=["USD/JPY"])  # type: ignore[union-attr]
    monitor.process_quotes(source(alice), quotes_of("1.2"))
    factories.claim_all()
    assert state() == ("DENIED", "SYMBOL_NOT_ALLOWED")


# ---- what trailing stops follow -----------------------------------------------------------------
def test_trailing_stop_follows_over_many_batches(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **SELL_TRAIL)
    for number, bid in enumerate(("1.101", "1.11", "1.1051", "1.12", "1.118", "1.1151")):
        assert monitor.process_quotes(source(alice), quotes_of(bid, seconds=number)) == []
    assert PricePeak.objects.get().price == D("1.12")
    assert len(monitor.process_quotes(source(alice), quotes_of("1.115", seconds=9))) == 1


def test_another_process_goes_on_from_the_stored_peak(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.12"))
    monitor.process_quotes(source(alice), quotes_of("1.117"))
    successor = TriggerMonitor()
    assert successor.process_quotes(source(alice), quotes_of("1.1151")) == []
    assert len(successor.process_quotes(source(alice), quotes_of("1.115"))) == 1


def test_trailing_stop_does_not_follow_prices_from_before_it(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    first = held(feed, **SELL_TRAIL)
    monitor.process_quotes(source(alice), quotes_of("1.12"))
    factories.quote(alice, "1.118")
    second = held(feed, **SELL_TRAIL)
    assert monitor.process_quotes(source(alice), quotes_of("1.115")) == [first.pk]
    assert PricePeak.objects.count() == 2
    assert monitor.process_quotes(source(alice), quotes_of("1.1131")) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.113")) == [second.pk]


@pytest.mark.parametrize(
    ("bids", "fires"),
    [
        ([["1.1099"], ["1.1049"]], False),  # never activated
        ([["1.11"], ["1.1051"]], False),
        ([["1.11"], ["1.105"]], True),
        ([["1.1149", "1.11"]], False),  # 0.0049 below its best
        ([["1.1149", "1.1099"]], True),
        ([["1.1", "1.115", "1.11"]], True),  # activated, then hit, in one batch
        ([["1.105", "1.1", "1.11", "1.1051"]], False),  # the fall was before the activation
        ([["1.11"], ["1.13"], ["1.1251"]], False),
        ([["1.11"], ["1.13"], ["1.125"]], True),
    ],
)
def test_trailing_stop_with_an_activation_price_follows_from_there(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor,
    bids: list[list[str]], fires: bool,
) -> None:  # fmt: skip
    held(feed, **SELL_TRAIL, activation_price=D("1.11"))
    fired = []
    for number, batch in enumerate(bids):
        fired += monitor.process_quotes(source(alice), quotes_of(*batch, seconds=number))
    assert bool(fired) == fires


# ---- what does not fire -------------------------------------------------------------------------
def test_quote_from_before_an_earlier_one_fires_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    monitor.process_quotes(source(alice), quotes_of("1.1"))
    assert monitor.process_quotes(source(alice), quotes_of("1.2", seconds=-1)) == []


def test_quotes_from_before_it_was_armed_fire_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    held(feed, **BUY_STOP)
    assert monitor.process_quotes(source(alice), quotes_of("1.2"), waited=60) == []
