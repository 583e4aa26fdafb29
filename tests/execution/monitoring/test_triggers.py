"""Entries that the engine holds: how their triggers are armed at the claim."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import Order, OrderTrigger
from prices.models import LatestQuote, PriceBar
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.monitoring.held_orders import (
    BUY_STOP,
    BUY_TRAIL,
    SELL_TRAIL,
    bars,
    held,
    market_and_limit_only,
    source,
    state,
)

__all__ = ["market_and_limit_only"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]


def test_stop_that_the_broker_lacks_waits_for_its_trigger(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = held(feed, **BUY_STOP)
    trigger = order.trigger
    assert (trigger.kind, trigger.sent_as, trigger.level) == ("STOP", "MARKET", D("1.105"))
    assert (trigger.source_id, trigger.pair, trigger.side) == (source(alice), "EUR/USD", "BUY")
    assert trigger.is_armed
    assert (order.client_order_id, order.quantity) == (None, None)
    assert factories.log_codes(order.pk)[-1] == ("AWAITING_TRIGGER", "PENDING")


def test_stop_that_the_broker_has_is_sent_to_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = broker.capabilities
    monkeypatch.setattr(
        broker, "capabilities", lambda spec: replace(claims(spec), order_types=frozenset(OrderType))
    )
    factories.signal(feed, **BUY_STOP)
    [outgoing] = factories.claim_all()
    assert outgoing.request.order_type is OrderType.STOP
    assert not OrderTrigger.objects.exists()


@pytest.mark.parametrize(
    ("fields", "level", "distance"),
    [
        (SELL_TRAIL, "1.0949", "0.005"),  # 0.005 below the bid
        (BUY_TRAIL, "1.105", "0.005"),  # 0.005 above the ask
        (SELL_TRAIL | {"trail_distance": None, "trail_pips": D(20)}, "1.0979", "0.002"),
        (BUY_TRAIL | {"trail_distance": None, "trail_percent": D(1)}, "1.111", "0.011"),
        (SELL_TRAIL | {"activation_price": D("1.11")}, None, "0.005"),
        (
            SELL_TRAIL
            | {"trail_distance": None, "trail_percent": D(1), "activation_price": D("1.2")},
            None, "0.012",
        ),
    ],
)  # fmt: skip
def test_trailing_distance_is_fixed_when_it_is_armed(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], level: str | None, distance: str
) -> None:
    trigger = held(feed, **fields).trigger
    assert trigger.level == (None if level is None else D(level))
    assert trigger.distance == D(distance)
    assert (trigger.active_since is None) == (level is None)


BY_ATR = SELL_TRAIL | {"trail_distance": None, "trail_atr": D("1.5")}


@pytest.mark.parametrize(
    ("minutes", "high", "distance"),
    [
        (None, "1.102", "0.003"),
        (15, "1.102", "0.003"),
        (None, "1.10201", "0.00302"),  # 0.003015, to whole ticks
        (None, "1.10000001", "0.00001"),  # at least one
    ],
)
def test_distance_in_atr_is_fixed_when_it_is_armed(
    alice: ExecutionConnection, feed: Feed, minutes: int | None, high: str, distance: str
) -> None:
    bars(alice, 15, minutes=minutes or 60, low="1.1", high=high)
    trigger = held(feed, **BY_ATR, trail_atr_minutes=minutes).trigger
    assert trigger.distance == D(distance)
    PriceBar.objects.update(bid_high=D(2))
    Order.objects.update(due_at=market_now() - timedelta(seconds=1))
    assert factories.claim_all() == []
    trigger.refresh_from_db()
    assert trigger.distance == D(distance)


@pytest.mark.parametrize(
    ("count", "high", "detail"),
    [
        (14, "1.102", "EUR/USD: 14 of 15 candles of 60 min"),
        (0, "1.102", "EUR/USD: 0 of 15 candles of 60 min"),
        (15, "1.1", "EUR/USD: 15 of 15 candles of 60 min"),  # the price has not moved
    ],
)
def test_distance_in_atr_without_enough_prices_is_denied(
    alice: ExecutionConnection, feed: Feed, count: int, high: str, detail: str
) -> None:
    bars(alice, count, minutes=60, low="1.1", high=high)
    factories.signal(feed, **BY_ATR)
    assert factories.claim_all() == []
    assert state() == ("DENIED", "ATR_UNKNOWN")
    assert Order.objects.latest("id").detail == detail


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (SELL_TRAIL | {"activation_price": D("1.0999")}, "ACTIVATION_REACHED"),  # the bid
        (BUY_TRAIL | {"activation_price": D("1.1")}, "ACTIVATION_REACHED"),  # the ask
        (SELL_TRAIL | {"trail_distance": D("1.0999")}, "TRAIL_TOO_WIDE"),
        (SELL_TRAIL | {"trail_distance": D("0.0000001")}, "DISTANCE_BELOW_TICK"),
        (BUY_TRAIL | {"trail_distance": None, "trail_pips": D("0.09")}, "DISTANCE_BELOW_TICK"),
        (BUY_TRAIL | {"trail_distance": None, "trail_percent": D("1E-7")}, "DISTANCE_BELOW_TICK"),
        (BUY_STOP | {"time_in_force": "DAY"}, "ORDER_TYPE_UNSUPPORTED"),
        (BUY_STOP | {"time_in_force": "FOK"}, "ORDER_TYPE_UNSUPPORTED"),
        (BUY_STOP | {"sl": D("1.10499")}, None),
    ],
)
def test_trigger_that_cannot_be_right_is_denied_at_once(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], reason: str | None
) -> None:
    Feed.objects.update(max_price_deviation_percent=None)  # its guard refuses such distances
    LatestQuote.objects.update(received_at=market_now() - timedelta(days=5))  # nothing to compare
    factories.signal(feed, **fields)
    factories.quote(alice)
    factories.claim_all()
    assert state() == (("DENIED", reason) if reason else ("PENDING", "AWAITING_TRIGGER"))


def test_distance_is_armed_in_whole_ticks_rounded_up(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = held(feed, **SELL_TRAIL | {"trail_distance": None, "trail_percent": D("0.1")})
    assert order.trigger.distance == D("0.00110")  # of 1.0999: 0.0010999
    assert order.trigger.level == D("1.0988")


@pytest.mark.parametrize(
    "fields",
    [
        SELL_TRAIL | {"activation_price": D("1.09991")},
        BUY_TRAIL | {"activation_price": D("1.09999")},
        SELL_TRAIL | {"trail_distance": D("1.09989")},
        BUY_STOP | {"time_in_force": "IOC"},
        BUY_STOP | {"time_in_force": "GTD", "valid_until": market_now() + timedelta(hours=1)},
    ],
)
def test_trigger_at_the_edge_is_armed(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any]
) -> None:
    Feed.objects.update(max_price_deviation_percent=None)
    held(feed, **fields)
