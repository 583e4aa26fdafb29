"""Pages that the database cannot serve in time: retried once, then 503."""

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from common.db.errors import DatabaseTrouble
from config.middleware.request_retry import unavailable
from events.models import Event, EventKind
from tests.api.factories import World
from tests.api.pending_requests import (
    LONG_MS,
    SHORT_MS,
    PendingRequest,
    Send,
    held,
    locked,
    without_raising,
    world,
)
from tests.connections import make
from users.models import User

__all__ = ["world"]


def post_form(user: User, path: str, **data: str) -> Any:
    client = without_raising(Client())
    client.force_login(user)
    return client.post(path, data)


def test_pages_of_portal_and_console_return_503_too(
    world: World, limits: Callable[..., None]
) -> None:
    row = make.connection(world.alice, account="901")
    root = User.objects.create_superuser("root", "", "correct horse battery")
    name = "connections/executionconnection"
    limits(lock_timeout=SHORT_MS)
    for user, path in ((world.alice, f"/accounts/{row.pk}/pause/"),
                       (root, f"/admin/{name}/{row.pk}/pause/")):  # fmt: skip
        with held(row):
            response = PendingRequest(partial(post_form, user, path, to="pause")).result()
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        html = response.content.decode()
        assert "nothing of it was stored" in html
        assert "DATABASE_BUSY" in html
        assert "Content-Security-Policy" in response
        assert "data-try-again" not in html, "loading it again would send the form again"
    row.refresh_from_db()
    assert not row.is_paused


def test_page_that_cannot_be_read_loads_itself_again(
    world: World, limits: Callable[..., None]
) -> None:
    client = without_raising(Client())
    client.force_login(world.alice)
    limits(lock_timeout=SHORT_MS)
    with locked("connections_executionconnection"):
        response: Any = PendingRequest(partial(client.get, "/accounts/")).result()
    assert response.status_code == 503
    assert 'data-try-again="5"' in response.content.decode()


def test_page_is_retried_with_its_session_and_form(
    world: World, limits: Callable[..., None]
) -> None:
    row = make.connection(world.alice, account="901")
    limits(lock_timeout=LONG_MS)
    with held(row):
        send = partial(post_form, world.alice, f"/accounts/{row.pk}/pause/")
        request = PendingRequest(send)
        request.wait_for_retry_of_cancelled()
    assert request.result().status_code == 302
    row.refresh_from_db()
    assert row.is_paused


OLD, NEW = "correct horse battery", "another horse battery"
OWN_PASSWORD = pytest.mark.parametrize(
    ("username", "path"), [("alice", "/password/"), ("olga", "/admin/password_change/")]
)


def password_change(world: World, username: str, path: str) -> Send:
    user: User = getattr(world, username)
    user.set_password(OLD)
    user.save()
    typed = {"old_password": OLD, "new_password1": NEW, "new_password2": NEW}
    return partial(post_form, user, path, **typed)


def right_passwords(username: str) -> list[str]:
    user = User.objects.get(username=username)
    return [password for password in (OLD, NEW) if user.check_password(password)]


@OWN_PASSWORD
def test_password_that_cannot_be_changed_in_time_is_kept(
    world: World, limits: Callable[..., None], username: str, path: str
) -> None:
    send = password_change(world, username, path)
    limits(lock_timeout=SHORT_MS)
    with locked("events_event"):
        response = PendingRequest(send).result()
    html = response.content.decode()
    assert (response.status_code, response.get("Retry-After")) == (503, "5")
    assert "nothing of it was stored" in html
    assert right_passwords(username) == [OLD]


@OWN_PASSWORD
def test_password_is_changed_by_the_retry(
    world: World, limits: Callable[..., None], username: str, path: str
) -> None:
    send = password_change(world, username, path)
    limits(lock_timeout=LONG_MS)
    with locked("events_event"):
        request = PendingRequest(send)
        request.wait_for_retry_of_cancelled()
    assert request.result().status_code == 302
    assert right_passwords(username) == [NEW]
    (event,) = Event.objects.filter(kind=EventKind.PASSWORD_CHANGED)
    assert event.user_id == getattr(world, username).pk


@pytest.mark.parametrize(
    ("message", "is_away"),
    [("connection failed: Connection refused", True), ("canceling statement", False)],
)
def test_page_states_what_is_not_watched_without_database(message: str, is_away: bool) -> None:
    error = OperationalError(message)
    error.__cause__ = psycopg.OperationalError(message)
    response = unavailable(RequestFactory().get("/"), DatabaseTrouble(error))
    html = " ".join(response.content.decode().split())
    assert response.status_code == 503
    assert "do not depend on this page" in html
    assert ("that Fillcast guards are not watched" in html) is is_away
