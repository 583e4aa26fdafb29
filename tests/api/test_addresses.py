"""No id or query in an address makes a page or the API fail with a server error."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.test import Client
from django.urls import Resolver404, URLResolver, get_resolver, resolve

from tests.api.factories import World
from tests.api.schemas import whole_schema
from tests.matrix import require_none
from users.models import User

VALUES = ("9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00+23:59", "1", "9" * 30, "\0", "NaN",
          "x" * 300)  # fmt: skip
# In groups that a list uses in one query or refuses together (?e=1); `id` may leave out the query.
PARAMETERS = (("q", "o"), ("id",), ("page",), ("who", "app_label"))


def routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield every address of the installation, with its parameters in angle brackets."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = re.sub(r"\\Z|[$^]", "", prefix + str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif "(" not in re.sub(r"\(\?P<\w+>[^)]*\)", "", route):
            yield re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", route)


PAGES = sorted({"/" + route for route in routes() if "logout" not in route})
WITH_ID = [page for page in PAGES if "<" in page and not page.startswith(("/api/", "/hooks/"))]
WITHOUT = [page for page in PAGES if "<" not in page and not page.startswith(("/api/", "/hooks/"))]


@pytest.fixture
def readers(world: World) -> list[Client]:
    """Return the clients of an operator and a tenant, which do not raise errors of the server."""
    clients = []
    for user in (User.objects.create_superuser("root", password="x" * 12), world.alice):
        client = Client(raise_request_exception=False)
        client.force_login(user)
        clients.append(client)
    return clients


def failures(client: Client, addresses: Iterable[tuple[str, dict[str, str]]]) -> list[str]:
    failed = []
    for path, query in addresses:
        status = client.get(path, query).status_code
        if status >= 500:
            failed.append(f"{status} {path[:80]} {str(query)[:80]}")
    return failed


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(4))
def test_pages_never_fail_on_an_id(readers: list[Client], part: int) -> None:
    assert len(WITH_ID) > 100
    for client in readers:
        require_none(
            failures(client, ((path, {}) for path in addresses_with_ids(WITH_ID[part::4])))
        )


def addresses_with_ids(pages: list[str]) -> Iterator[str]:
    """Yield each page with each value as its id, but only one unresolved address for each value."""
    for value in VALUES:
        unresolved_seen = False
        for page in pages:
            path = re.sub(r"<[^>]*>", quote(value, safe=""), page)
            if is_resolved(unquote(path)) or not unresolved_seen:
                yield path
                unresolved_seen = not is_resolved(unquote(path)) or unresolved_seen


def is_resolved(path: str) -> bool:
    try:
        return bool(resolve(path))
    except Resolver404:
        return False


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(4))
def test_pages_never_fail_on_a_query(readers: list[Client], part: int) -> None:
    for client in readers:
        failed: list[str] = []
        for page in WITHOUT[part::4]:
            failed += failures_on_queries(client, page)
        require_none(failed)


def failures_on_queries(client: Client, page: str) -> list[str]:
    """Send all parameters together; in smaller parts if the answer differs from that without any.

    Then one of them may have ended the request before the page looked at the others.
    """
    statuses = {}

    def answers_as_without(names: Sequence[str]) -> bool:
        statuses[tuple(names)] = client.get(page, dict.fromkeys(names, "9" * 30)).status_code
        return statuses[tuple(names)] == statuses[()]

    answers_as_without(())
    if not answers_as_without(list(chain(*PARAMETERS))):
        for group in PARAMETERS:
            if not answers_as_without(group) and len(group) > 1:
                for name in group:
                    answers_as_without([name])
    # A NUL is refused before any page reads the query: one request for all names.
    statuses["NUL",] = client.get(page, dict.fromkeys(chain(*PARAMETERS), "\0")).status_code
    return [f"{status} {page} {names}" for names, status in statuses.items() if status >= 500]


@pytest.mark.exhaustive
def test_api_never_fails_on_an_id(world: World) -> None:
    """Filters are in test_malformed_input.py."""
    paths = whole_schema()["paths"]
    client = world.client("alice")
    client.raise_request_exception = False
    with_id = sorted(path for path in paths if "{" in path and "get" in paths[path])
    assert len(with_id) > 15
    addresses: list[tuple[str, dict[str, str]]] = [
        (re.sub(r"{\w+}", quote(value, safe=""), path), {}) for path in with_id for value in VALUES
    ]
    require_none(failures(client, addresses))


@pytest.mark.parametrize("name", ["published_before", "published_after"])
@pytest.mark.parametrize("value", VALUES[:2])
def test_time_that_the_database_cannot_compare_is_refused(
    world: World, name: str, value: str
) -> None:
    wrong = world.client("alice").get("/api/v1/signals/", {name: value})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "FIELD_INVALID")


def test_api_responses_are_not_cached(world: World) -> None:
    client = world.client("alice")
    for path in ("/api/v1/me/", "/api/v1/signals/", "/api/v1/nowhere/", "/api/v1/schema/"):
        assert "no-store" in client.get(path)["Cache-Control"], path
    assert "no-store" in Client().get("/api/v1/me/")["Cache-Control"]


def test_console_and_api_docs_have_a_content_security_policy(readers: list[Client]) -> None:
    operator = readers[0]
    for path in (
        "/admin/",
        "/admin/login/",
        "/admin/console/trail/",
        "/api/v1/docs/",
    ):
        policy = operator.get(path)["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'none'" in policy, path
        script = re.search(r"script-src ([^;]*)", policy)
        assert script is not None, path
        assert "'unsafe-inline'" not in script[1], path
