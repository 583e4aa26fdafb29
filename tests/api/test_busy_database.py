"""Requests that the database cannot serve in time: retried once, then 503, at each entry point."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import Model
from django.test import Client
from psycopg.pq import TransactionStatus

from common.database_errors import is_lost, is_transient
from events.models import Event, EventKind
from signals.feeds import create_feed_token
from signals.models import Feed, Signal
from tests.alert_inbox import answer_of
from tests.api import factories
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make
from tests.execution import factories as trading
from users.models import User

SECONDS = 30.0
SHORT_MS = 60  # of a wait that is to end by its time-out
LONG_MS = 60_000
Send = Callable[[], Any]


@pytest.fixture
def world(transactional_db: None) -> World:
    return factories.build()


class PendingRequest:
    """A request on its own thread, observed in the database."""

    def __init__(self, send: Send, *, retry_waits: bool = False) -> None:
        """retry_waits: after the first time-out, its session waits as long as it has to."""
        self.response: Any = None
        self._timed_out, self._retry_waits = threading.Event(), retry_waits
        self._thread = threading.Thread(target=self._run, args=[send])
        self._thread.start()

    def _run(self, send: Send) -> None:
        try:
            with connection.execute_wrapper(self._watch):
                self.response = send()
        finally:
            connection.close()

    def _watch(self, execute: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        session = context["connection"].connection
        has_failed = session.info.transaction_status == TransactionStatus.INERROR
        if self._retry_waits and self._timed_out.is_set() and not has_failed:
            session.execute("SET lock_timeout = 0; SET statement_timeout = 0")
        try:
            return execute(sql, parameters, many, context)
        except OperationalError:
            self._timed_out.set()
            raise

    def wait_for_retry(self) -> None:
        """Wait until it has timed out and waits for the lock again."""
        assert self._timed_out.wait(SECONDS), "the request has not timed out"
        self.wait_for_lock()

    def wait_for_lock(self, *, after: Any = None) -> Any:
        """Return its session and when its transaction began, once it waits for a lock.

        after: an earlier result; the transaction must be a later one.
        """
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(
                    "SELECT pid, xact_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
                sessions = cursor.fetchall()
            for pid, start in sessions:
                if start is not None and (after is None or start > after[1]):
                    return pid, start
        raise AssertionError("the request does not wait for a lock")

    def wait_for_retry_of_cancelled(self) -> None:
        """Cancel its first wait, as a statement's time-out does; return when it waits again."""
        first = self.wait_for_lock()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_cancel_backend(%s)", [first[0]])
        self.wait_for_lock(after=first)

    def result(self) -> Any:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the request hangs"
        return self.response


@contextmanager
def held(row: Model) -> Iterator[None]:
    """Hold a row in another transaction."""
    with transaction.atomic():
        list(type(row)._default_manager.select_for_update(of=("self",)).filter(pk=row.pk))
        yield


def without_raising(client: Client) -> Client:
    client.raise_request_exception = False
    return client


def api(world: World, method: str, path: str, **body: Any) -> Any:
    client = without_raising(world.client("alice"))
    return getattr(client, method)(f"/api/v1/{path}", body, format="json")


def rename(world: World) -> Send:
    return lambda: api(world, "patch", f"feeds/{world.feed.slug}/", name="renamed")


def test_request_that_waited_too_long_is_retried(world: World, limits: Callable[..., None]) -> None:
    limits(lock_timeout=SHORT_MS)
    with held(world.feed):
        request = PendingRequest(rename(world), retry_waits=True)
        request.wait_for_retry()
    response = request.result()
    assert (response.status_code, response.json()["name"]) == (200, "renamed")


@pytest.mark.parametrize(
    "limit", [{"lock_timeout": SHORT_MS}, {"statement_timeout": 300, "lock_timeout": 0}], ids=str
)
def test_second_time_out_is_503_and_stores_nothing(
    world: World, limits: Callable[..., None], limit: dict[str, int]
) -> None:
    limits(**limit)
    with held(world.feed):
        response = PendingRequest(rename(world)).result()
    problem(response, 503, "DATABASE_BUSY")
    assert response["Retry-After"] == "5"
    assert response["Cache-Control"] == "no-store"
    assert Feed.objects.get(pk=world.feed.pk).name == "By hand"


def test_request_with_a_terminated_session_is_retried(world: World) -> None:
    with held(world.feed):
        request = PendingRequest(rename(world))
        pid, start = request.wait_for_lock()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        request.wait_for_lock(after=(pid, start))
    response = request.result()
    assert (response.status_code, response.json()["name"]) == (200, "renamed")


def alert(world: World, secret: str) -> Any:
    fields = {"action": "OPEN", "symbol": "EUR/USD", "direction": "BUY", "external_id": "one"}
    body = json.dumps(fields)
    path = f"/hooks/tradingview/{world.feed.slug}/{secret}/"
    response = without_raising(Client()).post(path, body, content_type="text/plain")
    return answer_of(response)


def test_alert_is_retried_and_published_once(world: World, limits: Callable[..., None]) -> None:
    _, secret = create_feed_token(world.feed)
    limits(lock_timeout=LONG_MS)
    with held(world.feed):
        request = PendingRequest(partial(alert, world, secret))
        request.wait_for_retry_of_cancelled()
    response = request.result()
    assert (response.status_code, response.json()["is_published"]) == (201, True)
    assert Signal.objects.filter(external_id="one").count() == 1


def test_alert_that_cannot_be_stored_in_time_is_503(
    world: World, limits: Callable[..., None]
) -> None:
    _, secret = create_feed_token(world.feed)
    limits(lock_timeout=SHORT_MS)
    with held(world.feed):
        response = PendingRequest(partial(alert, world, secret)).result()
    problem(response, 503, "DATABASE_BUSY")
    assert response["Retry-After"] == "5"
    assert not Signal.objects.filter(external_id="one").exists()


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Hold a whole table in another transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def test_publication_is_503_when_its_preview_times_out(
    world: World, limits: Callable[..., None]
) -> None:
    """The preview's prices cannot be read in time."""
    trading.instrument()
    for _ in range(3):
        trading.account(world.public, type="paper")
    payload = {"feed": world.public.slug, "symbol": "EUR/USD", "direction": "BUY", "sl": "1.09"}

    def publish() -> Any:
        client = without_raising(world.client("paula"))
        return client.post("/api/v1/signals/?publish=true", payload, format="json")

    before = Signal.objects.count()
    limits(lock_timeout=SHORT_MS)
    with locked("prices_latestquote"):
        response = PendingRequest(publish).result()
    problem(response, 503, "DATABASE_BUSY")
    assert response["Retry-After"] == "5"
    assert Signal.objects.count() == before


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


def database_error(state: str) -> DatabaseError:
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
def test_which_database_errors_are_transient(state: str, passes: bool, lost: bool) -> None:
    error = database_error(state)
    assert (is_transient(error), is_lost(error)) == (passes, lost)


def test_our_own_errors_are_not_transient() -> None:
    assert not is_transient(DatabaseError("not from the driver"))
    assert not is_transient(RuntimeError())
