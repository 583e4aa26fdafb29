"""Signals over HTTP: stored once, published once, and returned exactly."""

import json
from datetime import timedelta
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import SubscriptionInterval
from connections.services import unsubscribe
from signals.models import Feed, Signal
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem

OPEN = {"feed": "majors", "symbol": "EURUSD", "direction": "BUY", "sl": "1.3800", "tp": 1.40}


def send(world: World, username: str = "paula", query: str = "", **changes: Any) -> Any:
    headers = {"HTTP_IDEMPOTENCY_KEY": changes.pop("key")} if "key" in changes else {}
    return world.client(username).post(
        f"/api/v1/signals/{query}", {**OPEN, **changes}, format="json", **headers
    )


def test_signal_is_sent_and_then_published(world: World, as_web: AsWeb) -> None:
    with as_web():
        response = send(world)
        assert response.status_code == 201
        data = response.json()
        assert data["is_published"] is False
        path = f"/api/v1/signals/{data['id']}/publish/"
        paula = world.client("paula")
        first, second = paula.post(path), paula.post(path)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["published_at"] == second.json()["published_at"]
    signal = Signal.objects.get(pk=data["id"])
    assert signal.published_by == world.paula
    assert signal.orders.count() == 1  # Alice takes this feed; written under row-level security
    assert first.json()["candidate_count"] == 1


def test_decimals_and_times_are_normalised(world: World) -> None:
    data = send(world, valid_until="2099-01-01T00:00:00+02:00").json()
    assert (data["sl"], data["tp"]) == ("1.38", "1.4")
    assert data["targets"] == [{"price": "1.4", "fraction": "1"}]
    assert data["valid_until"] == "2098-12-31T22:00:00Z"
    assert data["open_price"] is None
    assert (data["currency_pair"], data["number"]) == ("EUR/USD", f"S-{data['id']}")
    assert data["created_at"].endswith("Z")


def test_signal_is_sent_and_published_in_one_call(world: World) -> None:
    data = send(world, query="?publish=true").json()
    assert data["is_published"] is True
    problem(send(world, query="?publish=maybe"), 400, "FIELD_INVALID")


