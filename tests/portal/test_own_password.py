"""Changing one's own password, and what depends on the old one."""

from collections.abc import Callable
from functools import partial

import pytest
from django.core import mail
from django.db import connection
from django.test import Client

from common.db.sql import rows, run
from common.models import TrailLine
from events.models import Channel, Event, EventKind, Notification
from events.services import deliver
from tests.changes.concurrent_forms import at_once
from tests.execution.factories import locked_elsewhere
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World
from tests.portal.test_second_factor import enrol_factor, set_factor_age
from users.models import TryCount, User
from users.sign_in.session_factor import FRESH_SECONDS

pytestmark = pytest.mark.usefixtures("sends")
COMMITS = pytest.mark.django_db(transaction=True)  # so no transaction is open around hashing
NEW, PAGE = "a new long passphrase", "/password/"
TYPED = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}


def has_password(user: User, password: str) -> bool:
    return User.objects.get(pk=user.pk).check_password(password)


def send_waiting() -> None:
    """Deliver as a worker does, without row-level security."""
    (role,) = rows("SELECT current_user AS name")
    run("RESET ROLE")
    deliver()
    run(f"SET ROLE {role.name}")


@COMMITS
@pytest.mark.parametrize("username", ["alice", "olga"])
def test_password_is_changed_and_only_other_sessions_end(
    world: World, signed_in: SignedIn, as_web: None, username: str
) -> None:
    user: User = getattr(world, username)
    client, elsewhere = signed_in(user), signed_in(user)
    form = html_of(client.get(PAGE))
    assert "at least 8 characters" in form
    assert "choose “Forgot password?”" in form, "help with a forgotten password"
    assert 'href="/security/"' in form, "the way back"
    done = client.post(PAGE, TYPED, follow=True)
    assert done.redirect_chain == [("/security/", 302)]
    assert "Your password was changed. All your other sessions were signed out." in html_of(done)
    assert client.get("/security/").status_code == 200
    assert elsewhere.get("/security/")["Location"].startswith("/login/")
    assert not Client().login(username=username, password=PASSWORD)
    assert Client().login(username=username, password=NEW)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"old_password": "a guess"}, "This is not your current password."),
        ({"old_password": ""}, "Enter your current password."),
        ({"new_password2": "another"}, "The two new passwords are different. Enter both again."),
        ({"new_password1": "abc", "new_password2": "abc"}, "at least 8 characters"),
        ({"new_password1": "alice1234", "new_password2": "alice1234"}, "too similar to the"),
        ({"new_password1": "password1", "new_password2": "password1"}, "too common"),
        ({"new_password1": "8450293847", "new_password2": "8450293847"}, "entirely numeric"),
        ({"new_password1": PASSWORD, "new_password2": PASSWORD}, "your current password. Choose"),
    ],
)
def test_refused_password_is_explained_and_nothing_changes(
    world: World, signed_in: SignedIn, as_web: None, typed: dict[str, str], sentence: str
) -> None:
    client, elsewhere = signed_in(world.alice), signed_in(world.alice)
    response = client.post(PAGE, {**TYPED, **typed})
    assert response.status_code == 422
    assert sentence in html_of(response)
    assert NEW not in html_of(response), "no password is sent back"
    assert has_password(world.alice, PASSWORD)
    assert elsewhere.get("/security/").status_code == 200
    assert not Event.objects.filter(kind=EventKind.PASSWORD_CHANGED).exists()


