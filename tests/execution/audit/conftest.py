"""A signal that was filled on two accounts and skipped on a third."""

import pytest

from connections.models import ExecutionConnection
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.kept_rows import kept_rows


def _add(alice: ExecutionConnection) -> tuple[ExecutionConnection, ExecutionConnection]:
    return (
        factories.account(Feed.objects.get(), is_paused=True),
        factories.account(user=None, admin=make.user()),
    )


_others = kept_rows(_add, on="_alice")


@pytest.fixture
def bob(_others: tuple[ExecutionConnection, ...]) -> ExecutionConnection:
    """Paused: a candidate that is skipped."""
    return _others[0]


@pytest.fixture
def admins(_others: tuple[ExecutionConnection, ...]) -> ExecutionConnection:
    """An administrator's own account: takes every signal without a subscription."""
    return _others[1]


@pytest.fixture
def signal(
    alice: ExecutionConnection, bob: ExecutionConnection, admins: ExecutionConnection, feed: Feed
) -> Signal:
    """Filled on alice's and the admin's account, skipped on bob's."""
    published = factories.signal(feed)
    factories.fill_all()
    return published
