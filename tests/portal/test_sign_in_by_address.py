"""Signing in with the user name or the confirmed e-mail address: one login, one count of tries."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.html import html_of
from tests.portal.factories import PASSWORD, World
from tests.portal.test_sign_up import as_owner, confirmed
from users.models import User
from users.people.sign_up import name_fault

pytestmark = pytest.mark.django_db
MAIL = "alice@example.com"


@pytest.fixture
def world(world: World) -> World:
    confirmed(world.alice, MAIL)
    return world


def answer(name: str, password: str = PASSWORD, client: Client | None = None) -> tuple[int, str]:
    """The status, and where it leads or what it says."""
    response = (client or Client()).post("/login/", {"username": name, "password": password})
    page = html_of(response) if response.status_code == 200 else ""
    return response.status_code, response.get(
        "Location", page.partition('role="alert"')[2].partition("</div>")[0]
    )


@pytest.mark.parametrize("typed", [MAIL, "Alice@Example.COM", f" {MAIL} "])
def test_confirmed_address_signs_in(world: World, as_web: None, typed: str) -> None:
    client = Client()
    assert answer(typed, client=client) == (302, "/")
    assert client.get("/accounts/").wsgi_request.user == world.alice


def test_page_names_both(world: World, as_web: None) -> None:
    page = html_of(Client().get("/login/"))
    assert "User name or e-mail address" in page
    assert 'maxlength="254"' in page


def test_console_takes_the_address_too(world: World, as_web: None) -> None:
    confirmed(world.olga, "olga@example.com")
    typed = {"username": "olga@example.com", "password": PASSWORD}
    assert Client().post("/admin/login/", typed)["Location"] == "/admin/"


def test_every_refusal_is_the_same(world: World, as_web: None) -> None:
    with as_owner():  # an unproven address is no name
        User.objects.filter(pk=world.bob.pk).update(email="bob@example.com")
    shown = {answer(name, "guess")[1] for name in ("alice", MAIL, "zoe", "no@example.com")}
    shown.add(answer("bob@example.com")[1])
    assert len(shown) == 1
    assert "is wrong" in shown.pop()


def test_both_names_have_one_count_of_tries(world: World, as_web: None) -> None:
    for name in ("alice", MAIL, "ALICE@example.com", "alice", MAIL) * 2:
        assert answer(name, "guess")[0] == 200
    for name in ("alice", MAIL, "aLICE@example.com"):
        assert answer(name)[0] == 429, name


def test_unknown_address_is_counted_in_one_spelling_too(world: World, as_web: None) -> None:
    """Else the eleventh try in another spelling would show whether a login has the address."""
    for _ in range(10):
        assert answer("zoe@example.com", "guess")[0] == 200
    assert answer("ZOE@example.com", "guess")[0] == 429


def test_known_and_unknown_names_take_the_same_queries(world: World, as_web: None) -> None:
    counts = set()
    for name in ("alice", MAIL, "zoe", "no@example.com"):
        with CaptureQueriesContext(connection) as queries:
            answer(name, "guess")
        counts.add(len(queries))
    assert len(counts) == 1


def test_user_name_comes_before_the_same_address_of_another(world: World, as_web: None) -> None:
    """An administrator may have given such a name; it keeps working, the other uses theirs."""
    with as_owner():
        User.objects.create_user(MAIL, password="another horse battery")
    client = Client()
    assert answer(MAIL, "another horse battery", client)[0] == 302
    assert client.get("/accounts/").wsgi_request.user.get_username() == MAIL
    assert answer(MAIL)[0] == 200
    assert answer("alice")[0] == 302


def test_dotless_i_is_another_address(world: World, as_web: None) -> None:
    confirmed(world.bob, "bob@ibm.example")
    assert answer("bob@\u0131bm.example")[0] == 200
    assert answer("bob@IBM.example")[0] == 302


@pytest.mark.parametrize(
    ("stored", "typed"),
    [("s\u00e9bastien", "se\u0301bastien"), ("sam", "\u017fam"), ("sam", "\uff53\uff41\uff4d")],
)
def test_user_name_is_found_as_any_keyboard_writes_it(
    world: World, as_web: None, stored: str, typed: str
) -> None:
    with as_owner():
        User.objects.filter(pk=world.alice.pk).update(username=stored)
    assert answer(typed) == (302, "/")


def test_address_is_found_as_any_keyboard_writes_it(world: World, as_web: None) -> None:
    confirmed(world.bob, "sam@example.com")
    assert answer("\u017fam@Example.com") == (302, "/")


def test_new_user_name_is_no_address(world: World) -> None:
    """It could be another user's, who then could not sign in with it."""
    assert "has no @" in name_fault("bob@example.com")
    assert name_fault("bob.the.second") == ""
