"""A resting order whose price the market has reached: the server refuses it, so it is not sent."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.mt5.adapter import Mt5Adapter, capabilities_of
from brokers.types import OrderType, PositionMode, Side, TimeInForce
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import order, spec, submit
from tests.mt5.test_audit import LOGIN, alice, engine

__all__ = ["alice", "engine"]


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP])
def test_the_server_refuses_what_the_capabilities_name(
    venue: FakeTerminal, adapter: Mt5Adapter, side: Side, kind: OrderType
) -> None:
    """The bid is 1.1, the ask 1.1001."""
    is_above = (side is Side.BUY) == (kind is OrderType.LIMIT)
    name = "limit_price" if kind is OrderType.LIMIT else "stop_price"
    own: dict[str, Any] = {name: D("1.11") if is_above else D("1.09")}
    reached = order(side=side, order_type=kind, time_in_force=TimeInForce.GTC, **own)
    with pytest.raises(Rejected) as refused:
        submit(adapter, reached)
    assert refused.value.code == Code.PRICE_INVALID
    assert kind in adapter.capabilities(spec()).refuses_reached


def test_an_exchange_takes_a_limit_order_that_fills_at_once() -> None:
    refused = capabilities_of(spec(), PositionMode.NETTING).refuses_reached
    assert refused == {OrderType.STOP, OrderType.STOP_LIMIT}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_it_is_denied_and_nothing_is_sent(
    engine: TradingRuntime, alice: ExecutionConnection, venue: FakeTerminal
) -> None:
    factories.signal(Feed.objects.get(), order_type="STOP", stop_price=D("1.09500"))
    until(lambda: Order.objects.get().done_at is not None)
    found = Order.objects.get()
    assert (found.status, found.reason) == ("DENIED", "PRICE_WRONG_SIDE")
    assert found.detail == "BUY STOP 1.095, and the market is at 1.1001"
    assert venue.accepted(LOGIN) == []