def test_guesses_of_the_current_password_are_counted(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    guess = {**TYPED, "old_password": "a guess"}
    assert [client.post(PAGE, guess).status_code for _ in range(11)] == [422] * 10 + [429]
    refused = client.post(PAGE, TYPED)
    assert (refused.status_code, refused["Retry-After"].isdigit()) == (429, True)
    assert TryCount.objects.get(scope="present password").tries == 10
    assert has_password(world.alice, PASSWORD)


@COMMITS
def test_change_that_the_database_cannot_store_is_not_counted_as_a_guess(
    world: World, signed_in: SignedIn, limits: Callable[..., None]
) -> None:
    client = signed_in(world.alice)
    limits(lock_timeout=200)
    connection.close()
    row = f"SELECT FROM users_user WHERE id = {world.alice.pk} FOR UPDATE"
    with locked_elsewhere(row):
        assert client.post(PAGE, TYPED).status_code == 503
    assert TryCount.objects.get(scope="present password").tries == 0
    assert has_password(world.alice, PASSWORD)
    assert client.post(PAGE, TYPED).status_code == 302


def test_password_change_needs_a_fresh_second_factor(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    enrol_factor(world.alice)
    client = signed_in(world.alice)
    set_factor_age(client, world.alice, FRESH_SECONDS + 1)
    for response in (client.get(PAGE), client.post(PAGE, TYPED)):
        assert response["Location"] == "/security/confirm/?next=%2Fpassword%2F"
    assert has_password(world.alice, PASSWORD)
    set_factor_age(client, world.alice, 0)
    assert client.post(PAGE, TYPED).status_code == 302
    assert has_password(world.alice, NEW)
    assert client.get("/security/").status_code == 200, "the session keeps its second factor"


def test_visitor_signs_in_first(world: World, as_web: None) -> None:
    for response in (Client().get(PAGE), Client().post(PAGE, TYPED)):
        assert response["Location"].startswith("/login/?next=")


@COMMITS
def test_one_of_two_concurrent_changes_is_refused(world: World, signed_in: SignedIn) -> None:
    """A new password is not overwritten by a request that knows the old one only."""
    passwords = ("a first new passphrase", "a second new passphrase")

    def change(client: Client, password: str) -> tuple[int, str]:
        typed = {"new_password1": password, "new_password2": password}
        response = client.post(PAGE, {**TYPED, **typed})
        return response.status_code, html_of(response)

    changes = [partial(change, signed_in(world.alice), password) for password in passwords]
    results = at_once(world.alice, *changes)
    assert sorted(status for status, _ in results) == [302, 422]
    (refused,) = (page for status, page in results if status == 422)
    assert "was changed elsewhere a moment ago" in refused
    stored = [status == 302 for status, _ in results]
    assert [has_password(world.alice, password) for password in passwords] == stored


def test_owner_is_notified_and_the_trail_has_a_line(
    world: World, signed_in: SignedIn, email_channel: Channel
) -> None:
    Notification.objects.all().delete()  # their invented event numbers collide
    before = TrailLine.objects.count()
    client = signed_in(world.alice)
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
    client.post(PAGE, TYPED, REMOTE_ADDR="203.0.113.7")
    send_waiting()
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    assert TrailLine.objects.count() > before
    line = TrailLine.objects.filter(relation="users_user").order_by("-number")[0]
    assert (line.user_id, line.origin, line.address) == (world.alice.pk, "portal", "203.0.113.7")
    assert line.after == {"password": "(secret)"}
    (note,) = Notification.objects.filter(user=world.alice)
    assert note.title == "Your password was changed"
    assert "If you did not do this, ask an administrator" in note.body
    assert "203.0.113.7" in note.body
    assert [message.to for message in mail.outbox] == [["alice@example.com"]]
    assert "https://fillcast.example.com/security/" in mail.outbox[0].body


def test_owner_is_notified_when_an_administrator_sets_it(world: World, signed_in: SignedIn) -> None:
    Notification.objects.all().delete()
    world.olga.is_superuser = True
    world.olga.save()
    client = signed_in(world.olga)
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
    page = f"/admin/users/user/{world.alice.pk}/password/"
    typed = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert client.post(page, typed).status_code == 302
    own = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert client.post("/admin/password_change/", own).status_code == 302
    send_waiting()
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    titles = {note.user.username: note.title for note in Notification.objects.all()}
    assert titles == {
        "alice": "An administrator set a new password for you",
        "olga": "Your password was changed",
    }
