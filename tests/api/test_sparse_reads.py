"""`?fields=`: what was not asked for is neither computed nor read from the database."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api.factories import World


def statements(world: World, path: str, fields: str = "") -> list[str]:
    client = world.client("alice")
    asked = f"/api/v1/{path}" + (f"?fields={fields}" if fields else "")
    client.get(asked)  # what is read once in a process
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(asked)
    assert answer.status_code == 200, answer.content
    return [query["sql"] for query in captured.captured_queries]


# path, the fields asked for, how many statements fewer that takes, what none of them mentions
CASES: dict[str, tuple[str, str, int, str]] = {
    "orders, without a reason": ("orders/", "id,status", 0, "execution_executionlog"),
    "orders, without the state of a position": (
        "orders/", "id,reason", 0, '"positions_executionposition"'
    ),
    "one order": ("orders/{filled}/", "id,status", 3, '"execution_fill"'),
    "positions": ("positions/", "id,pair,stop_loss", 0, "prices_latestquote"),
    "positions, without R": ("positions/", "id,current_price", 0, '"execution_order"'),
    "one position": ("positions/{position}/", "id,quantity", 0, "prices_latestquote"),
    "connections": ("connections/", "id,name", 0, "execution_order"),
    "keys": ("api-keys/", "id,name", 1, "users_apikeynetwork"),
    "channels": ("channels/", "id,name", 1, "events_delivery"),
    "subscriptions": ("subscriptions/", "id,feed", 1, "connections_subscriptionroute"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_was_not_asked_for_is_not_read(world: World, case: str) -> None:
    path, fields, fewer, unread = CASES[case]
    path = path.format(filled=world.filled.pk, position=world.position.pk)
    every, some = statements(world, path), statements(world, path, fields)
    assert any(unread in sql for sql in every), "the whole answer reads it"
    assert not any(unread in sql for sql in some)
    assert len(every) - len(some) >= fewer, (every, some)


@pytest.mark.parametrize(
    "path",
    ["orders/", "orders/{filled}/", "positions/", "connections/", "subscriptions/", "api-keys/"],
)
def test_each_field_alone_is_as_in_the_whole_answer(world: World, path: str) -> None:
    path = path.format(filled=world.filled.pk)
    client = world.client("alice")

    def rows(query: str = "") -> list[dict[str, Any]]:
        answer = client.get(f"/api/v1/{path}{query}").json()
        found: list[dict[str, Any]] = answer.get("results", [answer])
        return found

    whole = rows()
    moving = {"waiting_since", "last_used_at", "networks"}  # the calls themselves change these
    for name in set(whole[0]) - moving:
        assert rows(f"?fields={name}") == [{name: row[name]} for row in whole], name
