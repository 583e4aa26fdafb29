"""All faults of an input are stated at once, also those of different stages, by their fields."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import DataConnection, Instrument
from execution.models import EntryChange, Order
from signals.models import Signal
from tests.api.entry_fields import written
from tests.api.entry_points import ENTRY, ENTRY_POINTS, alert, api, takes
from tests.api.factories import World
from tests.api.factories import order as order_of
from tests.execution.factories import quote as quote_of
from tests.matrix import WALK_TIME, Walk

pytestmark = pytest.mark.django_db
PASSED = datetime(2020, 1, 2, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quote(world: World) -> None:
    """Let the follower's source quote EUR/USD, so that prices are compared with the market."""
    DataConnection.objects.filter(pk=world.prices.pk).update(user=None)
    quote_of(world.connection)


@WALK_TIME
def test_signal_is_refused_with_faults_of_its_fields_the_feed_and_the_market(world: World) -> None:
    Signal.objects.filter(pk=world.published.pk).update(external_id="first")
    before = Signal.objects.count()
    with Walk() as walk:
        for entry_point, (kind, send) in walk.each(ENTRY_POINTS.items()):
            sent = written(
                {"order_type": "LIMIT", "open_price": "1.09", "sl": "0.109",
                 "break_even_target": "3", "valid_until": PASSED, "time_in_force": "GTD"},
                entry_point,
            )  # fmt: skip
            assert takes(kind, sent)
            expected = {
                ("FIELD_INVALID", "break_even_target"),  # there are two targets
                ("SIGNAL_ENDED", "valid_until"),
                ("PRICE_FAR_FROM_MARKET", "sl"),
            }
            with walk.cell(entry_point) as cell:
                cell.expect(expected, send(world, world.public, sent), "faults")
                cell.expect(before, Signal.objects.count(), "signals")


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


def limit_order(world: World) -> Order:
    """Return an entry of Alice's that was not sent."""
    signal = Signal.objects.create(
        feed=world.feed, currency_pair="EUR/USD", direction="BUY", order_type="LIMIT",
        open_price=Decimal("1.09"), approval="APPROVED", published_at=market_now(),
        candidate_count=1,
    )  # fmt: skip
    Instrument.objects.create(
        book=world.connection.instrument_book, pair="EUR/USD", symbol="EURUSD", digits=5,
        pip=Decimal("0.0001"), quantity_min=10, quantity_step=10, quantity_max=1000,
        contract_size=100_000, read_at=market_now(),
    )  # fmt: skip
    return order_of(
        world.connection, signal, "entry", order_type="LIMIT", limit_price=Decimal("1.09"),
        quantity=None,
    )  # fmt: skip


