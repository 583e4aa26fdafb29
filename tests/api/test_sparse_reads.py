"""`?fields=`: what was not asked for is neither computed nor read from the database."""

from typing import Any

from rest_framework.test import APIClient

from tests.api.factories import World
from tests.api.test_results_api import close_two
from tests.matrix import WALK_TIME, Walk
from tests.statements import sent_statements


def statements(client: APIClient, path: str) -> list[str]:
    with sent_statements() as sent:
        answer = client.get(path)
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


@WALK_TIME
def test_what_was_not_asked_for_is_not_read(world: World) -> None:
    client = world.client("alice")
    with Walk() as walk:
        for case, (path, fields, fewer, unread) in walk.each(CASES.items()):
            where = f"/api/v1/{filled_in(path, world)}"
            with walk.cell(f"{path}?fields={fields}", case) as cell:
                client.get(where)  # what is read once in a process
                every = statements(client, where)
                some = statements(client, f"{where}?fields={fields}")
                cell.expect(True, any(unread in sql for sql in every), f"whole reads {unread}")
                cell.expect([], [sql for sql in some if unread in sql], f"reads of {unread}")
                cell.expect_at_most(len(every) - fewer, some, "statements")


def filled_in(path: str, world: World) -> str:
    """Return a path with the ids of the world's objects."""
    return path.format(filled=world.filled.pk, position=world.position.pk, feed=world.feed.slug)


PATHS = (
    "orders/", "orders/{filled}/", "positions/", "connections/", "subscriptions/", "api-keys/",
    "analytics/", "analytics/statistics/", "analytics/breakdown/", "analytics/months/",
    "analytics/compared/", "feeds/{feed}/record/",
)  # fmt: skip


@WALK_TIME
def test_each_field_alone_is_as_in_the_whole_answer(world: World) -> None:
    close_two(world)
    client = world.client("alice")
    moving = {"waiting_since", "last_used_at", "networks", "until"}  # change with each call or time
    listed = set(rows_of(client.get("/api/v1/orders/"))[0]) - {"id"}
    with Walk() as walk:
        for path in walk.each(PATHS):
            where = f"/api/v1/{filled_in(path, world)}"
            whole = rows_of(client.get(where))
            others = listed if path == "orders/{filled}/" else set()  # read as in the list
            for name in sorted(set(whole[0]) - moving - others):
                with walk.cell(f"{path}?fields={name}") as cell:
                    found = rows_of(client.get(f"{where}?fields={name}"))
                    cell.expect([{name: row[name]} for row in whole], found)


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """Return the objects of an answer: of a page, a list, or the only one."""
    data: Any = answer.json()
    return list(data if isinstance(data, list) else data.get("results", [data]))
