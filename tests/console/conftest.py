"""The console's cast: a world with known counts, and who looks at it."""

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


def _write_small() -> dict[str, Any]:
    """Ten connections and one signal that waits: enough for what does not count."""
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


small = kept_rows(_write_small)


@pytest.fixture
def page(client: Client) -> Callable[..., str]:
    """Open an address and return its HTML; it must answer 200."""

    def open_page(path: str, **asked: str) -> str:
        response = client.get(path, asked)
        assert response.status_code == 200, (path, response.status_code, response.headers)
        return html_of(response)

    return open_page


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that is sent, by the ORM or beside it."""
    from psycopg import Cursor

    sent: list[str] = []
    plain = Cursor.execute

    def noted(self: Any, query: Any, *rest: Any, **more: Any) -> Any:
        sent.append(str(query)[:200])
        return plain(self, query, *rest, **more)

    connection.ensure_connection()
    Cursor.execute = noted  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        Cursor.execute = plain  # type: ignore[method-assign]
