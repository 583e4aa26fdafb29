"""A signal that was filled on two accounts and skipped on a third."""

import pytest

from connections.models import ExecutionConnection
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import cast
from tests.execution.double import Double


@pytest.fixture
def bob(feed: Feed, broker: Double) -> ExecutionConnection:
    """Paused: a candidate that is skipped."""
    return cast.account(feed, is_paused=True)


@pytest.fixture
def admins(feed: Feed, broker: Double) -> ExecutionConnection:
    """An administrator's own account: takes every signal without a subscription."""
    return cast.account(user=None, admin=make.user())


@pytest.fixture
def signal(
    alice: ExecutionConnection, bob: ExecutionConnection, admins: ExecutionConnection, feed: Feed
) -> Signal:
    """Filled on alice's and the admin's account, skipped on bob's."""
    published = cast.signal(feed)
    cast.fill_all()
    return published
