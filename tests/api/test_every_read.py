"""Each GET of the schema: an ETag, 304 while nothing has changed, and only the fields asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from common.clocks import MarketClock, market_now, set_market_clock
from tests.api.example_calls import address_of, cases
from tests.api.factories import World
from tests.api.test_matrix import CASES, KEYED
from tests.api.test_problems import problem
from tests.api.test_results_api import close_two
from tests.sampling import often

# They have no ETag: a stream is never read twice.
STREAMS = {"GET /api/v1/analytics/export/{table}/", "GET /api/v1/exports/{table}/"}
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
    path = address_of(world, OPERATIONS[name])
    answer = world.client("alice").get(path, CASES[name].query(world))
    assert answer.status_code == 200, answer.content
    return str(answer.wsgi_request.get_full_path())


@pytest.mark.parametrize(
    "name", often([name for name in READS if name not in NEVER_THE_SAME], every=5)
)
def test_unchanged_answer_is_not_sent_again(world: World, name: str) -> None:
    path, client = path_of(world, name), world.client("alice")
    client.get(path)  # a key's use is stored once a minute
    tag = client.get(path)["ETag"]
    again = client.get(path, HTTP_IF_NONE_MATCH=tag)
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    assert client.get(path, HTTP_IF_NONE_MATCH='"other.other"').status_code == 200


@pytest.mark.parametrize("name", often([name for name in READS if name not in EMPTY], every=5))
def test_only_the_named_fields_are_returned(world: World, name: str) -> None:
    path, client = path_of(world, name), world.client("alice")
    whole, place = client.get(path).json(), PAGES.get(name, "results")
    rows = rows_of(whole, place)
    assert rows, "the world has none: what its fields are cannot be seen"
    wanted = sorted(rows[0])[:2]
    some = client.get(path, {"fields": ",".join(wanted)} | query_of(path)).json()
    assert [set(row) for row in rows_of(some, place)] == [set(wanted) & set(row) for row in rows]
    if isinstance(whole, dict) and place in whole:
        assert some == whole | {place: some[place]}, "what else the page has stays"
    refused = client.get(path, {"fields": "nothing"} | query_of(path))
    assert wanted[0] in problem(refused, 400, "FIELD_UNKNOWN")["detail"]


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
