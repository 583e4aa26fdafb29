"""All faults of an input are stated at once, also those of different stages, by their fields."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import DataConnection
from signals.models import Signal
from tests.api.doors import DOORS, ENTRY, alert, api, takes
from tests.api.factories import World
from tests.api.test_doors import written
from tests.execution.factories import quote as quote_of

pytestmark = pytest.mark.django_db
PASSED = datetime(2020, 1, 2, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quote(world: World) -> None:
    """Let the follower's source quote EUR/USD, so that prices are compared with the market."""
    DataConnection.objects.filter(pk=world.prices.pk).update(user=None)
    quote_of(world.connection)


@pytest.mark.parametrize("door", DOORS)
def test_signal_is_refused_with_faults_of_its_fields_the_feed_and_the_market(
    world: World, door: str
) -> None:
    kind, send = DOORS[door]
    Signal.objects.filter(pk=world.published.pk).update(external_id="first")
    sent = written(
        {"order_type": "LIMIT", "open_price": "1.09", "sl": "0.109", "break_even_target": "3",
         "valid_until": PASSED, "time_in_force": "GTD"},
        door,
    )  # fmt: skip
    assert takes(kind, sent)
    before = Signal.objects.count()
    assert send(world, world.public, sent) == {
        ("FIELD_INVALID", "break_even_target"),  # there are two targets
        ("SIGNAL_ENDED", "valid_until"),
        ("PRICE_FAR_FROM_MARKET", "sl"),
    }
    assert Signal.objects.count() == before


@pytest.mark.parametrize("send", [api, alert])
def test_signals_that_it_names_are_looked_up_beside_other_faults(world: World, send: Any) -> None:
    sent = ENTRY | {
        "action": "OPEN", "break_even_target": "3", "after_signal": "999", "after_state": "FILLED",
        "close_when_signal": "998", "close_when_state": "CLOSED", "close_at": PASSED.isoformat(),
    }  # fmt: skip
    assert send(world, world.public, sent) == {
        ("FIELD_INVALID", "break_even_target"),
        ("SIGNAL_ENDED", "close_at"),
        ("REFERENCE_REQUIRED", "after_signal"),
        ("REFERENCE_REQUIRED", "close_when_signal"),
    }


@pytest.mark.parametrize("send", [api, alert])
def test_modify_without_a_known_entry_is_refused_for_its_other_faults_too(
    world: World, send: Any
) -> None:
    sent = {"action": "MODIFY", "refers_to": "999", "sl": "-1", "valid_until": PASSED.isoformat()}
    faults = {field for _, field in send(world, world.public, sent)}
    assert faults == {"refers_to", "sl", "valid_until"}


def test_unreadable_action_or_reference_causes_no_further_faults(world: World) -> None:
    assert api(world, world.public, {**ENTRY, "action": "GO", "sl": "0.109"}) == {
        ("FIELD_INVALID", "action"),
    }
    faults = api(world, world.public, {"action": "CLOSE", "refers_to": "abc"})
    assert faults == {("FIELD_INVALID", "refers_to")}


def test_unknown_feed_is_stated_beside_the_signals_faults(world: World) -> None:
    body = {**ENTRY, "feed": "nowhere", "break_even_target": "3"}
    answer = world.client("paula").post("/api/v1/signals/", body, format="json")
    assert [one["field"] for one in answer.json()["errors"]] == ["break_even_target", "feed"]


def test_entry_that_is_too_old_is_stated_beside_other_faults(world: World) -> None:
    long_ago = (market_now() - timedelta(hours=1)).isoformat()
    sent = {**ENTRY, "action": "OPEN", "time": long_ago, "after_signal": "999",
            "after_state": "FILLED", "sl": "0.109"}  # fmt: skip
    faults = {field for _, field in alert(world, world.public, sent)}
    assert faults >= {"after_signal", "sl"}


