"""Two windows of one browser: a form was open while its user signed in again in the other one."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from connections.models import KillSwitch
from tests.html import html_of
from tests.portal.factories import PASSWORD, World
from tests.portal.test_kept_forms import TYPED, edit_page, session_ends

pytestmark = pytest.mark.django_db
FROM_OUR_PAGE = {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}


def token_on(content: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', content)
    assert found
    return found[1]


def sign_in(client: Client, username: str = "alice") -> None:
    """Sign in as in another window, which gives the browser another token."""
    token = token_on(html_of(client.get("/login/")))
    typed = {"username": username, "password": PASSWORD, "csrfmiddlewaretoken": token}
    assert client.post("/login/", typed, headers=FROM_OUR_PAGE).status_code == 302


@pytest.fixture
def browser(world: World, as_web: None) -> Client:
    """A browser in which Alice is signed in."""
    client = Client(enforce_csrf_checks=True)
    sign_in(client)
    return client


def signed_in_again(browser: Client, page: str) -> str:
    """Open a page; then its session ends, and she signs in in another window. Return its token."""
    token = token_on(html_of(browser.get(page)))
    session_ends(browser)
    sign_in(browser)
    return token


def test_what_was_typed_is_shown_again_and_sent_by_the_next_press(
    world: World, browser: Client
) -> None:
    page, subscription = edit_page(world), world.subscriptions[0]
    old = signed_in_again(browser, page)
    answer = browser.post(page, {**TYPED, "csrfmiddlewaretoken": old}, headers=FROM_OUR_PAGE)
    assert (answer.status_code, answer["Location"]) == (302, page)
    subscription.refresh_from_db()
    assert subscription.multiplier == 1, "nothing was changed"
    shown = html_of(browser.get(page))
    assert "signed in or out in another window" in shown
    assert "What you typed is below" in shown
    assert "Your session had ended" not in shown
    assert 'value="2.75"' in shown
    typed = {
        **TYPED,
        "priority": str(subscription.priority),
        "csrfmiddlewaretoken": token_on(shown),
    }
    assert browser.post(page, typed).status_code == 302
    subscription.refresh_from_db()
    assert str(subscription.multiplier.normalize()) == "2.75"


def test_button_without_fields_says_that_nothing_was_done(world: World, browser: Client) -> None:
    pause = reverse("portal:subscription_pause", args=[world.subscriptions[0].pk])
    old = signed_in_again(browser, "/feeds/")
    answer = browser.post(pause, {"csrfmiddlewaretoken": old}, headers=FROM_OUR_PAGE, follow=True)
    assert "Nothing was done: since this page was opened" in html_of(answer)
    world.subscriptions[0].refresh_from_db()
    assert world.subscriptions[0].is_paused is False


def test_second_sign_in_page_leads_into_the_portal(world: World, as_web: None) -> None:
    browser = Client(enforce_csrf_checks=True)
    old = token_on(html_of(browser.get("/login/")))
    sign_in(browser)
    typed = {"username": "alice", "password": PASSWORD, "csrfmiddlewaretoken": old}
    answer = browser.post("/login/", typed, headers=FROM_OUR_PAGE, follow=True)
    assert [to for to, _ in answer.redirect_chain] == ["/login/", "/"]


def test_page_names_blocked_cookies(world: World, as_web: None) -> None:
    browser = Client(enforce_csrf_checks=True)
    token = token_on(html_of(browser.get("/login/")))
    browser.cookies.clear()
    typed = {"username": "alice", "password": PASSWORD, "csrfmiddlewaretoken": token}
    answer = browser.post("/login/", typed, headers=FROM_OUR_PAGE)
    assert (answer.status_code, b"your browser blocks cookies" in answer.content) == (403, True)


def test_form_goes_on_after_signing_in_if_the_other_window_signed_out(
    world: World, browser: Client
) -> None:
    page = edit_page(world)
    old = signed_in_again(browser, page)
    session_ends(browser)
    answer = browser.post(page, {**TYPED, "csrfmiddlewaretoken": old}, headers=FROM_OUR_PAGE)
    assert answer["Location"] == f"/login/?next={page}"
    sign_in(browser)
    assert 'value="2.75"' in html_of(browser.get(page))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://elsewhere.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site"},
        {**FROM_OUR_PAGE, "HX-Request": "true"},
    ],
)
def test_form_of_another_site_fills_nothing_in(
    world: World, browser: Client, headers: dict[str, str]
) -> None:
    page = edit_page(world)
    answer = browser.post(page, {**TYPED, "csrfmiddlewaretoken": "x" * 64}, headers=headers)
    assert (answer.status_code, b"Nothing was done" in answer.content) == (403, True)
    shown = html_of(browser.get(page))
    assert 'value="2.75"' not in shown
    assert not KillSwitch.objects.exists()


def test_secrets_are_typed_again(world: World, browser: Client) -> None:
    page = f"/accounts/{world.mt5.pk}/credentials/"
    old = signed_in_again(browser, page)
    typed = {"password": "s3cret", "csrfmiddlewaretoken": old}
    answer = browser.post(page, typed, headers=FROM_OUR_PAGE, follow=True)
    assert "Nothing was done" in html_of(answer)
    assert "s3cret" not in str(dict(browser.session))
    assert "What you typed is below" not in html_of(answer)
