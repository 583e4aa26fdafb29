"""Fixtures: a position on both sides, its owner, and one with levels moved at the broker."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from users.models import User


@pytest.fixture
def position(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> ExecutionPosition:
    """A position of 100 EUR/USD, ours and the broker's."""
    found = factories.filled(factories.signal(feed))
    factories.pass_time(1)
    return found


@pytest.fixture
def owner(alice: ExecutionConnection) -> User:
    found = alice.user
    assert found is not None
    return found


@pytest.fixture
def moved(
    feed: Feed, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> ExecutionPosition:
    """A position whose stop its owner has moved at the broker from 1.09 to 1.085."""
    factories.account(feed, settings={"native_stops": True})
    position = factories.filled(factories.signal(feed))
    factories.pass_time(1)
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=D("1.08500"))
    return position
