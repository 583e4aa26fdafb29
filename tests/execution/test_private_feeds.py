"""A tenant's private feed needs no approval, so it trades on the tenant's accounts only."""

import pytest

from execution.audit.counters import audit
from execution.models import Order
from signals.feeds.services import create_feed, update_feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(broker: FakeBroker) -> User:
    """An operator with an operator account."""
    factories.instrument()
    admin = make.user(is_staff=True)
    factories.account(user=None, admin=admin)
    return admin


def candidates(owner: User, *, is_public: bool) -> int:
    feed = create_feed(owner=owner, name="by hand", is_public=is_public, is_approved=True)
    return factories.signal(feed).candidate_count or 0


def test_private_feed_of_a_tenant_does_not_reach_operator_accounts(admin: User) -> None:
    assert candidates(make.user(), is_public=False) == 0
    assert not Order.objects.exists()


def test_private_feed_of_an_operator_reaches_operator_accounts(admin: User) -> None:
    assert candidates(admin, is_public=False) == 1


def test_public_feed_reaches_operator_accounts(admin: User) -> None:
    assert candidates(make.user(), is_public=True) == 1


def test_audit_uses_the_feeds_visibility_at_publication(admin: User) -> None:
    feed = create_feed(owner=make.user(), name="by hand", is_public=False, is_approved=True)
    factories.signal(feed)
    update_feed(feed.pk, by=admin, is_public=True, is_approved=True)
    factories.signal(feed)
    report = audit()
    assert (report.ok, report.signals, report.candidates) == (True, 2, 1)
