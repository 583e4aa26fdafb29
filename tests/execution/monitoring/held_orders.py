"""Orders that wait for their trigger, and the prices that they follow."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import OrderType, Quote, TimeInForce
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.trigger_monitor import TriggerMonitor
from prices.models import PriceBar
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

BUY_STOP: dict[str, Any] = {"order_type": "STOP", "stop_price": D("1.105")}
SELL_TRAIL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "direction": "SELL",
    "sl": D("1.2"),
}  # fmt: skip
BUY_TRAIL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "sl": D("1.01"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def market_and_limit_only(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker takes market and limit orders, good till cancelled, like a crypto exchange."""
    usual = broker.capabilities
    taken = frozenset({OrderType.MARKET, OrderType.LIMIT})
    times = frozenset({TimeInForce.GTC, TimeInForce.IOC})
    monkeypatch.setattr(
        broker,
        "capabilities",
        lambda spec: replace(usual(spec), order_types=taken, times_in_force=times),
    )


@pytest.fixture
def monitor() -> TriggerMonitor:
    """A monitor whose triggers were armed before its quotes."""
    return TriggerMonitor()


def quotes_of(*bids: str | D, pair: str = "EUR/USD", seconds: float = 0) -> list[Quote]:
    """Return quotes with a spread of one pip."""
    at = market_now() + timedelta(seconds=seconds)
    return [Quote(pair, D(bid), D(bid) + D("0.0001"), at) for bid in bids]


def held(feed: Feed, **fields: Any) -> Order:
    """Publish an entry that the engine holds, and arm it."""
    signal = factories.signal(feed, **fields)
    assert factories.claim_all() == []
    order = Order.objects.get(signal=signal)
    assert (order.status, order.reason) == ("PENDING", "AWAITING_TRIGGER")
    return order


def source(of: ExecutionConnection) -> int:
    assert of.data_connection_id
    return of.data_connection_id


def state() -> tuple[str, str]:
    order = Order.objects.latest("id")
    return order.status, order.reason


def bars(of: ExecutionConnection, count: int, *, minutes: int, low: str, high: str) -> None:
    """Store candles of one minute bar each, the last one complete just now."""
    now = market_now()
    end = now.replace(minute=now.minute // minutes * minutes if minutes < 60 else 0, second=0,
                      microsecond=0)  # fmt: skip
    for back in range(1, count + 1):
        at = end - timedelta(minutes=minutes * back)
        price = dict.fromkeys(("bid_open", "bid_close", "ask_open", "ask_close"), D(low))
        PriceBar.objects.create(
            data_connection_id=source(of), symbol="EUR/USD", minute=at, bid_low=D(low),
            bid_high=D(high), ask_low=D(low), ask_high=D(high), spread_sum=D(0), quote_count=4,
            first_at=at, last_at=at, **price,
        )  # fmt: skip