RowDoor = tuple[str, Callable[[World], str], dict[str, Any], set[str]]
ROW_DOORS: dict[str, RowDoor] = {
    "loss limit": (
        "post", lambda _: "/api/v1/loss-limits/",
        {"window": "LIFETIME", "measure": "LOSING_STREAK", "basis": "PEAK", "unit": "PERCENT",
         "maximum": "5", "resume": "NEXT_WINDOW"},
        {"unit", "basis", "resume"},
    ),
    "loss limit with an unreadable maximum": (
        "post", lambda _: "/api/v1/loss-limits/",
        {"window": "LIFETIME", "measure": "LOSING_STREAK", "basis": "PEAK", "unit": "PERCENT",
         "maximum": "-5", "resume": "NEXT_WINDOW", "unheard_of": 1},
        {"unit", "basis", "resume", "maximum", "unheard_of"},
    ),
    "change of a loss limit": (
        "patch", lambda world: f"/api/v1/loss-limits/{world.limit.pk}/",
        {"window": "LIFETIME", "unit": "TRADES", "preset": 1, "maximum": "abc"},
        {"preset", "resume", "unit", "maximum"},
    ),
    "preset": (
        "patch", lambda world: f"/api/v1/presets/{world.preset.pk}/",
        {"trading_sessions": ["XXX"], "allowed_symbols": ["???"], "trading_day_zone": "Mars/Base",
         "max_size_multiple": "0.5", "max_spread_unit": "FOO", "trailing_step": "1",
         "break_even_offset": "3", "sizing_mode": "RISK_AMOUNT", "allow_minimum_quantity": True,
         "max_leverage": "0", "max_open_positions": 0},
        {"trading_sessions", "allowed_symbols", "trading_day_zone", "max_size_multiple",
         "max_spread_unit", "trailing_step", "break_even_offset", "risk_amount",
         "allow_minimum_quantity", "max_leverage", "max_open_positions"},
    ),
    "new preset": (
        "post", lambda _: "/api/v1/presets/",
        {"name": "new", "sizing_mode": "PER_BALANCE", "max_spread": "-1", "max_open_orders": "x"},
        {"fixed_quantity", "per_balance", "max_spread", "max_open_orders"},
    ),
    "decision provider": (
        "post", lambda _: "/api/v1/decision-providers/",
        {"name": "x", "kind": "HTTP", "url": "http://127.0.0.1/", "timeout_seconds": "50",
         "max_age_seconds": 1, "candle_minutes": 7, "broken_rule_factor": "9",
         "on_failure": "MAYBE"},
        {"url", "timeout_seconds", "max_age_seconds", "candle_minutes", "broken_rule_factor",
         "on_failure", "secret"},
    ),
    "change of a decision provider": (
        "patch", lambda world: f"/api/v1/decision-providers/{world.provider.pk}/",
        {"candle_minutes": "x", "news_minutes_before": -1, "session_zone": "Mars/Base"},
        {"candle_minutes", "news_minutes_before", "session_zone"},
    ),
    "subscription": (
        "patch", lambda world: f"/api/v1/subscriptions/{world.subscription.pk}/",
        {"max_leverage": "50", "max_size_multiple": "0.5", "multiplier": "0",
         "trailing_step": "1", "break_even_offset": "2", "allowed_symbols": ["???"]},
        {"max_leverage", "max_size_multiple", "multiplier", "trailing_step", "break_even_offset",
         "allowed_symbols"},
    ),
    "deposit": (
        "post", lambda _: "/api/v1/cash-flows/",
        {"amount": "0", "at": "2099-01-01T00:00:00Z"},
        {"amount", "at"},
    ),
    "order": (
        "patch", lambda world: f"/api/v1/orders/{world.pending.pk}/",
        {"limit_price": "-1", "quantity": "abc", "unheard_of": "1"},
        {"limit_price", "quantity", "unheard_of"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("door", ROW_DOORS)
def test_settings_are_refused_with_faults_of_all_stages(world: World, door: str) -> None:
    method, path, sent, fields = ROW_DOORS[door]
    if door.startswith("loss limit"):
        sent = {"preset": world.preset.pk} | sent
    if door == "deposit":
        sent = {"connection": str(world.connection.pk)} | sent
    answer = getattr(world.client("alice"), method)(path(world), sent, format="json")
    assert answer.status_code == 400
    assert {one["field"] for one in answer.json()["errors"]} == fields
