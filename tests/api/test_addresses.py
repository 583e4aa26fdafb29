"""Whatever stands in an address or a filter, the answer is no failure of ours."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.test import Client
from django.urls import Resolver404, URLResolver, get_resolver, resolve
from drf_spectacular.generators import SchemaGenerator

from tests.api.factories import World
from users.models import User

VALUES = ("9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00+23:59", "1", "9" * 30, "\0", "NaN",
          "x" * 300)  # fmt: skip
ASKED = ("page", "q", "id", "who", "o", "app_label")


def routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Every address of the installation, with its parameters in angle brackets."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        route = re.sub(r"\\Z|[$^]", "", prefix + str(one.pattern))
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, route)
        elif "(" not in re.sub(r"\(\?P<\w+>[^)]*\)", "", route):
            yield re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", route)


PAGES = sorted({"/" + route for route in routes() if "logout" not in route})
WITH_ID = [page for page in PAGES if "<" in page and not page.startswith(("/api/", "/hooks/"))]
WITHOUT = [page for page in PAGES if "<" not in page and not page.startswith(("/api/", "/hooks/"))]


@pytest.fixture
def readers(world: World) -> list[Client]:
    """An operator and a tenant, who are answered instead of raised at."""
    clients = []
    for user in (User.objects.create_superuser("root", password="x" * 12), world.alice):
        client = Client(raise_request_exception=False)
        client.force_login(user)
        clients.append(client)
    return clients


def failures(client: Client, addresses: Iterator[tuple[str, dict[str, str]]]) -> list[str]:
    found = []
    for path, asked in addresses:
        status = client.get(path, asked).status_code
        if status >= 500:
            found.append(f"{status} {path[:80]} {str(asked)[:80]}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_id_in_a_page_makes_it_fail(readers: list[Client], part: int) -> None:
    assert len(WITH_ID) > 100
    for client in readers:
        assert failures(client, ((path, {}) for path in addresses_with_ids(WITH_ID[part::4]))) == []


def addresses_with_ids(pages: list[str]) -> Iterator[str]:
    """Each page with each value; where no page can have such an id, one address for the value."""
    for value in VALUES:
        nowhere = False
        for page in pages:
            path = re.sub(r"<[^>]*>", quote(value, safe=""), page)
            if leads_somewhere(unquote(path)) or not nowhere:
                yield path
                nowhere = not leads_somewhere(unquote(path)) or nowhere


def leads_somewhere(path: str) -> bool:
    try:
        return bool(resolve(path))
    except Resolver404:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_query_of_a_page_makes_it_fail(readers: list[Client], part: int) -> None:
    for client in readers:
        addresses = [(page, {name: "9" * 30}) for page in WITHOUT[part::4] for name in ASKED]
        # A NUL is refused before any page looks at the query: one request for all names.
        addresses += [(page, dict.fromkeys(ASKED, "\0")) for page in WITHOUT[part::4]]
        addresses += [(page, {}) for page in WITHOUT[part::4]]
        assert failures(client, iter(addresses)) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_no_filter_or_id_of_the_api_makes_it_fail(world: World, part: int) -> None:
    generator: Any = SchemaGenerator
    paths = generator().get_schema(request=None, public=True)["paths"]
    client = world.client("alice")
    client.raise_request_exception = False

    def addresses() -> Iterator[tuple[str, dict[str, str]]]:
        for path in sorted(paths)[part::3]:
            parameters = paths[path].get("get", {}).get("parameters", [])
            for one, value in ((one, value) for one in parameters for value in VALUES):
                if one["in"] == "path":
                    yield re.sub(r"{\w+}", quote(value, safe=""), path), {}
                elif "{" not in path:
                    yield path, {one["name"]: value}

    assert failures(client, addresses()) == []


@pytest.mark.parametrize("name", ["published_before", "published_after"])
@pytest.mark.parametrize("value", VALUES[:2])
def test_a_time_that_the_database_cannot_compare_is_refused(
    world: World, name: str, value: str
) -> None:
    wrong = world.client("alice").get("/api/v1/signals/", {name: value})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "FIELD_INVALID")


def test_answers_of_the_api_are_not_kept(world: World) -> None:
    client = world.client("alice")
    for path in ("/api/v1/me/", "/api/v1/signals/", "/api/v1/nowhere/", "/api/v1/schema/"):
        assert "no-store" in client.get(path)["Cache-Control"], path
    assert "no-store" in Client().get("/api/v1/me/")["Cache-Control"]


def test_console_and_api_docs_have_a_content_security_policy(readers: list[Client]) -> None:
    operator = readers[0]
    for path in ("/admin/", "/admin/login/", "/admin/console/trail/", "/api/v1/docs/"):
        policy = operator.get(path)["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'none'" in policy, path
        script = re.search(r"script-src ([^;]*)", policy)
        assert script is not None, path
        assert "'unsafe-inline'" not in script[1], path
    docs = operator.get("/api/v1/docs/").content.decode()
    assert re.findall(r"<script(?![^>]*src=)", docs) == []
