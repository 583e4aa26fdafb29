"""What tests of analytics share: the market clock afterwards, a feed, and a price source."""

from collections.abc import Iterator

import pytest

from common.clocks import set_market_clock
from connections.models import DataConnection
from signals.models import Feed
from users.models import User


@pytest.fixture(autouse=True)
def real_clock_after() -> Iterator[None]:
    """Tests set the market clock; the next test has the real one."""
    yield
    set_market_clock(None)


@pytest.fixture
def feed(db: None) -> Feed:
    owner = User.objects.create_user("paula")
    return Feed.objects.create(slug="majors", name="Majors", owner=owner, is_approved=True)


@pytest.fixture
def source(db: None) -> DataConnection:
    return DataConnection.objects.create(name="Recorded quotes")
