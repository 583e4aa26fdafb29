"""Fixtures of the console's tests: a world with known counts, a small one, and pages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from connections.models import Subscription
from signals.models import Feed
from tests.console import seed
from tests.html import html_of
from tests.kept_rows import kept_rows
from users.models import User

# A hundred connections; the first signal's candidates are seed.COUNTS.
world = kept_rows(seed.seed)


def build_small() -> dict[str, Any]:
    """Create ten connections and an unpublished signal, for tests that do not need exact counts."""
    provider = User.objects.create_user("provider-1")
    feed = Feed.objects.create(slug="swing", name="Swing", owner=provider, is_approved=True)
    accounts = seed.connections(seed.tenants(2), 10)
    Subscription.objects.bulk_create(
        Subscription(connection=account, feed=feed) for account in accounts
    )
    waiting = seed.signal(feed, direction="BUY", sl=seed.D("1.37"), target_prices=[seed.D("1.40")])
    return {
        "feed": feed, "connections": accounts, "waiting": waiting, "provider": provider,
        "operator": seed.operator(),
    }  # fmt: skip


small = kept_rows(build_small)


@pytest.fixture
def page(client: Client) -> Callable[..., str]:
    """Return a function that opens an address and returns its HTML; the status must be 200."""

    def open_page(path: str, **query: str) -> str:
        response = client.get(path, query)
        assert response.status_code == 200, (path, response.status_code, response.headers)
        return html_of(response)

    return open_page


@contextmanager
def statements() -> Iterator[list[str]]:
    """Record every SQL statement, with and without the ORM."""
    from psycopg import Cursor

    sent: list[str] = []
    original_execute = Cursor.execute

    def recording_execute(self: Any, query: Any, *rest: Any, **more: Any) -> Any:
        sent.append(str(query)[:200])
        return original_execute(self, query, *rest, **more)

    connection.ensure_connection()
    Cursor.execute = recording_execute  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        Cursor.execute = original_execute  # type: ignore[method-assign]
