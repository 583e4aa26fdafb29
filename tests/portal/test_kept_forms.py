"""A session that ends in the middle of a form: nothing that was typed is lost, secrets excepted."""

import time

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from common.db.sql import run
from portal.kept_forms import MAX_CHARACTERS
from portal.pages import NOTHING_DONE
from signals.models import MAX_TERMS
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World
from users.models import LoginSession, User
from users.tasks import delete_ended_sessions

pytestmark = pytest.mark.django_db
LOST = "What you typed could not be kept: please enter it again."
TYPED = {"multiplier": "2.75", "directions": "SELL", "priority": "30"}


def session_ends(client: Client) -> None:
    assert LoginSession.objects.filter(session_key=client.session.session_key).delete()[0] == 1


def sign_in(client: Client, to: str, username: str = "alice") -> str:
    """Sign in on the page that a redirect leads to; return the page that follows."""
    typed = {"username": username, "password": PASSWORD, "next": to.partition("next=")[2]}
    return html_of(client.post(to, typed, follow=True))


def edit_page(world: World) -> str:
    return f"/subscriptions/{world.subscriptions[0].pk}/edit/"


def test_form_is_shown_again_with_what_was_typed(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client, page = signed_in(world.alice), edit_page(world)
    assert 'value="2.75"' not in html_of(client.get(page))
    session_ends(client)
    to = client.post(page, TYPED)["Location"]
    assert to == f"/login/?next={page}"
    run("RESET ROLE")
    world.subscriptions[0].refresh_from_db()
    run("SET ROLE fillcast_web")
    assert str(world.subscriptions[0].multiplier.normalize()) == "1", "nothing was changed"
    shown = sign_in(client, to)
    assert "Your session had ended when you sent this form." in shown
    assert 'value="2.75"' in shown
    assert '<option value="SELL" selected' in shown
    assert "Nothing was saved." not in shown
    assert 'value="2.75"' not in html_of(client.get(page)), "shown once"


def test_another_user_of_the_browser_sees_nothing(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    client.get("/keys/create/")
    session_ends(client)
    to = client.post("/keys/create/", {"name": "alices report", "life": "30"})["Location"]
    shown = sign_in(client, to, "bob")
    assert "New API key" in shown
    assert "alices report" not in shown
    assert "Your session had ended" not in shown


def test_late_form_is_forgotten(
    world: World, signed_in: SignedIn, as_web: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(world.alice)
    client.get("/keys/create/")
    session_ends(client)
    to = client.post("/keys/create/", {"name": "alices report"})["Location"]
    now = time.time()
    monkeypatch.setattr("portal.kept_forms.time.time", lambda: now + 1801)
    assert "alices report" not in sign_in(client, to)


def test_secrets_are_never_stored(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.alice)
    client.get("/")
    session_ends(client)
    typed = {"name": "kept", "secret": "s3cret", "api_key": "s3cret", "password": "s3cret",
             "url": "s3cret", "csrfmiddlewaretoken": "s3cret"}  # fmt: skip
    for page in (
        "/channels/create/advanced/",
        f"/accounts/{world.mt5.pk}/credentials/",
        "/password/",
    ):
        client.post(page, typed)
        kept = dict(client.session).get("kept_form", {"fields": {}})
        assert "s3cret" not in str(kept), page
    assert kept["fields"] == {"name": ["kept"]}


def test_visitor_without_an_earlier_session_keeps_nothing(world: World, as_web: None) -> None:
    client = Client()
    response = client.post("/keys/create/", {"name": "a stranger's"})
    assert response["Location"] == "/login/?next=/"
    assert "kept_form" not in client.session
    assert User.objects.count() == 5


def test_sessions_that_have_ended_are_deleted_with_their_forms(
    world: World, signed_in: SignedIn
) -> None:
    client, other = signed_in(world.alice), signed_in(world.alice)
    client.get("/keys/create/")
    session_ends(client)
    client.post("/keys/create/", {"name": "alices report", "life": "30"})
    kept = LoginSession.objects.get(session_key=client.session.session_key)
    LoginSession.objects.filter(pk=kept.pk).update(expire_date=timezone.now())
    delete_ended_sessions()
    assert not LoginSession.objects.filter(pk=kept.pk).exists()
    assert other.get("/keys/").status_code == 200


def test_longest_terms_are_kept(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.alice)
    client.get("/keys/create/")
    session_ends(client)
    longest = "Terms.\r\n" * (MAX_TERMS // len("Terms.\n"))
    typed = {"name": "n" * 200, "description": "d" * 2_000, "terms": longest}
    client.post(reverse("portal:publishing_terms", args=[world.own.slug]), typed)
    assert dict(client.session)["kept_form"]["fields"]["terms"] == [longest]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"name": "n" * (MAX_CHARACTERS + 1)}, f"{NOTHING_DONE} {LOST}"),
        ({"csrfmiddlewaretoken": "x"}, NOTHING_DONE),
    ],
)
def test_sign_in_page_says_what_was_not_kept(
    world: World, signed_in: SignedIn, as_web: None, typed: dict[str, str], sentence: str
) -> None:
    client = signed_in(world.alice)
    client.get("/keys/create/")
    session_ends(client)
    shown = html_of(client.post("/keys/create/", typed, follow=True))
    assert f"<p>{sentence}</p>" in shown
    assert "Sign in" in shown
    assert NOTHING_DONE not in html_of(client.get("/login/")), "stated once"


def test_sign_in_page_says_nothing_of_what_was_kept(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    client.get("/keys/create/")
    session_ends(client)
    shown = html_of(client.post("/keys/create/", {"name": "kept"}, follow=True))
    assert NOTHING_DONE not in shown
