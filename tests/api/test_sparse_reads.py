"""`?fields=`: what was not asked for is neither computed nor read from the database."""

from typing import Any

import pytest

from tests.api.factories import World
from tests.api.test_results_api import close_two
from tests.sampling import often
from tests.statements import sent_statements


def statements(world: World, path: str, fields: str = "") -> list[str]:
    client = world.client("alice")
    asked = f"/api/v1/{path}" + (f"?fields={fields}" if fields else "")
    client.get(asked)  # what is read once in a process
    with sent_statements() as sent:
        answer = client.get(asked)
    assert answer.status_code == 200, answer.content
    return sent


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
    "totals": ("analytics/", "connection,trades", 1, "connections_accountsnapshot"),
    "statistics, of no trades": (
        "analytics/statistics/", "book,until", 1, "positions_executionposition"
    ),
    "statistics, without equity": (
        "analytics/statistics/", "total", 1, "connections_accounthistory"
    ),
    "statistics, only returns": (
        "analytics/statistics/", "returns", 1, "positions_executionposition"
    ),
    "months": ("analytics/months/", "book", 1, "positions_executionposition"),
    "parts": ("analytics/breakdown/", "book,by", 1, "positions_executionposition"),
    "execution": ("analytics/compared/", "book", 1, "analytics_signalquality"),
    "a record, without figures": (
        "feeds/{feed}/record/", "feed,terms", 1, "analytics_feedrecord"
    ),
    "a record, without terms": ("feeds/{feed}/record/", "percent,r", 1, "signals_feedterms"),
}  # fmt: skip


@pytest.mark.parametrize("case", often(CASES, every=3))
def test_what_was_not_asked_for_is_not_read(world: World, case: str) -> None:
    path, fields, fewer, unread = CASES[case]
    path = path.format(filled=world.filled.pk, position=world.position.pk, feed=world.feed.slug)
    every, some = statements(world, path), statements(world, path, fields)
    assert any(unread in sql for sql in every), "the whole answer reads it"
    assert not any(unread in sql for sql in some)
    assert len(every) - len(some) >= fewer, (every, some)


@pytest.mark.parametrize(
    "path",
    often([
        "orders/", "orders/{filled}/", "positions/", "connections/", "subscriptions/", "api-keys/",
        "analytics/", "analytics/statistics/", "analytics/breakdown/", "analytics/months/",
        "analytics/compared/", "feeds/{feed}/record/",
    ], every=4, start=2),
)  # fmt: skip
def test_each_field_alone_is_as_in_the_whole_answer(world: World, path: str) -> None:
    close_two(world)
    path = path.format(filled=world.filled.pk, feed=world.feed.slug)
    client = world.client("alice")

    def rows(query: str = "") -> list[dict[str, Any]]:
        answer: Any = client.get(f"/api/v1/{path}{query}").json()
        found: list[dict[str, Any]] = (
            answer if isinstance(answer, list) else answer.get("results", [answer])
        )
        return found

    whole = rows()
    moving = {"waiting_since", "last_used_at", "networks", "until"}  # change with each call or time
    for name in set(whole[0]) - moving:
        assert rows(f"?fields={name}") == [{name: row[name]} for row in whole], name
