"""Each GET of the schema: an ETag, 304 while nothing has changed, and only the fields asked for."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from common.clocks import MarketClock, market_now, set_market_clock
from tests.api.calls import KEYED
from tests.api.cases import CASES
from tests.api.example_calls import address_of, cases
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.api.test_results_api import close_two
from tests.matrix import WALK_TIME, Walk

# They have no ETag: a stream is never read twice.
STREAMS = {
    "GET /api/v1/analytics/export/{table}/", "GET /api/v1/exports/{table}/", "GET /api/v1/stream/",
}  # fmt: skip


def reader_of(name: str) -> str:
    """Return who reads: Alice her own, staff what only they may."""
    return "olga" if CASES[name].kind == "operator" else "alice"


READS = [name for name in KEYED if name.startswith("GET ") and name not in STREAMS]
PAGES = {
    "GET /api/v1/feeds/{slug}/record/trades/": "trades",
    "GET /api/v1/feeds/{slug}/record/links/": "links",
}
"""The field that has the objects of a page, where it is not `results`."""
NEVER_THE_SAME = {
    "GET /api/v1/feeds/{slug}/record/head/": "states when it was signed",
    "GET /api/v1/signals/{id}/notional/": "states when it was added up",
}
EMPTY = {
    "GET /api/v1/connections/{id}/instruments/", "GET /api/v1/feeds/{slug}/record/trades/",
    "GET /api/v1/feeds/{slug}/approval-requests/", "GET /api/v1/feeds/{slug}/terms/",
    "GET /api/v1/feeds/{slug}/alerts/", "GET /api/v1/subscriptions/{id}/rounding-debt/",
}  # fmt: skip
"""The world has none of these."""
OPERATIONS = {name: operation for operation, (name, _) in cases().items()}


@pytest.fixture(autouse=True)
def still_clock(world: World) -> Iterator[None]:
    """Stop the market's clock: some answers state until when they count."""
    close_two(world)
    set_market_clock(MarketClock(market_now(), datetime.now(UTC), 1e-9))
    yield
    set_market_clock(None)


def path_of(world: World, name: str) -> str:
    """Return the address of an object that there is, with its query."""
    path, query = address_of(world, OPERATIONS[name]), urlencode(CASES[name].query(world))
    return f"{path}?{query}" if query else path


@WALK_TIME
def test_unchanged_answer_is_not_sent_again(world: World) -> None:
    with Walk() as walk:
        for name in walk.each(name for name in READS if name not in NEVER_THE_SAME):
            client = world.client(caller := reader_of(name))
            with walk.cell(name, caller) as cell:
                path = path_of(deepcopy(world), name)
                first = client.get(path)
                cell.expect(200, first.status_code)
                again = client.get(path, HTTP_IF_NONE_MATCH=first["ETag"])
                cell.expect((304, b""), (again.status_code, again.content), "unchanged")
                cell.expect(first["ETag"], again["ETag"], "ETag")


@WALK_TIME
def test_only_the_named_fields_are_returned(world: World) -> None:
    """And sent, although the client has an answer of other contents."""
    with Walk() as walk:
        for name in walk.each(name for name in READS if name not in EMPTY):
            client = world.client(caller := reader_of(name))
            with walk.cell(name, caller) as cell:
                path, place = path_of(deepcopy(world), name), PAGES.get(name, "results")
                whole = client.get(path).json()
                rows = rows_of(whole, place)
                assert rows, "the world has none: what its fields are cannot be seen"
                wanted = sorted(rows[0])[:2]
                query = {"fields": ",".join(wanted)} | query_of(path)
                some = client.get(path, query, HTTP_IF_NONE_MATCH='"other.other"').json()
                named = [set(wanted) & set(row) for row in rows]
                cell.expect(named, [set(row) for row in rows_of(some, place)], "fields")
                if isinstance(whole, dict) and place in whole:
                    cell.expect(whole | {place: some[place]}, some, "what else the page has")
                refused = client.get(path, {"fields": "nothing"} | query_of(path))
                known = wanted[0] in problem(refused, 400, "FIELD_UNKNOWN")["detail"]
                cell.expect(True, known, "a refusal names the fields")


def query_of(path: str) -> dict[str, str]:
    """Return the query of an address, which a client replaces by another one."""
    _, _, query = path.partition("?")
    return dict(part.split("=") for part in query.split("&") if part)


def rows_of(answer: Any, place: str) -> list[dict[str, Any]]:
    """Return the objects of an answer: of a page, a list, or the only one."""
    if isinstance(answer, dict):
        return list(answer[place]) if isinstance(answer.get(place), list) else [answer]
    return list(answer)


def test_unknown_field_of_an_empty_list_is_refused(world: World) -> None:
    for path in ("orders/", "analytics/statistics/", "analytics/breakdown/", "analytics/"):
        answer = world.client("bob").get(f"/api/v1/{path}", {"fields": "nothing"})
        problem(answer, 400, "FIELD_UNKNOWN")
