"""A request that the database cannot serve in time: tried once more, then 503, at every door."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Model
from django.test import Client

from common.database_errors import is_lost, is_passing
from events.models import Event, EventKind
from signals.feeds import create_feed_token
from signals.models import Feed, Signal
from tests.api import factories as cast
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make
from tests.execution import factories as trading
from users.models import User

SECONDS = 30.0
Send = Callable[[], Any]


@pytest.fixture
def world(transactional_db: None) -> World:
    return cast.build()


class Waiting:
    """A request on a thread of its own, as seen from the database."""

    def __init__(self, send: Send) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._run, args=[send])
        self._thread.start()

    def _run(self, send: Send) -> None:
        try:
            self.answer = send()
        finally:
            connection.close()

    def waits(self, *, after: Any = None) -> Any:
        """Return since when its transaction runs, once it waits for a lock; a later one than
        `after`."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(
                    "SELECT pid, xact_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
                found = cursor.fetchall()
            for pid, start in found:
                if start is not None and (after is None or start > after[1]):
                    return pid, start
        raise AssertionError("the request does not wait for a lock")

    def result(self) -> Any:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the request hangs"
        return self.answer


@contextmanager
def held(row: Model) -> Iterator[None]:
    """Another connection holds a row."""
    with transaction.atomic():
        list(type(row)._default_manager.select_for_update(of=("self",)).filter(pk=row.pk))
        yield


def quiet(client: Client) -> Client:
    client.raise_request_exception = False
    return client


def api(world: World, method: str, path: str, **body: Any) -> Any:
    client = quiet(world.client("alice"))
    return getattr(client, method)(f"/api/v1/{path}", body, format="json")


def rename(world: World) -> Send:
    return lambda: api(world, "patch", f"feeds/{world.feed.slug}/", name="renamed")


def test_a_request_that_waited_too_long_is_tried_again(
    world: World, limits: Callable[..., None]
) -> None:
    limits(lock_timeout=400)
    with held(world.feed):
        request = Waiting(rename(world))
        first = request.waits()
        request.waits(after=first)
    answer = request.result()
    assert (answer.status_code, answer.json()["name"]) == (200, "renamed")


@pytest.mark.parametrize(
    "limit", [{"lock_timeout": 300}, {"statement_timeout": 300, "lock_timeout": 0}], ids=str
)
def test_the_second_time_it_is_503_and_nothing_is_kept(
    world: World, limits: Callable[..., None], limit: dict[str, int]
) -> None:
    limits(**limit)
    with held(world.feed):
        answer = Waiting(rename(world)).result()
    problem(answer, 503, "DATABASE_BUSY")
    assert answer["Retry-After"] == "5"
    assert answer["Cache-Control"] == "no-store"
    assert Feed.objects.get(pk=world.feed.pk).name == "By hand"


def test_a_session_that_is_ended_in_the_middle_is_tried_again(world: World) -> None:
    with held(world.feed):
        request = Waiting(rename(world))
        pid, start = request.waits()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        request.waits(after=(pid, start))
    answer = request.result()
    assert (answer.status_code, answer.json()["name"]) == (200, "renamed")


def alert(world: World, secret: str) -> Any:
    said = {"action": "OPEN", "symbol": "EUR/USD", "direction": "BUY", "external_id": "one"}
    body = json.dumps(said)
    path = f"/hooks/tradingview/{world.feed.slug}/{secret}/"
    return quiet(Client()).post(path, body, content_type="text/plain")


def test_an_alert_is_tried_again_and_published_once(
    world: World, limits: Callable[..., None]
) -> None:
    _, secret = create_feed_token(world.feed)
    limits(lock_timeout=400)
    with held(world.feed):
        request = Waiting(partial(alert, world, secret))
        request.waits(after=request.waits())
    answer = request.result()
    assert (answer.status_code, answer.json()["is_published"]) == (201, True)
    assert Signal.objects.filter(external_id="one").count() == 1


