"""End to end: the exchange closes less than an exit asks for, because less is open there."""

from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection
from execution.models import Order
from execution.reconciliation.reconcile import reconcile
from execution.recovery.stale_orders import resolve_stuck
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.crypto.engine.test_engine_levels import account, engine, feed, server
from tests.execution import factories
from tests.fakes.exchange.server import Server
from tests.until import until

__all__ = ["account", "engine", "feed", "server"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.parametrize("server", ["binance"], indirect=True),
]


def test_exit_that_the_exchange_shortens_ends_with_its_fill(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    """Of 2 the exchange has 0.5, and lists no execution of the rest yet."""
    server.venue.shortens_exits, server.venue.max_conditional = "amount", 0
    signal = factories.signal(feed, currency_pair="BTC/USDT", sl=D(45000))
    until(lambda: ExecutionPosition.objects.filter(sl_guardian="ENGINE", quantity=2).exists())
    server.venue.positions["BTCUSDT", "BOTH"].amount = D("0.5")
    factories.close_signal(signal)
    ended = Order.objects.filter(leg="close-1", filled_quantity=D("0.5"), status="CANCELLED")
    until(lambda: ended.exists())  # the stream may report the fill before the answer does
    assert ended.get().reason == "EXIT_SHORTENED"
    factories.pass_time(1000)
    resolve_stuck()
    assert not Order.objects.filter(reason__startswith="STUCK").exists()
    until(lambda: reconciled(account) == 0)
    assert [one.filled for one in server.venue.orders if one.side == "SELL"] == [D("0.5")]


def reconciled(account: ExecutionConnection) -> D:
    """Compare the account again; return what is still open."""
    factories.pass_time(6)
    reconcile([account.pk])
    return D(ExecutionPosition.objects.get().quantity)
