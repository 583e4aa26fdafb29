"""The portal is always asked as in production: under the web process's role."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from nacl.public import PrivateKey

from common.sealing import new_private_key, public_key_of
from events.confirmation import code_of, confirm
from events.models import Channel, Event
from events.services import create_channel
from tests.kept_rows import kept_rows
from tests.portal.factories import World
from users.models import User

QUICK = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SignedIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def a_key(settings: Any) -> None:
    """What seals is set, as in the web process; what opens is not."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Five people are written for each test; the slow hash is not what is tested."""
    settings.PASSWORD_HASHERS = QUICK


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Which bells were rung; no message leaves the test."""
    heard: list[Any] = []

    def ring(ids: Any, queue: str = "execution", lanes: Any = None) -> None:
        heard.append((ids, queue))

    monkeypatch.setattr("execution.tasks.enqueue", ring)
    monkeypatch.setattr("connections.tasks.enqueue_test", heard.append)
    monkeypatch.setattr(
        "execution.tasks.process_pending_actions.apply_async",
        lambda *_, **__: heard.append("wishes"),
    )
    monkeypatch.setattr(
        "execution.tasks._enqueue_reconciliation", lambda: heard.append("comparison")
    )
    return heard


def _write_world() -> World:
    with override_settings(PASSWORD_HASHERS=QUICK):
        return World()


world = kept_rows(_write_world)


@pytest.fixture
def mailbox(world: World, settings: Any) -> Channel:
    """Alice's confirmed e-mail channel, on a machine that can open what is sealed."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_PUBLIC_URL = "https://fillcast.example.com"
    made = create_channel(user_id=world.alice.pk, name="mail", url="mailto:alice@example.com")
    confirm(made.pk, code_of(made))
    Event.objects.all().delete()
    return made


@pytest.fixture
def workers(world: World) -> None:
    """Accounts that need a worker of their own have one. Before `as_web`."""
    world.start_workers()


@pytest.fixture
def signed_in() -> SignedIn:
    """A client with this user's session."""

    def client_of(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return client_of


@pytest.fixture
def as_web(world: World) -> Iterator[None]:
    """The world is written; from here on row-level security holds."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