RowEntryPoint = tuple[str, Callable[[World], str], dict[str, Any], set[str]]
ROW_ENTRY_POINTS: dict[str, RowEntryPoint] = {
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
    "order with an unreadable quantity": (
        "patch", lambda world: f"/api/v1/orders/{limit_order(world).pk}/",
        {"valid_until": PASSED.isoformat(), "quantity": "1e5", "stop_loss": None},
        {"valid_until", "quantity", "stop_loss"},
    ),
    "position": (
        "patch", lambda world: f"/api/v1/positions/{world.position.pk}/",
        {"stop_loss": "abc", "take_profit": "0.5", "unheard_of": 1},
        {"stop_loss", "take_profit", "unheard_of"},
    ),
    "closing of a position": (
        "post", lambda world: f"/api/v1/positions/{world.position.pk}/close/",
        {"fraction": "1.5", "unheard_of": 1}, {"fraction", "unheard_of"},
    ),
    "halt": (
        "post", lambda _: "/api/v1/kill-switch/",
        {"scope": "CONNECTION", "mode": "HALTED", "flatten": True, "pair": "EURUSD",
         "broker_type": "zz", "reason": "r"},
        {"connection", "flatten", "pair", "broker_type"},
    ),
    "halt with an unreadable scope": (
        "post", lambda _: "/api/v1/kill-switch/",
        {"scope": "WORLD", "mode": "HALTED", "flatten": True, "pair": "?!", "broker_type": "zz",
         "feed": "nowhere", "reason": 1, "unheard_of": 1},
        {"scope", "flatten", "pair", "broker_type", "feed", "unheard_of"},
    ),
    "cancel all": (
        "post", lambda _: "/api/v1/orders/cancel-all/",
        {"symbol": "??", "broker_type": "x", "feed": "nowhere", "user": 999},
        {"symbol", "broker_type", "feed", "user"},
    ),
    "close all with an unreadable connection": (
        "post", lambda _: "/api/v1/positions/close-all/",
        {"connection": "x", "symbol": "??", "broker_type": "x", "feed": "nowhere", "user": 999},
        {"connection", "symbol", "broker_type", "feed", "user"},
    ),
    "close trades": (
        "post", lambda world: f"/api/v1/feeds/{world.feed.slug}/close-trades/",
        {"symbol": "???", "direction": "UP", "close_fraction": "2", "unheard_of": 1},
        {"symbol", "direction", "close_fraction", "unheard_of"},
    ),
    "change of a feed": (
        "patch", lambda world: f"/api/v1/feeds/{world.feed.slug}/",
        {"max_signal_notional": "-1", "max_signal_currency": "??", "slug": "other",
         "max_price_deviation_percent": "-3", "max_level_deviation_percent": "0"},
        {"max_signal_notional", "max_signal_currency", "slug", "max_price_deviation_percent",
         "max_level_deviation_percent"},
    ),
    "limit of a feed without its currency": (
        "patch", lambda world: f"/api/v1/feeds/{world.feed.slug}/",
        {"max_signal_notional": "5", "name": "", "max_price_deviation_percent": "x"},
        {"max_signal_notional", "name", "max_price_deviation_percent"},
    ),
    "new feed": (
        "post", lambda _: "/api/v1/feeds/",
        {"name": "x", "slug": "majors", "max_signal_currency": "USD", "unheard_of": 1},
        {"slug", "max_signal_notional", "unheard_of"},
    ),
    "feed token": (
        "post", lambda world: f"/api/v1/feeds/{world.feed.slug}/tokens/",
        {"name": "x" * 101, "expires_at": PASSED.isoformat(), "signed": "perhaps"},
        {"name", "expires_at", "signed"},
    ),
    "new connection": (
        "post", lambda _: "/api/v1/connections/",
        {"name": "n", "type": "mt5", "account": "5", "aggregation_ms": 9000, "unheard_of": 1,
         "settings": {"foo": 1}, "credentials": {"bar": "2"}, "exchange_name": "a\nb"},
        {"aggregation_ms", "unheard_of", "settings.foo", "credentials.bar", "exchange_name",
         "credentials.password", "settings.server"},
    ),
    "change of a connection": (
        "patch", lambda world: f"/api/v1/connections/{world.connection.pk}/",
        {"aggregation_ms": 9000, "settings": {"foo": 1}, "name": "a\tb", "type": "mt5"},
        {"aggregation_ms", "settings.foo", "name", "type"},
    ),
    "route of a subscription": (
        "patch", lambda world: f"/api/v1/subscriptions/{world.subscription.pk}/",
        {"route_policy": "SHARE", "route": [], "multiplier": "0", "priority": 1},
        {"route", "multiplier", "priority"},
    ),
}  # fmt: skip


@WALK_TIME
def test_settings_are_refused_with_faults_of_all_stages(world: World) -> None:
    client = world.client("alice")
    with Walk() as walk:
        for entry_point, (method, path, sent, fields) in walk.each(ROW_ENTRY_POINTS.items()):
            more: dict[str, Any] = {}
            if entry_point.startswith("loss limit"):
                more = {"preset": world.preset.pk}
            if entry_point == "deposit":
                more = {"connection": str(world.connection.pk)}
            with walk.cell(entry_point) as cell:
                answer = getattr(client, method)(path(world), more | sent, format="json")
                cell.expect(400, answer.status_code)
                errors = answer.json()["errors"]
                cell.expect(fields, {one["field"] for one in errors}, "fields")
                cell.expect([], [one for one in errors if not one["detail"]], "without a sentence")


def test_new_subscription_is_refused_with_the_faults_of_its_route(world: World) -> None:
    mine = str(world.connection.pk)
    sent = {
        "connection": mine, "feed": world.feed.slug, "route_policy": "PRICE", "multiplier": "x",
        "route": [{"connection": mine}, {"connection": mine}], "max_leverage": "0",
    }  # fmt: skip
    answer = world.client("alice").post("/api/v1/subscriptions/", sent, format="json")
    faults = {(one["field"], one["detail"]) for one in answer.json()["errors"]}
    assert {field for field, _ in faults} == {"multiplier", "route", "max_leverage"}
    assert ("route", "An account is named twice.") in faults


def test_change_of_an_order_is_only_tried_while_it_is_judged(world: World) -> None:
    order = limit_order(world)
    sent = {"quantity": "70", "limit_price": "abc"}
    answer = world.client("alice").patch(f"/api/v1/orders/{order.pk}/", sent, format="json")
    assert [one["field"] for one in answer.json()["errors"]] == ["limit_price"]
    order.refresh_from_db()
    assert order.requested_quantity is None
    assert not EntryChange.objects.exists()
    sent["limit_price"] = "1.08"
    answer = world.client("alice").patch(f"/api/v1/orders/{order.pk}/", sent, format="json")
    assert answer.json()["change"]["quantity"] == "70"
