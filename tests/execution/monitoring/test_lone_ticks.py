"""A lone bad tick closes no position; a move that a second quote confirms does."""

from decimal import Decimal as D

import pytest

from brokers.types import Quote
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.tick_monitor import TickMonitor
from prices.quote_intake import QuoteIntake
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("bids", "exits"),
    [
        (["1.1000", "0.5500", "1.1001"], []),
        (["1.1000", "2.2000", "1.1001"], []),
        (["1.1000", "0.5500", "0.5501"], ["sl"]),
        (["1.1000", "2.2000", "2.2001"], ["tp-1"]),
        (["1.1000", "1.0899"], ["sl"]),
    ],
)
def test_position_is_closed_by_confirmed_prices_only(
    alice: ExecutionConnection, feed: Feed, bids: list[str], exits: list[str]
) -> None:
    position = factories.filled(factories.signal(feed, [("1.12", "1")]))
    factories.pass_time(1)
    assert position.price_source_id is not None
    intake, monitor = QuoteIntake({"EUR/USD": "EURUSD"}, {}), TickMonitor()
    for bid in bids:
        assert intake.accept(Quote("EUR/USD", D(bid), D(bid) + D("0.0002"), market_now()))
        monitor.process_quotes(position.price_source_id, intake.take_accepted())
    assert list(Order.objects.exits().values_list("leg", flat=True)) == exits
