"""Every error is a problem document with a stable code."""

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from rest_framework.test import APIClient

from common.clocks import market_now
from common.reason_codes import Code
from signals.models import Signal
from tests.api.factories import World
from users.models import User

MEMBERS = {"type", "title", "status", "detail", "code", "hint", "help", "errors", "request_id"}


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that a response is this problem, and return its body."""
    body: dict[str, Any] = json.loads(response.content)
    assert (response.status_code, body["code"]) == (status, code), body
    assert response["Content-Type"] == "application/problem+json"
    assert body.keys() >= MEMBERS
    assert body["status"] == status
    assert body["type"] == f"urn:fillcast:problem:{code}"
    assert body["title"] == Code(code).sentence
    assert len(body["request_id"]) >= 32
    return body


def test_unknown_addresses_are_not_found(world: World) -> None:
    alice = world.client("alice")
    for path in ("/api/v1/nothing/", "/api/", "/api/v2/orders/", "/hooks/", "/hooks/x/y/z/"):
        problem(alice.get(path), 404, "NOT_FOUND")
    without_slash = problem(alice.get("/api/v1/orders"), 404, "NOT_FOUND")
    assert "slash" in without_slash["detail"]
    unknown = problem(alice.get("/api/v1/orders/999999999/"), 404, "NOT_FOUND")
    assert unknown["detail"] == "There is nothing at /api/v1/orders/999999999/, or it is not yours."
    problem(
        alice.get("/api/v1/connections/00000000-0000-0000-0000-00000000000g/"), 404, "NOT_FOUND"
    )
    problem(alice.get(f"/api/v1/connections/{'-' * 36}/"), 404, "NOT_FOUND")
    problem(alice.get(f"/api/v1/signals/{'9' * 19}/"), 404, "NOT_FOUND")
    problem(alice.get(f"/api/v1/signals/{'9' * 18}/"), 404, "NOT_FOUND")
    problem(alice.get("/api/v1/feeds/a%0Ab/record/"), 404, "NOT_FOUND")
    problem(alice.get("/api/v1/feeds/a/record/%0A"), 404, "NOT_FOUND")


def test_wrong_method_media_type_and_representation_are_refused(world: World) -> None:
    alice = world.client("alice")
    refused = alice.delete("/api/v1/signals/")
    detail = problem(refused, 405, "METHOD_NOT_ALLOWED")["detail"]
    assert detail == "DELETE is not allowed here. Allowed: GET, POST."
    assert set(refused["Allow"].split(", ")) == {"GET", "POST", "HEAD", "OPTIONS"}
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        problem(
            alice.post("/api/v1/signals/", "a=b", content_type=content_type), 415, "BODY_NOT_JSON"
        )
    problem(alice.get("/api/v1/orders/", HTTP_ACCEPT="text/csv"), 406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "FIELD_REQUIRED", "symbol"),
        (b"{", 400, "BODY_NOT_JSON", ""),
        (b"[]", 400, "BODY_NOT_JSON", ""),
        (b'"x"', 400, "BODY_NOT_JSON", ""),
        (b"\xff", 400, "BODY_NOT_JSON", ""),
        (b'{"feed": "' + b"x" * 20_000 + b'"}', 413, "BODY_TOO_LARGE", ""),
        (b'{"feed": "by-hand", "feed": "by-hand"}', 400, "DUPLICATE_KEY", "feed"),
        (b'{"\\ud800": 1, "\\ud800": 2}', 400, "DUPLICATE_KEY", "?"),
        *[(b'{"a":' * n + b"1" + b"}" * n, 400, "", "") for n in (400, 700, 850, 1000, 2500)],
        (b'{"feed": "by-hand", "note": "\\u0000"}', 400, "FIELD_INVALID", "note"),
        (b'{"targets": [{"price": "\\udfff"}]}', 400, "FIELD_INVALID", "targets.0.price"),
    ],
)
def test_malformed_bodies_are_refused(
    world: World, body: bytes, status: int, code: str, field: str
) -> None:
    before = Signal.objects.count()
    response = world.client("alice").post("/api/v1/signals/", body, content_type="application/json")
    refused = problem(response, status, code or response.json()["code"])
    if code:
        assert [error["field"] for error in refused["errors"]][:1] == ([field] if field else [])
    assert Signal.objects.count() == before


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("presets", {}, [("FIELD_REQUIRED", "name"), ("FIELD_REQUIRED", "risk_percent")]),
        ("presets", {"name": "n"}, [("FIELD_REQUIRED", "risk_percent")]),
        (
            "presets",
            {"name": "n", "sizing_mode": "PER_BALANCE", "allow_minimum_quantity": True},
            [
                ("FIELD_INVALID", "allow_minimum_quantity"),
                ("FIELD_REQUIRED", "fixed_quantity"),
                ("FIELD_REQUIRED", "per_balance"),
            ],
        ),
        (
            "presets",
            {"name": "n", "sizing_mode": "RISK_AMOUNT"},
            [("FIELD_REQUIRED", "risk_amount")],
        ),
        (
            "presets",
            {"name": "n", "risk_percent": "1", "max_trade_risk_percent": "101"},
            [("FIELD_INVALID", "max_trade_risk_percent")],
        ),
        ("presets", {"name": "n", "risk_percent": 1.5, "x": 1}, [("FIELD_UNKNOWN", "x")]),
        ("presets", {"name": "n", "risk_percent": "101"}, [("FIELD_INVALID", "risk_percent")]),
        ("presets", {"name": "n", "risk_percent": "0"}, [("FIELD_INVALID", "risk_percent")]),
        ("presets", {"name": "n", "risk_percent": "1_0"}, [("NUMBER_MALFORMED", "risk_percent")]),
        ("presets", {"name": "n", "risk_percent": "１"}, [("NUMBER_MALFORMED", "risk_percent")]),
        ("presets", {"name": "n", "risk_percent": "1e999"}, [("NUMBER_MALFORMED", "risk_percent")]),
        (
            "presets",
            {"name": "n", "risk_percent": "1", "max_open_positions": "1_0"},
            [("NUMBER_MALFORMED", "max_open_positions")],
        ),
        (
            "presets",
            {"name": "n", "risk_percent": "1", "trading_day_zone": "Mars"},
            [("FIELD_INVALID", "trading_day_zone")],
        ),
        (
            "presets",
            {"name": "n" * 101, "sizing_mode": "ALL_IN"},
            [("FIELD_INVALID", "name"), ("FIELD_INVALID", "sizing_mode")],
        ),
        ("connections", {"name": "n", "type": "x", "account": "1"}, [("FIELD_INVALID", "type")]),
        (
            "connections",
            {"name": "n", "type": "paper", "account": "7", "settings": {"password": "x"}},
            [("FIELD_INVALID", "settings.password")],
        ),
        (
            "connections",
            {
                "name": "n",
                "type": "paper",
                "account": "7",
                "settings": {"reply_timeout": "soon", "native_stops": 7, "stops": 1},
            },
            [
                ("FIELD_INVALID", "settings.native_stops"),
                ("FIELD_INVALID", "settings.reply_timeout"),
                ("FIELD_UNKNOWN", "settings.stops"),
            ],
        ),
        (
            "connections",
            {"name": "n", "type": "paper", "account": "7", "credentials": {}},
            [("FIELD_INVALID", "credentials")],
        ),
        (
            "connections",
            {
                "name": "n",
                "type": "paper",
                "account": "7",
                "settings": {"position_mode": "NETTING\0"},
            },
            [("FIELD_INVALID", "settings.position_mode")],
        ),
        ("subscriptions", {"feed": "majors"}, [("FIELD_REQUIRED", "connection")]),
        (
            "kill-switch",
            {"scope": "ALL"},
            [("FIELD_REQUIRED", "mode"), ("FIELD_REQUIRED", "reason")],
        ),
        ("api-keys", {"name": "n", "expires_at": "2030-01-01"}, [("FIELD_INVALID", "expires_at")]),
        ("api-keys", {"name": "n", "user": 1}, [("FIELD_UNKNOWN", "user")]),
    ],
)
def test_invalid_fields_are_named(
    world: World, path: str, body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    response = world.client("alice").post(f"/api/v1/{path}/", body, format="json")
    refused = problem(response, 400, expected[0][0])
    assert [(error["code"], error["field"]) for error in refused["errors"]] == expected


@pytest.mark.parametrize(
    "query",
    [
        "status=NOPE",
        "connection=7",
        "signal=x",
        "created_after=yesterday",
        "page_size=0&cursor=x",
    ],
)
def test_invalid_filters_are_refused(world: World, query: str) -> None:
    response = world.client("alice").get(f"/api/v1/orders/?{query}")
    assert response.status_code in (400, 404)
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("text", ["all", "0", "-1", "2.5", "²", "9" * 5000])
def test_invalid_page_size_is_refused(world: World, text: str) -> None:
    response = world.client("alice").get("/api/v1/orders/", {"page_size": text})
    [error] = problem(response, 400, "FIELD_INVALID")["errors"]
    assert (error["field"], error["detail"]) == ("page_size", "A whole number from 1 to 500.")


@pytest.mark.parametrize(
    ("path", "name"),
    [("orders", "done"), ("feeds", "mine"), ("feeds", "is_public"), ("connections", "archived")],
)
def test_unreadable_boolean_filter_is_refused(world: World, path: str, name: str) -> None:
    client = world.client("alice")
    [error] = problem(client.get(f"/api/v1/{path}/?{name}=maybe"), 400, "FIELD_INVALID")["errors"]
    assert (error["field"], error["detail"]) == (name, "true or false.")
    for text in ("", "true", "False", "1", "0"):
        assert client.get(f"/api/v1/{path}/?{name}={text}").status_code == 200


@pytest.mark.parametrize("text", ["price", "created_at,price", "--id", "connection__owner"])
def test_unknown_order_of_a_list_is_refused(world: World, text: str) -> None:
    response = world.client("alice").get("/api/v1/orders/", {"ordering": text})
    [error] = problem(response, 400, "FIELD_INVALID")["errors"]
    detail = "One of id, created_at; with “-” before it, in reverse."
    assert (error["field"], error["detail"]) == ("ordering", detail)


@pytest.mark.parametrize("text", ["", "id", "-id,", "created_at", "-created_at, id"])
def test_known_order_of_a_list_is_taken(world: World, text: str) -> None:
    response = world.client("alice").get("/api/v1/orders/", {"ordering": text})
    assert response.status_code == 200


@pytest.mark.parametrize("query", ["page_size=2", "page_size=5000", "page_size=", "lang=de"])
def test_large_page_size_and_unknown_parameters_are_taken(world: World, query: str) -> None:
    assert world.client("alice").get(f"/api/v1/orders/?{query}").status_code == 200


def test_conflicting_requests_are_refused(world: World) -> None:
    alice, olga = world.client("alice"), world.client("olga")
    problem(alice.post(f"/api/v1/orders/{world.filled.pk}/cancel/"), 409, "STATE_CONFLICT")
    problem(olga.post(f"/api/v1/orders/{world.filled.pk}/retry/"), 409, "STATE_CONFLICT")
    repeated = {"connection": str(world.connection.pk), "feed": world.public.slug}
    problem(alice.post("/api/v1/subscriptions/", repeated, format="json"), 409, "STATE_CONFLICT")


def test_published_close_is_not_cancelled(world: World) -> None:
    alice, now = world.client("alice"), market_now()
    close = Signal.objects.create(
        feed=world.signal.feed, action="CLOSE", refers_to=world.signal, currency_pair="EUR/USD",
        direction="BUY", approval="APPROVED", published_at=now,
    )  # fmt: skip
    response = alice.post(f"/api/v1/signals/{close.pk}/cancel/")
    error = problem(response, 409, "STATE_CONFLICT")
    assert error["detail"] == (
        f"{close.number} is a published CLOSE, which cannot be cancelled: its exits are under way"
        " or done. To hold the trade again, publish an OPEN."
    )
    close.refresh_from_db()
    assert close.cancelled_at is None


def test_internal_error_reveals_nothing_and_stores_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        Signal.objects.update(note="half written")
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("signals.services.cancel", fail)
    alice = world.client("alice")
    alice.raise_request_exception = False
    response = alice.post(f"/api/v1/signals/{world.signal.pk}/cancel/")
    error = problem(response, 500, "INTERNAL_ERROR")
    assert "secret inside" not in json.dumps(error)
    assert "secret inside" in caplog.text
    assert not Signal.objects.filter(note="half written").exists()


def test_unavailable_database_is_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("lock timeout")

    monkeypatch.setattr("signals.services.cancel", refuse)
    alice = world.client("alice")
    alice.raise_request_exception = False
    response = alice.post(f"/api/v1/signals/{world.signal.pk}/cancel/")
    problem(response, 503, "INSTALLATION_FAULT")
    assert response["Retry-After"] == "5"


def test_refused_request_stores_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the view wrote before the refusal is rolled back."""

    def refuse(*_: Any, **__: Any) -> None:
        from common.errors import ConflictError

        Signal.objects.update(note="half written")
        raise ConflictError(Code.SIGNAL_ENDED)

    monkeypatch.setattr("signals.services.cancel", refuse)
    response = world.client("alice").post(f"/api/v1/signals/{world.signal.pk}/cancel/")
    problem(response, 409, "SIGNAL_ENDED")
    assert not Signal.objects.filter(note="half written").exists()


