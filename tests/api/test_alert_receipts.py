"""The endpoint for alerts over HTTP: its answer, the status of an alert, the feed's log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from alerts.models import IncomingAlert
from signals.feeds.services import create_feed_token
from signals.models import Feed
from tests.alert_inbox import settled
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_alert_sequence import AlertEndpoint, exits, strategy
from tests.api.test_hooks import posted
from tests.api.test_problems import problem


def reversal() -> dict[str, Any]:
    """Return it as sent now: an alert is refused five minutes after it was sent."""
    return strategy("long", "sell", "short", 0, contracts="2")


@pytest.fixture
def endpoint(world: World, as_web: AsWeb) -> AlertEndpoint:
    return AlertEndpoint(world, as_web)


def test_answer_names_the_status_of_the_alert(
    world: World, endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    with as_web():
        answer = posted(endpoint.path)
        waiting = Client().get(answer.json()["status"]).json()
    assert (answer.status_code, answer.json()["state"]) == (202, "WAITING")
    assert (waiting["state"], waiting["id"]) == ("WAITING", None)
    assert waiting["wait"]["code"] == "ALERT_WAITS_FOR_WORKER"
    assert waiting["wait"]["until"] > waiting["wait"]["since"]
    settled(answer.json()["alert"])
    with as_web():
        done = Client().get(answer.json()["status"]).json()
    assert (done["state"], done["is_published"], done["wait"]) == ("PUBLISHED", True, None)
    assert done["signals"] == [done["number"]]
    assert done["candidates"] == 1


def test_refused_alert_states_why(world: World, endpoint: AlertEndpoint, as_web: AsWeb) -> None:
    with as_web():
        answer = posted(endpoint.path, {"action": "CLOSE", "refers_to_external_id": "no"})
    settled(answer.json()["alert"])
    with as_web():
        done = Client().get(answer.json()["status"]).json()
    assert (done["state"], done["code"], done["refusal"]) == (
        "REFUSED", done["errors"][0]["code"], "INVALID"
    )  # fmt: skip


def test_status_opens_only_with_the_token_of_the_alert(
    world: World, endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    _, other = create_feed_token(world.public, "other")
    with as_web():
        number = posted(endpoint.path).json()["alert"]
        of_other = f"/hooks/tradingview/{world.public.slug}/{other}/alerts/{number}/"
        problem(Client().get(of_other), 404, "NOT_FOUND")
        wrong = f"/hooks/tradingview/{world.public.slug}/wrong/alerts/{number}/"
        problem(Client().get(wrong), 404, "FEED_UNKNOWN")
        problem(Client().get(f"{endpoint.path}alerts/999999999999999999999999/"), 404, "NOT_FOUND")


def test_status_opens_only_from_where_alerts_are_accepted(
    world: World, endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    with as_web():
        status = posted(endpoint.path).json()["status"]
    world.public.alert_sources = ["203.0.113.0/24"]
    world.public.save()
    with as_web():
        problem(Client().get(status), 403, "ALERT_SOURCE_NOT_ALLOWED")
        there = Client(REMOTE_ADDR="203.0.113.7").get(status)
    assert (there.status_code, there.json()["state"]) == (200, "WAITING")


def test_log_lists_accepted_and_refused_alerts(
    world: World, endpoint: AlertEndpoint, as_web: AsWeb
) -> None:
    with as_web():
        answers = [posted(endpoint.path), posted(endpoint.path, b"buy!")]
    assert [answer.status_code for answer in answers] == [202, 400]
    path = f"/api/v1/feeds/{world.public.slug}/alerts/"
    refused, waiting = world.client("paula").get(path).json()["results"]
    assert (refused["state"], refused["code"], refused["body"]) == (
        "REFUSED", "ALERT_NOT_UNDERSTOOD", "buy!"
    )  # fmt: skip
    assert (waiting["state"], waiting["token"], waiting["address"]) == (
        "WAITING", "alerts", "127.0.0.1"
    )  # fmt: skip
    only = world.client("paula").get(path, {"state": "REFUSED"}).json()["results"]
    assert [one["alert"] for one in only] == [refused["alert"]]
    problem(world.client("paula").get(path, {"state": "LOST"}), 400, "FIELD_INVALID")
    problem(world.client("alice").get(path), 404, "NOT_FOUND")  # though the feed is public


def test_old_reversal_still_closes(endpoint: AlertEndpoint, as_web: AsWeb) -> None:
    position = endpoint.trade()
    with as_web():
        number = posted(endpoint.path, reversal()).json()["alert"]
    past = datetime.now(UTC) - timedelta(seconds=1)
    IncomingAlert.objects.filter(pk=number).update(entry_until=past)
    alert = settled(number)
    assert (alert.state, len(exits(position))) == ("PUBLISHED", 1)
    assert "opened no short trade: It waited" in alert.summary


def test_reversal_in_a_symbol_that_is_not_allowed_only_closes(endpoint: AlertEndpoint) -> None:
    position = endpoint.trade()
    Feed.objects.filter(pk=endpoint.feed.pk).update(alert_symbols=["GBP/USD"])
    body = endpoint.accept(**reversal())
    assert len(exits(position)) == len(body["signals"]) == 1
    assert "opened no short trade: This feed opens trades by alerts only in GBP/USD" in str(
        body["summary"]
    )


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        ("alert_symbols", ["eurusd", "EUR/USD", "XETR:DAX"], ["EUR/USD", "DAX/EUR"]),
        (
            "alert_sources",
            ["TradingView", "203.0.113.9/24", "2001:DB8::1"],
            ["tradingview", "203.0.113.0/24", "2001:db8::1"],
        ),
        ("alerts_per_minute", 600, 600),
        ("alerts_signed_only", True, True),
    ],
)
def test_rules_are_kept_in_one_spelling(world: World, field: str, sent: Any, kept: Any) -> None:
    path = f"/api/v1/feeds/{world.public.slug}/"
    changed = world.client("paula").patch(path, {field: sent}, format="json")
    assert (changed.status_code, changed.json()[field]) == (200, kept)


@pytest.mark.parametrize(
    ("field", "sent", "code"),
    [
        ("alert_symbols", ["DAX"], "SYMBOL_UNKNOWN"),
        ("alert_sources", ["example.com"], "FIELD_INVALID"),
        ("alert_sources", ["203.0.113.0/99"], "FIELD_INVALID"),
        ("alerts_per_minute", 0, "FIELD_INVALID"),
        ("alerts_per_minute", 6_001, "FIELD_INVALID"),
    ],
)
def test_unreadable_rules_are_refused(world: World, field: str, sent: Any, code: str) -> None:
    path = f"/api/v1/feeds/{world.public.slug}/"
    refused = problem(world.client("paula").patch(path, {field: sent}, format="json"), 400, code)
    assert [error["field"].partition(".")[0] for error in refused["errors"]] == [field]


def test_rotation_shows_the_new_address_once(world: World, endpoint: AlertEndpoint) -> None:
    token = world.public.tokens.get()
    path = f"/api/v1/feeds/{world.public.slug}/tokens/{token.pk}/rotate/"
    end = datetime.now(UTC) + timedelta(days=1)
    created = world.client("paula").post(path, {"old_ends_at": end.isoformat()}, format="json")
    assert (created.status_code, created["Cache-Control"]) == (201, "no-store")
    assert posted(created.json()["path"]).status_code == posted(endpoint.path).status_code == 202
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    refused = world.client("paula").post(path, {"old_ends_at": past}, format="json")
    assert problem(refused, 400, "FIELD_INVALID")["errors"][0]["field"] == "old_ends_at"


def test_rotation_at_once_revokes_the_old_address(world: World, endpoint: AlertEndpoint) -> None:
    token = world.public.tokens.get()
    path = f"/api/v1/feeds/{world.public.slug}/tokens/{token.pk}/rotate/"
    missing = world.client("paula").post(path, {}, format="json")
    problem(missing, 400, "FIELD_REQUIRED")  # an end that was forgotten is no order to end it
    created = world.client("paula").post(path, {"old_ends_at": None}, format="json")
    assert created.status_code == 201, created.json()
    assert posted(created.json()["path"]).status_code == 202
    assert posted(endpoint.path).status_code == 404
    assert world.public.tokens.get(pk=token.pk).revoked_at is not None


def test_secrets_in_an_alert_are_not_stored_and_sizes_are_named(endpoint: AlertEndpoint) -> None:
    answer = posted(endpoint.path, b"60123456789,buy,EURUSD,risk=1,sl_price=1.08")
    assert answer.status_code == 202, answer.json()
    assert "Without effect: risk: " in answer.json()["summary"]
    stored = bytes(IncomingAlert.objects.get(pk=answer.json()["alert"]).body)
    assert b"60123456789" not in stored
    assert stored.endswith(b"buy,EURUSD,risk=1,sl_price=1.08")
