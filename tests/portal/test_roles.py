"""Every page of the portal × everybody who may come there (role_matrix.py)."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from common.sql import rows, run
from events.services import create_channel
from portal.security_urls import urlpatterns as security_urls
from portal.urls import urlpatterns as portal_urls
from tests.portal.factories import World
from tests.portal.role_matrix import CELLS, CONSOLE, OWN, PAGES, YES
from tests.portal.test_doors import OF_SOMEBODY, TABLES, args
from tests.roles import staff
from users.services import create_api_key

CONFIRMATION = "security:channel_confirm"
OF_ALICE = frozenset(f"portal:{name}" for name in OF_SOMEBODY) | {
    "security:key_revoke", "security:channel_test", "security:channel_resend",
    "security:channel_remove", CONFIRMATION,
}  # fmt: skip
SIGN_IN, TO_CONSOLE, NOT_THERE = "–", "console", "404"
SHOWN, SENT = {"200", "302"}, {"200", "302", "405", "422"}
ASKED = [name for name in PAGES if name not in ("portal:sign_in", "portal:sign_out")]  # below
SAID = {"fraction": "1", "name": "changed", "cancel_working": "on"}
Addresses = dict[str, dict[str, Any]]  # what an address needs, by its name
Columns = list[tuple[str, int, Client]]  # who asks, and their column of the matrix


@pytest.fixture
def alices(world: World) -> Addresses:
    """What the addresses of Alice's own key and channel need."""
    key, _secret = create_api_key(world.alice, "report script")
    address = "mailto:alice@example.com"
    channel = create_channel(user_id=world.alice.pk, name="mail", url=address).pk
    found: Addresses = {"security:key_revoke": {"pk": key.pk}}
    found |= {f"security:channel_{act}": {"pk": channel} for act in ("test", "resend", "remove")}
    return found | {CONFIRMATION: {"pk": channel, "code": "a" * 24}}  # a guess


@pytest.fixture
def columns(world: World) -> Columns:
    """A visitor, Alice, Nora (a tenant without a row), staff with each role and without one."""
    people = [("visitor", 0, None), ("alice", 1, world.alice), ("nora", 1, world.nora)]
    people += [
        (role.value, 2, staff(role, name=f"is-{role.value.replace(' ', '-')}")) for role in Role
    ]
    people.append(("no role", 3, staff(name="no-role")))
    found = []
    for who, column, user in people:
        client = Client()
        if user is not None:
            client.force_login(user)
        found.append((who, column, client))
    return found


def address_of(name: str, world: World, alices: Addresses) -> str:
    """Alice's, where it is somebody's."""
    app, _, short = name.partition(":")
    if app == "portal":
        return reverse(name, kwargs=args(world, short, "alice"))
    return reverse(name, kwargs=alices.get(name))


def outcome(answer: Any) -> str:
    """Say what a page answered: where it leads who may not come here, else its status."""
    to = answer.headers.get("Location", "") if answer.status_code == 302 else ""
    if to == "/login/" or to.startswith("/login/?next="):
        return SIGN_IN
    return TO_CONSOLE if to == "/admin/" else str(answer.status_code)


def rows_there() -> set[tuple[str, str]]:
    """Every row of what the portal's pages change, as the owner of the tables sees it."""
    names = (*TABLES, "events_channel", "users_apikey", "users_secondfactor")
    return {
        (name, row.text) for name in names for row in rows(f"SELECT t::text AS text FROM {name} t")
    }


def expected(name: str, who: str, column: int, answered: set[str]) -> set[str]:
    """What the matrix says; of Alice's own rows the others' answer is 404. answered: of who may."""
    cell = CELLS[PAGES[name]][column]
    if cell == CONSOLE:
        return {TO_CONSOLE}
    if cell not in (OWN, YES):
        return {SIGN_IN}
    is_theirs = who == "alice" and name != CONFIRMATION  # by its code, which is guessed here
    return {NOT_THERE} if name in OF_ALICE and not is_theirs else answered


def test_every_page_has_a_line() -> None:
    there = {f"portal:{one.name}" for one in portal_urls}
    there |= {f"security:{one.name}" for one in security_urls}
    assert set(PAGES) == there


def test_everybody_gets_what_the_matrix_says(
    world: World, alices: Addresses, columns: Columns, as_web: None
) -> None:
    wrong = []
    for name in ASKED:
        address = address_of(name, world, alices)
        for who, column, client in columns:
            found = outcome(client.get(address))
            if found not in expected(name, who, column, SHOWN):
                wrong.append((name, who, found))
    assert wrong == []


@pytest.mark.parametrize("role", ["fillcast_web", "NONE"])  # the querysets alone must hold, too
def test_a_post_changes_nothing_of_others(
    world: World, alices: Addresses, columns: Columns, rung: list[Any], role: str
) -> None:
    """All rows belong to Alice and Bob, and neither posts; the addresses name Alice's."""
    wrong, there = [], rows_there()
    for name in ASKED:
        address = address_of(name, world, alices)
        run(f"SET ROLE {role}")
        for who, column, client in columns:
            if who == "alice":
                continue
            found = outcome(client.post(address, SAID))
            if found not in expected(name, who, column, SENT):
                wrong.append((name, who, found))
        run("RESET ROLE")
        now = rows_there()
        wrong += [(name, "changed", f"{table}: {text}") for table, text in there - now]
        there = now & there
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
