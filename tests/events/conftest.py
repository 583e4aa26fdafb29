"""Fixtures for tests of events: users, keys, and a receiver of webhooks."""

import ipaddress
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from common.sealing import new_private_key, public_key_of
from tests.analytics import factories
from tests.events.receiver import Receiver, receiver
from tests.operational import set_setting
from users.models import User


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    set_setting("networks.outbound_networks", (ipaddress.ip_network("127.0.0.1/32"),))


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def alice(db: None) -> User:
    return factories.user()


@pytest.fixture
def bob(db: None) -> User:
    return factories.user("bob")


@pytest.fixture
def operator(db: None) -> User:
    return factories.user("olga", is_staff=True)
