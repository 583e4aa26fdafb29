"""A user's sessions in browsers: the list, ending one, and signing out everywhere."""

import re

import pytest
from django.test import Client

from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("as_web")]
PAGE, EVERYWHERE = "/sessions/", "/sessions/end/"


def is_signed_in(browser: Client) -> bool:
    return browser.get("/security/").status_code == 200


def test_one_session_is_ended_from_another_browser(world: World, signed_in: SignedIn) -> None:
    here, elsewhere = signed_in(world.alice), signed_in(world.alice)
    shown = html_of(here.get(PAGE))
    assert shown.count("This one") == 1
    (ending,) = re.findall(r'action="(/sessions/\w+/end/)"', shown)
    answer = here.post(ending, follow=True)
    assert "That session was signed out." in html_of(answer)
    assert (is_signed_in(here), is_signed_in(elsewhere)) == (True, False)
    assert "This session has ended already." in html_of(here.post(ending, follow=True))


@pytest.mark.parametrize("username", ["alice", "olga"])
def test_others_are_signed_out_and_this_browser_stays(
    world: World, signed_in: SignedIn, username: str
) -> None:
    user = getattr(world, username)
    here, elsewhere, stranger = signed_in(user), signed_in(user), signed_in(world.bob)
    assert "Sign out everywhere?" in html_of(here.get(EVERYWHERE))
    assert is_signed_in(elsewhere), "asking ends nothing"
    answer = here.post(EVERYWHERE, follow=True)
    assert "1 other session signed out. You stay signed in here." in html_of(answer)
    assert [is_signed_in(one) for one in (here, elsewhere, stranger)] == [True, False, True]


def test_this_browser_is_signed_out_too_if_that_is_chosen(
    world: World, signed_in: SignedIn
) -> None:
    here, elsewhere, stranger = (signed_in(one) for one in (world.alice, world.alice, world.bob))
    answer = here.post(EVERYWHERE, {"this_browser": "on"}, follow=True)
    assert answer.redirect_chain == [("/login/", 302)]
    assert "You were signed out everywhere." in html_of(answer)
    assert [is_signed_in(one) for one in (here, elsewhere, stranger)] == [False, False, True]