def test_stop_limit_good_till_date_signal_is_stored_and_shown(world: World) -> None:
    fields: dict[str, Any] = {
        "order_type": "STOP_LIMIT", "stop_price": "1.3900", "open_price": "1.3895", "tp": "1.41",
        "time_in_force": "GTD", "valid_until": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    data = send(world, **fields).json()
    names = ("order_type", "stop_price", "open_price", "time_in_force", "valid_until")
    assert [data[name] for name in names] == [
        "STOP_LIMIT", "1.39", "1.3895", "GTD", "2099-01-01T00:00:00Z",
    ]  # fmt: skip
    refused = send(world, **fields | {"open_price": None, "sl": "1.395", "valid_until": None})
    errors = {(e["code"], e["field"]) for e in refused.json()["errors"]}
    assert errors == {
        ("PRICE_REQUIRED", "open_price"),
        ("STOP_WRONG_SIDE", "sl"),
        ("FIELD_REQUIRED", "valid_until"),
    }


def test_failed_publication_stores_nothing(world: World) -> None:
    newcomer = Feed.objects.create(slug="newcomer", name="n", owner=world.paula)
    response = send(world, query="?publish=true", feed="newcomer")
    problem(response, 409, "SIGNAL_NOT_APPROVED")
    assert not Signal.objects.filter(feed=newcomer).exists()


def test_repeated_request_is_idempotent(world: World) -> None:
    for name in ({"key": "k-1"}, {"external_id": "e-1"}):
        first, repeated = send(world, **name), send(world, **name)
        assert (first.status_code, repeated.status_code) == (201, 200)
        assert first.json() == repeated.json()
        problem(send(world, sl="1.37", **name), 409, "DUPLICATE_SIGNAL")
    assert Signal.objects.filter(feed=world.public).count() == 2
    problem(send(world, key="ü"), 400, "FIELD_INVALID")
    problem(send(world, key="x" * 256), 400, "FIELD_INVALID")


def test_malformed_numbers_are_refused(world: World) -> None:
    before = Signal.objects.count()
    for text in ("1e999", "NaN", '"１.２"', '"1_000"', "-1", "1e-5"):
        body = f'{{"feed": "majors", "symbol": "EURUSD", "direction": "BUY", "sl": {text}}}'
        response = world.client("paula").post(
            "/api/v1/signals/", body, content_type="application/json"
        )
        data = json.loads(response.content)
        assert (response.status_code, data["errors"][0]["field"]) == (400, "sl")
        assert data["code"].startswith("NUMBER_")
    assert Signal.objects.count() == before


def test_signals_are_sent_to_ones_own_feeds_only(world: World) -> None:
    before = Signal.objects.count()
    problem(send(world, "bob"), 403, "PERMISSION_DENIED")
    problem(send(world, "bob", feed="by-hand"), 404, "FEED_UNKNOWN")
    problem(send(world, "bob", feed="nowhere"), 404, "FEED_UNKNOWN")
    problem(send(world, "bob", feed=None), 400, "FIELD_REQUIRED")
    assert Signal.objects.count() == before
    assert send(world, "olga").status_code == 201


@pytest.mark.parametrize("wrong", [{}, {"sl": "NaN"}])
@pytest.mark.parametrize(("feed", "code"), [("nowhere", "FEED_UNKNOWN"), (None, "FIELD_REQUIRED")])
def test_unknown_feed_hides_no_fault_that_needs_no_feed(
    world: World, feed: str | None, code: str, wrong: dict[str, str]
) -> None:
    ended = {"close_at": "2020-01-01T00:00:00Z", "valid_until": "2020-01-01T00:00:00Z"}
    errors = send(world, "paula", feed=feed, **ended, **wrong).json()["errors"]
    found = {error["field"]: error["code"] for error in errors}
    expected = {"feed": code, "close_at": "SIGNAL_ENDED", "valid_until": "SIGNAL_ENDED"}
    assert found == expected | ({"sl": "NUMBER_MALFORMED"} if wrong else {})


def test_only_operators_approve_signals(world: World) -> None:
    newcomer = Feed.objects.create(slug="newcomer", name="n", owner=world.paula)
    signal_id = send(world, feed="newcomer").json()["id"]
    path = f"/api/v1/signals/{signal_id}"
    paula, olga = world.client("paula"), world.client("olga")
    problem(paula.post(f"{path}/publish/"), 409, "SIGNAL_NOT_APPROVED")
    problem(paula.post(f"{path}/approve/"), 403, "RIGHT_MISSING")
    assert olga.post(f"{path}/approve/").json()["approval"] == "APPROVED"
    assert paula.post(f"{path}/publish/").json()["is_published"] is True
    problem(olga.post(f"{path}/reject/"), 409, "STATE_CONFLICT")
    assert newcomer.signals.get().published_by == world.paula


@pytest.mark.parametrize("role", ["owner", "web"])
def test_followers_see_published_signals_of_their_subscription(
    world: World, as_web: AsWeb, role: str
) -> None:
    """Unpublished signals never; of a feed that was left, those of the time before."""
    hour = timedelta(hours=1)
    SubscriptionInterval.objects.update(started_at=market_now() - 5 * hour)
    times = {"before": 6 * hour, "while": 2 * hour, "never": None}
    signals = {
        name: Signal.objects.create(
            feed=world.public,
            currency_pair="EUR/USD",
            direction="BUY",
            approval="APPROVED",
            published_at=market_now() - ago if ago else None,
            candidate_count=7,
        ).pk
        for name, ago in times.items()
    }

    def visible_ids() -> set[int]:
        if role == "web":
            with as_web():
                data = world.client("alice").get("/api/v1/signals/?feed=majors").json()
        else:
            data = world.client("alice").get("/api/v1/signals/?feed=majors").json()
        counts = {result["candidate_count"] for result in data["results"]}
        assert counts <= {None}  # for the provider only
        return {result["id"] for result in data["results"]}

    assert visible_ids() == {signals["before"], signals["while"]}
    unsubscribe(world.subscription.pk, by=world.alice)
    Signal.objects.filter(pk=signals["never"]).update(published_at=market_now() + hour)
    assert visible_ids() == {signals["while"]}
    assert world.client("bob").get("/api/v1/signals/?feed=majors").json()["results"] == []


def test_private_feed_needs_no_approval_until_it_goes_public(world: World) -> None:
    alice, olga = world.client("alice"), world.client("olga")
    private = alice.post("/api/v1/feeds/", {"name": "Mine", "is_public": False}, format="json")
    public = alice.post("/api/v1/feeds/", {"name": "All"}, format="json")
    assert (private.json()["is_approved"], public.json()["is_approved"]) == (True, False)
    problem(
        alice.patch("/api/v1/feeds/all/", {"is_approved": True}, format="json"),
        403,
        "RIGHT_MISSING",
    )
    problem(
        alice.post("/api/v1/feeds/", {"name": "x", "is_approved": True}, format="json"),
        403,
        "RIGHT_MISSING",
    )
    gone_public = alice.patch("/api/v1/feeds/mine/", {"is_public": True}, format="json").json()
    assert (gone_public["is_public"], gone_public["is_approved"]) == (True, False)
    approved = olga.patch("/api/v1/feeds/mine/", {"is_approved": True}, format="json").json()
    assert approved["is_approved"] is True
    problem(alice.patch("/api/v1/feeds/mine/", {"slug": "x"}, format="json"), 400, "FIELD_INVALID")
    problem(alice.post("/api/v1/feeds/", {"name": "All"}, format="json"), 400, "FIELD_INVALID")
