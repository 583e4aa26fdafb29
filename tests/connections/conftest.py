"""Keys of a test run, who owns accounts, and a second connection to the same database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from django.db import connection as database
from pytest_django import Settings

from common.sealing import new_private_key, public_key_of
from tests.connections import make
from tests.connections.fake_brokers import Broker
from users.models import User

PRIVATE = new_private_key()


@pytest.fixture(autouse=True)
def keys(settings: Settings) -> bytes:
    """A trading process: it seals and opens."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(PRIVATE)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (PRIVATE,)
    return PRIVATE


@pytest.fixture
def web(settings: Settings) -> Callable[[], None]:
    """Become a web process: it seals and cannot open."""

    def become() -> None:
        settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = ()

    return become


@pytest.fixture
def broker() -> Broker:
    """A broker whose answers the test sets."""
    return Broker()


@pytest.fixture
def alice(db: None) -> User:
    return make.user("alice")


@pytest.fixture
def mallory(db: None) -> User:
    return make.user("mallory")


@contextmanager
def elsewhere(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run `work` at the same time on another database connection; its results, or its error."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)
        finally:
            database.close()

    thread = Thread(target=run, daemon=True)
    thread.start()
    yield outcome
    thread.join(timeout=60)
    assert not thread.is_alive(), "the other process never came through"
