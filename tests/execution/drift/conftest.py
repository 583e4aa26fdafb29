"""A position that both sides have, its owner, and one whose levels were moved at the broker."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection
from execution.calls import runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from users.models import User


@pytest.fixture
def position(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double
) -> ExecutionPosition:
    """100 EUR/USD, ours and the broker's."""
    found = cast.filled(cast.signal(feed))
    cast.pass_time(1)
    return found


@pytest.fixture
def owner(alice: ExecutionConnection) -> User:
    found = alice.user
    assert found is not None
    return found


@pytest.fixture
def moved(feed: Feed, wire: runtime.Runtime, broker: Double) -> ExecutionPosition:
    """A position whose stop its owner has moved at the broker from 1.09 to 1.085."""
    cast.account(feed, settings={"native_stops": True})
    position = cast.filled(cast.signal(feed))
    cast.pass_time(1)
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=D("1.08500"))
    return position