def test_an_alert_that_cannot_be_taken_is_503(world: World, limits: Callable[..., None]) -> None:
    _, secret = create_feed_token(world.feed)
    limits(lock_timeout=300)
    with held(world.feed):
        answer = Waiting(partial(alert, world, secret)).result()
    problem(answer, 503, "DATABASE_BUSY")
    assert answer["Retry-After"] == "5"
    assert not Signal.objects.filter(external_id="one").exists()


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Another connection holds a whole table."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def test_publication_whose_preview_is_cut_short_is_503(
    world: World, limits: Callable[..., None]
) -> None:
    """The accounts are judged by prices that cannot be read in time."""
    trading.instrument()
    for _ in range(3):
        trading.account(world.public, type="paper")
    said = {"feed": world.public.slug, "symbol": "EUR/USD", "direction": "BUY", "sl": "1.09"}

    def publish() -> Any:
        client = quiet(world.client("paula"))
        return client.post("/api/v1/signals/?publish=true", said, format="json")

    before = Signal.objects.count()
    limits(lock_timeout=300)
    with locked("prices_latestquote"):
        answer = Waiting(publish).result()
    problem(answer, 503, "DATABASE_BUSY")
    assert answer["Retry-After"] == "5"
    assert Signal.objects.count() == before


def pages(user: User, path: str, **data: str) -> Any:
    client = quiet(Client())
    client.force_login(user)
    return client.post(path, data)


def test_pages_of_portal_and_console_are_503_too(world: World, limits: Callable[..., None]) -> None:
    row = make.connection(world.alice, account="901")
    root = User.objects.create_superuser("root", "", "correct horse battery")
    name = "connections/executionconnection"
    limits(lock_timeout=300)
    for user, path in ((world.alice, f"/accounts/{row.pk}/pause/"),
                       (root, f"/admin/{name}/{row.pk}/pause/")):  # fmt: skip
        with held(row):
            answer = Waiting(partial(pages, user, path, to="pause")).result()
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        html = answer.content.decode()
        assert "nothing of it was stored" in html
        assert "DATABASE_BUSY" in html
        assert "Content-Security-Policy" in answer
    row.refresh_from_db()
    assert not row.is_paused


def test_a_page_is_tried_again_with_its_session_and_form(
    world: World, limits: Callable[..., None]
) -> None:
    row = make.connection(world.alice, account="901")
    limits(lock_timeout=400)
    with held(row):
        request = Waiting(partial(pages, world.alice, f"/accounts/{row.pk}/pause/"))
        request.waits(after=request.waits())
    assert request.result().status_code == 302
    row.refresh_from_db()
    assert row.is_paused


OLD, NEW = "correct horse battery", "another horse battery"
OWN_PASSWORD = pytest.mark.parametrize(
    ("who", "path"), [("alice", "/password/"), ("olga", "/admin/password_change/")]
)


def changes_password(world: World, who: str, path: str) -> Send:
    user: User = getattr(world, who)
    user.set_password(OLD)
    user.save()
    typed = {"old_password": OLD, "new_password1": NEW, "new_password2": NEW}
    return partial(pages, user, path, **typed)


def right_passwords(who: str) -> list[str]:
    user = User.objects.get(username=who)
    return [password for password in (OLD, NEW) if user.check_password(password)]


@OWN_PASSWORD
def test_a_password_that_cannot_be_changed_in_time_is_503_and_stays(
    world: World, limits: Callable[..., None], who: str, path: str
) -> None:
    send = changes_password(world, who, path)
    limits(lock_timeout=400)
    with locked("events_event"):
        answer = Waiting(send).result()
    html = answer.content.decode()
    assert (answer.status_code, answer.get("Retry-After")) == (503, "5")
    assert "nothing of it was stored" in html
    assert right_passwords(who) == [OLD]


@OWN_PASSWORD
def test_a_password_is_changed_by_the_second_try(
    world: World, limits: Callable[..., None], who: str, path: str
) -> None:
    send = changes_password(world, who, path)
    limits(lock_timeout=2000)
    with locked("events_event"):
        request = Waiting(send)
        request.waits(after=request.waits())
    assert request.result().status_code == 302
    assert right_passwords(who) == [NEW]
    (event,) = Event.objects.filter(kind=EventKind.PASSWORD_CHANGED)
    assert event.user_id == getattr(world, who).pk


def raised(state: str) -> DatabaseError:
    with (
        pytest.raises(DatabaseError) as caught,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")
    return caught.value


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "passes", "lost"),
    [
        ("55P03", True, False), ("57014", True, False), ("40001", True, False),
        ("40P01", True, False), ("25P03", True, False), ("53300", True, False),
        ("08006", True, True), ("57P01", True, True),
        ("23505", False, False), ("23514", False, False), ("42501", False, False),
    ],
)  # fmt: skip
def test_which_errors_pass(state: str, passes: bool, lost: bool) -> None:
    error = raised(state)
    assert (is_passing(error), is_lost(error)) == (passes, lost)


def test_our_own_errors_do_not_pass() -> None:
    assert not is_passing(DatabaseError("no driver said so"))
    assert not is_passing(RuntimeError())
