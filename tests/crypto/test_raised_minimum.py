"""An exchange raises its smallest amount while a position is open: the coins are still there."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection, Instrument
from connections.testing import run_test
from execution.calls.runtime import Runtime
from execution.drift.reconcile import reconcile
from execution.models import DriftItem, Fill, Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.crypto.test_engine import adapter, alice, engine, exchange, feed, is_compared, until
from tests.doubles.exchange.server import Server
from tests.execution import cast

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def raise_minimum(of: ExecutionConnection, server: Server, engine: Runtime, least: D) -> None:
    """The exchange's list has another smallest amount, and the connection test reads it."""
    venue = server.venue
    (symbol,) = venue.markets
    venue.markets[symbol] = replace(venue.markets[symbol], least=least)
    engine.wire.ask(adapter().disconnect(), 30)
    assert [one for one in run_test(of.pk) if one.result == "fail"] == []
    assert Instrument.objects.get().close_min == least
    until(lambda: is_compared(of))


def compare(of: ExecutionConnection) -> None:
    """Compare twice, with the time between that a second read must have."""
    reconcile([of.pk])
    cast.pass_time(6)
    reconcile([of.pk])


def test_position_below_a_raised_minimum_stays_open_until_its_balance_goes(
    alice: ExecutionConnection, feed: Feed, engine: Runtime, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    cast.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    raise_minimum(alice, server, engine, D(6000))
    compare(alice)
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.close_reason) == (5000, "")
    assert Order.objects.count() == Fill.objects.count() == 1
    assert not DriftItem.objects.exists()

    server.venue.balances["EUR"] = D("0.4")  # the owner sells it at the exchange
    until(lambda: reconcile([alice.pk]) is not None
          and ExecutionPosition.objects.get().quantity == 0)  # fmt: skip
    position = ExecutionPosition.objects.get()
    assert position.close_reason == "external_close"
    assert Order.objects.get(leg="external-1").filled_quantity == 5000
