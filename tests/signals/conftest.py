"""Fixtures of the signal tests: a provider with an approved and an unapproved feed."""

import pytest

from common.permissions import Role
from signals.feeds.services import create_feed
from signals.models import Feed
from tests.kept_rows import kept_rows
from tests.roles import staff
from users.models import User

provider = kept_rows(lambda: User.objects.create_user("paula"))


@pytest.fixture
def operator(db: None) -> User:
    return staff(Role.OPERATOR, name="olga")


def _feed(provider: User) -> Feed:
    """Return a feed whose signals need no approval by an operator."""
    return create_feed(owner=provider, name="Majors", is_approved=True)


feed = kept_rows(_feed, on="provider")


@pytest.fixture
def unapproved(provider: User) -> Feed:
    return create_feed(owner=provider, name="Newcomer")
