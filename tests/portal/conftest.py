"""Fixtures of the portal's tests: most pages are requested under the web process's role."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.test import Client, override_settings
from nacl.public import PrivateKey

from common.sealing import new_private_key, public_key_of
from events import delivery
from events.confirmation import code_of, confirm
from events.models import Channel, Event
from events.services import create_channel
from signals.models import Feed
from tests.kept_rows import kept_rows
from tests.portal.factories import World
from users.mails import account_mails
from users.models import User

QUICK = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SignedIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def public_key(settings: Any) -> None:
    """Set the public key only, as in the web process."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hash passwords fast: each test creates five users, and the slow hash is not tested here."""
    settings.PASSWORD_HASHERS = QUICK


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what would be enqueued; no message leaves the test."""
    messages: list[Any] = []

    def enqueue(ids: Any, queue: str = "execution", **_: Any) -> None:
        messages.append((ids, queue))

    monkeypatch.setattr("execution.tasks.enqueue", enqueue)
    monkeypatch.setattr("connections.tasks.enqueue_test", messages.append)
    monkeypatch.setattr(
        "execution.tasks.process_pending_actions.apply_async",
        lambda *_, **__: messages.append("pending actions"),
    )
    monkeypatch.setattr(
        "execution.tasks._enqueue_reconciliation", lambda: messages.append("reconciliation")
    )
    return messages


def _build_world() -> World:
    with override_settings(PASSWORD_HASHERS=QUICK):
        return World()


world = kept_rows(_build_world)


@pytest.fixture
def email_channel(world: World, settings: Any) -> Channel:
    """Return Alice's confirmed e-mail channel, with the private key that opens its sealed URL."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_PUBLIC_URL = "https://fillcast.example.com"
    channel = create_channel(user_id=world.alice.pk, name="mail", url="mailto:alice@example.com")
    confirm(channel.pk, code_of(channel))
    Event.objects.all().delete()
    return channel


@pytest.fixture
def sends(inline_commits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mails and messages be sent in a test that rolls back.

    They are sent outside of transactions only; the test's own is none to the code under test.
    """
    depth = len(connection.atomic_blocks)

    def get_connection(using: str | None = None) -> Any:
        return SimpleNamespace(in_atomic_block=len(connection.atomic_blocks) > depth)

    seen = SimpleNamespace(**vars(transaction) | {"get_connection": get_connection})
    for module in (account_mails, delivery):
        monkeypatch.setattr(module, "transaction", seen)


@pytest.fixture
def workers(world: World) -> None:
    """Start the workers of the accounts that need one. Request it before `as_web`."""
    world.start_workers()


@pytest.fixture
def private_feeds(world: World) -> None:
    """Give Alice and Bob a feed of their own each."""
    for owner in (world.alice, world.bob):
        slug = f"of-{owner.username}"
        Feed.objects.create(slug=slug, name=slug, owner=owner, is_public=False)


@pytest.fixture
def signed_in() -> SignedIn:
    """Return a function that returns a client with a user's session."""

    def client_of(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return client_of


def as_web_process(client: Client) -> Client:
    """Let this client's requests run under the web process's role, the test itself as before."""
    send = client.request

    def request(**environ: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE fillcast_web")
        try:
            return send(**environ)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")

    client.request = request  # type: ignore[method-assign]
    return client


@pytest.fixture
def as_web(world: World) -> Iterator[None]:
    """Switch to the web process's role, after the world is written: row-level security applies.

    Also on new connections: one that checks a password gives its own back meanwhile.
    """

    def set_role(**_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE fillcast_web")

    set_role()
    connection_created.connect(set_role)
    yield
    connection_created.disconnect(set_role)
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
