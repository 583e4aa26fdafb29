"""Every page of the portal × everybody who may come there (role_matrix.py)."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from portal.security_urls import urlpatterns as security_urls
from portal.urls import urlpatterns as portal_urls
from tests.portal.role_matrix import CELLS, CONSOLE, OPEN, OWN, PAGES, YES
from tests.portal.test_doors import args
from tests.portal.world import World
from tests.roles import staff

ARGUMENTS: dict[str, Any] = {"pk": 10**9, "code": "a" * 24}


def address_of(name: str, world: World) -> str:
    """Alice's, where it is somebody's."""
    app, _, short = name.partition(":")
    if app == "portal":
        return reverse(name, kwargs=args(world, short, "alice"))
    pattern = next(one for one in security_urls if one.name == short)
    return reverse(name, kwargs={key: ARGUMENTS[key] for key in pattern.pattern.converters})


def outcome(client: Client, address: str) -> str:
    """Say what a page answered: `open` for everything but being led elsewhere."""
    answer = client.get(address)
    to = answer.headers.get("Location", "") if answer.status_code == 302 else ""
    if to == "/login/" or to.startswith("/login/?next="):
        return "–"
    return CONSOLE if to == "/admin/" else OPEN


def test_every_page_has_a_line() -> None:
    there = {f"portal:{one.name}" for one in portal_urls}
    there |= {f"security:{one.name}" for one in security_urls}
    assert set(PAGES) == there


def test_everybody_gets_what_the_matrix_says(world: World) -> None:
    visitor, tenant, nobody = Client(), Client(), Client()
    tenant.force_login(world.alice)
    nobody.force_login(staff(name="no-role"))
    columns: list[tuple[int, Client]] = [(0, visitor), (1, tenant), (3, nobody)]
    for role in Role:
        client = Client()
        client.force_login(staff(role, name=f"is-{role.value.replace(' ', '-')}"))
        columns.append((2, client))
    wrong = []
    for name, who in PAGES.items():
        if name in ("portal:sign_in", "portal:sign_out"):
            continue  # below: they change who one is
        address = address_of(name, world)
        for column, client in columns:
            cell = CELLS[who][column]
            expected = {OWN: OPEN, YES: OPEN, CONSOLE: CONSOLE}.get(cell, "–")
            if (found := outcome(client, address)) != expected:
                wrong.append((name, column, found, expected))
    assert wrong == []


@pytest.mark.parametrize("who", ["visitor", "alice", "olga"])
def test_signing_in_and_out_is_open_to_everybody(world: World, who: str) -> None:
    client = Client()
    if who != "visitor":
        client.force_login(getattr(world, who))
    home = {"visitor": "", "alice": "/", "olga": "/admin/"}[who]
    answer = client.get("/login/")
    assert (answer.status_code, answer.headers.get("Location", "")) == (302 if home else 200, home)
    assert client.post("/logout/")["Location"] == "/login/"
