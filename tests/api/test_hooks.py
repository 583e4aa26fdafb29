"""The alert endpoint over HTTP."""

import json
from typing import Any

import pytest
from django.test import Client

from api.alert_paths import hide_tokens
from signals.feeds.services import create_feed_token, signature_of
from signals.models import Feed, Signal
from tests.alert_inbox import answer_of
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem

ALERT = {"symbol": "FX:EURUSD", "direction": "buy", "sl": "1.08"}


@pytest.fixture
def endpoint(world: World) -> str:
    _, secret = create_feed_token(world.public)
    return f"/hooks/tradingview/{world.public.slug}/{secret}/"


def posted(
    path: str, body: Any = None, content_type: str = "application/json", **headers: str
) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body or ALERT).encode()
    client: Any = Client(enforce_csrf_checks=True)
    return client.post(path, data, content_type=content_type, **headers)


def post(*sent: Any, **headers: str) -> Any:
    """Post an alert and publish it, as a worker does; return the answer of the whole."""
    return answer_of(posted(*sent, **headers))


def test_tradingview_posts_json_or_text(world: World, endpoint: str, as_web: AsWeb) -> None:
    with as_web():
        answers = [posted(endpoint), posted(endpoint, content_type="text/plain; charset=utf-8")]
    first, again = map(answer_of, answers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["is_new"] is False
    assert again.json()["signals"] == first.json()["signals"]
    signal = Signal.objects.get(pk=first.json()["id"])
    assert signal.is_published
    assert signal.orders.count() == first.json()["candidates"] == 1


def test_methods_other_than_post_are_refused(world: World, endpoint: str) -> None:
    for method in ("get", "put", "patch", "delete", "head"):
        response = getattr(Client(), method)(endpoint)
        assert response.status_code == 405
        assert response["Allow"] == "POST, OPTIONS"
    problem(Client().get(endpoint), 405, "METHOD_NOT_ALLOWED")


def test_wrong_addresses_get_identical_responses(
    world: World, endpoint: str, as_web: AsWeb
) -> None:
    newcomer = Feed.objects.create(slug="newcomer", name="n", owner=world.paula)
    secret = endpoint.split("/")[-2]
    with as_web():
        bodies = [
            problem(posted(path), 404, "FEED_UNKNOWN") | {"request_id": ""}
            for path in (
                "/hooks/tradingview/majors/wrong/",
                f"/hooks/tradingview/newcomer/{secret}/",
                f"/hooks/tradingview/nowhere/{secret}/",
                f"/hooks/tradingview/majors/{secret[:-1]}/",
                "/hooks/tradingview/majors/%00/",
            )
        ]
    assert all(body == bodies[0] for body in bodies)
    assert not newcomer.signals.exists()


def test_unapproved_feed_and_malformed_bodies_are_refused(
    world: World, endpoint: str, as_web: AsWeb
) -> None:
    newcomer = Feed.objects.create(slug="newcomer", name="n", owner=world.paula)
    _, secret = create_feed_token(newcomer)
    before = Signal.objects.count()
    with as_web():
        problem(posted(f"/hooks/tradingview/newcomer/{secret}/"), 403, "FEED_NOT_APPROVED")
        problem(posted(endpoint, b"x" * 20_000), 413, "BODY_TOO_LARGE")
        problem(posted(endpoint, b"x" * 2_000_000), 413, "BODY_TOO_LARGE")
        problem(posted(endpoint, b"buy!"), 400, "ALERT_NOT_UNDERSTOOD")
        refused = problem(posted(endpoint, ALERT | {"sl": "NaN", "x": 1}), 400, "NUMBER_MALFORMED")
    assert [error["field"] for error in refused["errors"]] == ["sl", "x"]
    assert Signal.objects.count() == before


def test_signed_alerts_need_their_signature(world: World, as_web: AsWeb) -> None:
    token, secret = create_feed_token(world.public, signed=True)
    path = f"/hooks/tradingview/majors/{secret}/"
    body = json.dumps(ALERT | {"external_id": "e"}).encode()
    with as_web():
        problem(posted(path, body), 403, "PERMISSION_DENIED")
        good = posted(path, body, HTTP_X_FILLCAST_SIGNATURE=signature_of(token.signing_key, body))
    assert answer_of(good).status_code == 201


def test_throttled_feed_returns_retry_after(world: World, endpoint: str) -> None:
    Feed.objects.filter(pk=world.public.pk).update(alerts_per_minute=1)
    assert posted(endpoint).status_code == 202
    response = post(endpoint)
    problem(response, 429, "THROTTLED")
    assert 1 <= int(response["Retry-After"]) <= 60


def test_secret_of_an_address_is_not_logged() -> None:
    line = "POST /hooks/tradingview/majors/abc123/ and '/hooks/tradingview/x/y'"
    assert hide_tokens(line) == (
        "POST /hooks/tradingview/majors/[hidden]/ and '/hooks/tradingview/x/[hidden]'"
    )
