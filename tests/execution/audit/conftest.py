"""A signal that was filled on two accounts and skipped on a third."""

import pytest

from connections.models import ExecutionConnection
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker


@pytest.fixture
def bob(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """Paused: a candidate that is skipped."""
    return factories.account(feed, is_paused=True)


@pytest.fixture
def admins(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """An administrator's own account: takes every signal without a subscription."""
    return factories.account(user=None, admin=make.user())


@pytest.fixture
def signal(
    alice: ExecutionConnection, bob: ExecutionConnection, admins: ExecutionConnection, feed: Feed
) -> Signal:
    """Filled on alice's and the admin's account, skipped on bob's."""
    published = factories.signal(feed)
    factories.fill_all()
    return published
