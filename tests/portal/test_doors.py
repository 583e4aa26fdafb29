"""Who gets in where: generated over every address, so that a new one cannot be forgotten."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, reverse

from portal.urls import urlpatterns
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World

OPEN = {"sign_in", "sign_out", "reason"}
MINE: dict[str, Callable[[World, str], Any]] = {  # whose object stands in the address
    "signal": lambda w, who: {"pk": (w.euro if who == "alice" else w.bobs_signal).pk},
    "order_cancel": lambda w, who: {"pk": (w.working if who == "alice" else w.bobs_order).pk},
    "close": lambda w, who: {"pk": (w.naked if who == "alice" else w.bobs_position).pk},
    "reason": lambda w, who: {"code": "NO_MONEY"},
    "subscribe": lambda w, who: {"slug": w.carry.slug},
    "notification_read": lambda w, who: {
        "pk": (w.notification if who == "alice" else w.bobs_notification).pk
    },
}


def names() -> Iterator[str]:
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        assert pattern.name
        yield pattern.name


def args(world: World, name: str, who: str) -> dict[str, Any]:
    """What the address of `who`'s own object needs."""
    pattern = next(p for p in urlpatterns if p.name == name)
    if not pattern.pattern.converters:
        return {}
    if name in MINE:
        found: dict[str, Any] = MINE[name](world, who)
        return found
    if name.startswith("difference"):
        return {"pk": (world.difference if who == "alice" else world.bobs_difference).pk}
    if "subscription" in name:
        return {"pk": (world.taken[0] if who == "alice" else world.bobs_taken).pk}
    return {"pk": (world.mt5 if who == "alice" else world.bobs).pk}


PRIVATE = [name for name in names() if name not in OPEN]
NOBODYS = {"subscribe", "reason"}
OF_SOMEBODY = [p.name for p in urlpatterns if p.pattern.converters and p.name not in NOBODYS]
TABLES = (
    "connections_executionconnection", "connections_connectionhealth", "connections_subscription",
    "connections_killswitch", "execution_order", "positions_executionposition",
    "events_notification", "execution_driftitem",
)  # fmt: skip


def everything() -> list[Any]:
    """What could have been changed, as it stands for the owner of the tables."""
    found = []
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            found.append((table, cursor.fetchall()))
    return found


@pytest.mark.parametrize("name", PRIVATE)
def test_nobody_gets_in_unknown_and_operators_have_the_console(
    world: World, signed_in: SignedIn, as_web: None, name: str
) -> None:
    address = reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
    told = Client().get(address)
    assert (told.status_code, told["Location"]) == (302, f"/login/?next={address}")
    assert signed_in(world.olga).get(address)["Location"] == "/admin/"


@pytest.mark.parametrize("name", OF_SOMEBODY)
@pytest.mark.parametrize("role", ["fillcast_web", "NONE"])  # the querysets alone must hold, too
def test_what_is_anothers_is_not_there(
    world: World, signed_in: SignedIn, name: str, role: str
) -> None:
    assert name
    before = everything()
    client, address = signed_in(world.alice), reverse(
        f"portal:{name}", kwargs=args(world, name, "bob")
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    answers = [client.get(address), client.post(address, {"fraction": "1"})]
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    assert [answer.status_code for answer in answers] == [404, 404]
    assert b"Bob" not in answers[0].content
    assert everything() == before


@pytest.mark.parametrize("name", OF_SOMEBODY)
def test_ones_own_is_there(world: World, signed_in: SignedIn, as_web: None, name: str) -> None:
    """Else the test above would pass for a portal that answers nobody."""
    address = reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
    assert signed_in(world.alice).get(address).status_code in {200, 302}


@pytest.mark.parametrize("name", PRIVATE)
def test_every_page_is_strict_and_kept_nowhere(
    world: World, signed_in: SignedIn, as_web: None, name: str
) -> None:
    address = reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
    told = signed_in(world.alice).get(address)
    assert "script-src 'self'; style-src 'self'" in told["Content-Security-Policy"]
    assert told["Cache-Control"] == "private, no-store"
    page = html_of(told)
    assert "style=" not in page
    assert "<style" not in page
    assert "<script>" not in page
    assert " onclick" not in page


def test_lists_show_nothing_of_others(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.alice)
    for name in ("overview", "signals", "positions", "accounts", "feeds", "inbox"):
        page = html_of(client.get(reverse(f"portal:{name}")))
        assert "Bob" not in page, name
        assert "NZD/USD" not in page, name


def test_signing_in_leads_home_and_operators_to_their_console(world: World, as_web: None) -> None:
    for name, home in (("alice", "/"), ("olga", "/admin/")):
        client = Client()
        typed = {"username": name, "password": PASSWORD}
        assert client.post("/login/", typed)["Location"] == home
    client.logout()


def test_a_wrong_password_says_what_may_be_wrong_and_keeps_the_name(
    world: World, as_web: None
) -> None:
    told = Client().post("/login/", {"username": "alice", "password": "guess"})
    page = html_of(told)
    assert told.status_code == 200
    assert "is wrong" in page
    assert 'value="alice"' in page
    assert "guess" not in page


def test_the_eleventh_guess_is_not_looked_at(world: World, as_web: None) -> None:
    client = Client(headers={"user-agent": "x"})
    with transaction.atomic():
        for _ in range(11):
            told = client.post("/login/", {"username": "alice", "password": "guess"})
    assert told.status_code == 429
    assert "Wait 15 minutes" in html_of(told)
    assert "Content-Security-Policy" in told
    right = client.post("/login/", {"username": "alice", "password": PASSWORD})
    assert right.status_code == 429


def test_signing_out_needs_a_post(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.alice)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/")["Location"].startswith("/login/")


def test_a_form_without_its_token_does_nothing(world: World, as_web: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.alice)
    told = client.post(reverse("portal:pause"))
    assert (told.status_code, b"Nothing was done" in told.content) == (403, True)


def test_an_address_that_is_none_says_so(world: World, as_web: None) -> None:
    told = Client().get("/nonsense/")
    assert (told.status_code, b"Page not found" in told.content) == (404, True)


def test_a_panel_that_polls_never_becomes_a_login_form(world: World, as_web: None) -> None:
    told = Client().get("/live/", headers={"hx-request": "true"})
    assert (told.status_code, told["HX-Refresh"], told.content) == (200, "true", b"")
