"""Requests of the API that the database cannot serve in time: retried once, then 503."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from common.db.errors import is_lost, is_transient
from signals.feeds.services import create_feed_token
from signals.models import Feed, Signal
from tests.alert_inbox import answer_of
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
from tests.api.test_problems import problem
from tests.execution import factories as trading

__all__ = ["world"]


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