class TestAuthentication:
    """API keys, sessions, and requests without either."""

    @pytest.mark.parametrize(
        "header", ["Bearer", "Bearer x", "bearer fc_0_0", "Basic YTpi", "Bearer \x00"]
    )
    def test_invalid_keys_are_refused(self, world: World, header: str) -> None:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=header)
        response = client.get("/api/v1/me/")
        problem(response, 401, "AUTHENTICATION_REQUIRED")
        assert response["WWW-Authenticate"] == "Bearer"

    def test_revoked_key_and_deactivated_user_are_refused(self, world: World) -> None:
        alice = world.client("alice")
        assert alice.get("/api/v1/me/").json()["username"] == "alice"
        assert alice.post(f"/api/v1/api-keys/{world.key.pk}/revoke/").status_code == 200
        problem(alice.get("/api/v1/me/"), 401, "AUTHENTICATION_REQUIRED")
        bob = world.client("bob")
        User.objects.filter(username="bob").update(is_active=False)
        problem(bob.get("/api/v1/me/"), 401, "AUTHENTICATION_REQUIRED")

    def test_session_needs_the_csrf_token_to_write(self, world: World) -> None:
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(world.alice)
        assert browser.get("/api/v1/me/").json()["username"] == "alice"
        path = f"/api/v1/signals/{world.signal.pk}/cancel/"
        problem(browser.post(path), 403, "PERMISSION_DENIED")
        assert Signal.objects.get(pk=world.signal.pk).cancelled_at is None

    def test_too_many_requests_are_throttled(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.throttling.rate_of", lambda scope: 2)
        alice = world.client("alice")
        assert [alice.get("/api/v1/me/").status_code for _ in range(2)] == [200, 200]
        response = alice.get("/api/v1/me/")
        problem(response, 429, "THROTTLED")
        assert 1 <= int(response["Retry-After"]) <= 60
        assert world.client("bob").get("/api/v1/me/").status_code == 200

    def test_requests_are_not_throttled_without_redis(
        self, world: World, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        monkeypatch.setattr("api.throttling.rate_of", lambda scope: 0)
        alice = world.client("alice")
        problem(alice.get("/api/v1/me/"), 429, "THROTTLED")
        nowhere = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
        settings.CACHES = {"default": nowhere}
        assert alice.get("/api/v1/me/").status_code == 200
