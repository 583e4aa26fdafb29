"""Connections, presets, subscriptions and halts over HTTP; credentials are never returned."""

import logging
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from common.models import TrailLine
from connections import kill_switch
from connections.exposure import open_items
from connections.models import (
    DataConnection,
    ExecutionConnection,
    HealthStatus,
    KillSwitch,
    LaneLease,
    Subscription,
    TradingPreset,
)
from connections.sealing import open_credentials
from execution.models import Order, Status
from positions.models import ExecutionPosition
from tests.api.conftest import AsWeb
from tests.api.factories import CANARY, World
from tests.api.test_problems import problem
from tests.connections import make

SECRETS = {"password": CANARY}
PAPER = "/api/v1/connections/paper/"


def post(world: World, path: str, body: dict[str, Any], username: str = "alice") -> Any:
    return world.client(username).post(f"/api/v1/{path}/", body, format="json")


def test_credentials_are_stored_sealed_and_never_returned(
    world: World, private_key: bytes, settings: Any, caplog: pytest.LogCaptureFixture, as_web: AsWeb
) -> None:
    caplog.set_level(logging.DEBUG)
    body = {"name": "n", "type": "paper", "account": "77", "credentials": SECRETS}
    alice = world.client("alice")
    with as_web():
        created = post(world, "connections", body)
        assert created.status_code == 201, created.content
        path = f"/api/v1/connections/{created.json()['id']}/"
        replaced = alice.put(f"{path}credentials/", {"credentials": SECRETS}, format="json")
        responses = [
            created,
            replaced,
            alice.get(path),
            alice.get("/api/v1/connections/"),
            alice.patch(path, {"name": "m"}, format="json"),
            alice.patch(path, {"credentials": SECRETS}, format="json"),
            alice.put(f"{path}credentials/", {"credentials": {"p": [CANARY]}}, format="json"),
            alice.put(f"{path}credentials/", {"password": CANARY}, format="json"),
            post(world, "connections", body),
            alice.get("/api/v1/channels/"),
        ]
    assert [response.status_code for response in responses] == [
        201,
        204,
        200,
        200,
        200,
        200,
        400,
        400,
        409,
        200,
    ]
    for response in responses:
        assert CANARY not in response.content.decode()
        assert "sealed" not in response.content.decode()
    assert CANARY not in caplog.text
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = [private_key]
    row = ExecutionConnection.objects.get(account="77")
    opened = open_credentials(row.sealed_credentials, connection_id=row.pk, owner_id=world.alice.pk)
    assert opened == SECRETS
    assert responses[2].json()["has_credentials"] is True


def test_new_connection_belongs_to_its_creator_and_is_untested(world: World) -> None:
    data = post(world, "connections", {"name": "n", "type": "paper", "account": "77"}).json()
    assert (data["is_admin_owned"], data["health_word"], data["snapshot"]) == (
        False,
        "untested",
        None,
    )
    assert ExecutionConnection.objects.get(pk=data["id"]).user == world.alice
    as_admin = {"name": "n", "type": "paper", "account": "78", "as_administrator": True}
    problem(post(world, "connections", as_admin), 400, "FIELD_INVALID")
    assert post(world, "connections", as_admin, "olga").json()["is_admin_owned"] is True


def test_identity_of_a_connection_cannot_be_changed(world: World) -> None:
    path = f"/api/v1/connections/{world.connection.pk}/"
    alice = world.client("alice")
    for name, value in (("type", "mt5"), ("account", "2"), ("is_paused", True)):
        problem(alice.patch(path, {name: value}, format="json"), 400, "FIELD_UNKNOWN")
    data = alice.patch(
        path,
        {"name": "m", "is_active": False, "settings": {"reply_timeout": 1.5, "native_stops": True}},
        format="json",
    ).json()
    assert (data["name"], data["is_active"], data["health_word"]) == ("m", False, "inactive")
    assert data["settings"] == {"reply_timeout": 1.5, "native_stops": True}
    assert alice.post(f"{path}pause/").json()["is_paused"] is True
    assert alice.post(f"{path}resume/").json()["is_paused"] is False


@pytest.mark.parametrize("open_item", ["position", "order"])
def test_settings_that_identify_an_account_are_fixed_while_something_is_open(
    world: World, open_item: str
) -> None:
    row, alice = world.connection, world.client("alice")
    path = f"/api/v1/connections/{row.pk}/"
    if open_item == "order":
        ExecutionPosition.objects.update(quantity=0)
        Order.objects.filter(connection=row, leg="entry-2").update(status=Status.UNKNOWN)
    changed = {"settings": {"position_mode": "NETTING", "native_stops": False}}
    refused = problem(alice.patch(path, changed, format="json"), 400, "SETTING_IN_USE")
    fields = {error["field"]: error["detail"] for error in refused["errors"]}
    assert fields.keys() == {"settings.position_mode", "settings.native_stops"}
    assert all("EURUSD" in sentence and "Close it" in sentence for sentence in fields.values())
    row.refresh_from_db()
    assert row.settings == {}
    assert row.health.status == HealthStatus.ACTIVE
    assert alice.patch(path, {"settings": {"reply_timeout": 2}}, format="json").status_code == 200
    ExecutionPosition.objects.update(quantity=0)
    Order.objects.filter(connection=row, leg="entry-2").update(status=Status.CANCELLED)
    assert alice.patch(path, changed, format="json").status_code == 200


def test_connection_test_is_requested(world: World) -> None:
    response = world.client("alice").post(f"/api/v1/connections/{world.connection.pk}/test/")
    assert response.status_code == 202
    assert response.json()["health"]["test_requested_at"] is not None


def test_archived_connection_leaves_its_feeds(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/connections/{world.connection.pk}/"
    error = problem(alice.delete(path), 409, "ACCOUNT_IN_USE")
    assert "EURUSD (an open position)" in error["detail"]
    taken = Subscription.objects.filter(pk=world.subscription.pk)
    assert taken.get().archived_at is None
    ExecutionPosition.objects.update(quantity=0, closed_at=timezone.now())
    assert alice.delete(path).status_code == 204
    assert taken.get().archived_at is not None
    assert alice.get(path).json()["health_word"] == "archived"
    assert alice.get("/api/v1/connections/?archived=false").json()["results"] == []
    problem(alice.post(f"{path}pause/"), 409, "STATE_CONFLICT")


def test_operators_presets_are_shared_and_only_operators_change_them(world: World) -> None:
    body = {"name": "shared", "sizing_mode": "FIXED", "fixed_quantity": "1000.50"}
    shared = post(world, "presets", body, "olga").json()
    assert (shared["is_shared"], shared["fixed_quantity"]) == (True, "1000.5")
    alice, path = world.client("alice"), f"/api/v1/presets/{shared['id']}/"
    assert alice.get(path).status_code == 200
    problem(alice.patch(path, {"name": "x"}, format="json"), 404, "NOT_FOUND")
    problem(alice.delete(path), 404, "NOT_FOUND")
    mine = post(world, "presets", body).json()
    assert TradingPreset.objects.get(pk=mine["id"]).user == world.alice
    mode = {"sizing_mode": "PERCENT_BALANCE"}
    error = problem(
        alice.patch(f"/api/v1/presets/{mine['id']}/", mode, format="json"), 400, "FIELD_REQUIRED"
    )
    assert error["errors"][0]["field"] == "percent_of_balance"
    assert alice.delete(f"/api/v1/presets/{mine['id']}/").status_code == 204
    problem(alice.delete(f"/api/v1/presets/{world.preset.pk}/"), 409, "STATE_CONFLICT")


def test_modes_that_need_no_number_are_stored_with_their_defaults(world: World) -> None:
    body = {
        "name": "ratio", "sizing_mode": "EQUITY_RATIO", "allow_minimum_quantity": True,
        "max_trade_risk_percent": "2.50",
    }  # fmt: skip
    stored = post(world, "presets", body).json()
    path = f"/api/v1/presets/{stored['id']}/"
    risks = [f"{category}_risk_percent" for category in ("small", "normal", "large")]
    assert [stored[name] for name in risks] == ["1", "2", "3"]
    assert stored["max_trade_risk_percent"] == "2.5"
    change: dict[str, Any] = {"max_trade_risk_percent": None}
    refused = problem(
        world.client("alice").patch(path, change, format="json"), 400, "FIELD_INVALID"
    )
    assert "needs max trade risk percent" in refused["errors"][0]["detail"]
    change |= {"allow_minimum_quantity": False}
    assert world.client("alice").patch(path, change, format="json").status_code == 200


def test_preset_limits_of_the_market_are_written_and_all_faults_named(world: World) -> None:
    body = {"name": "limited", "sizing_mode": "FIXED", "fixed_quantity": "1000"}
    limits = {
        "max_spread": "2.5", "max_spread_unit": "PIPS", "max_price_deviation_percent": "10",
        "allowed_symbols": ["EUR/USD", "*/JPY"], "max_symbol_exposure_percent": "200",
        "max_open_orders": 5, "max_orders_per_minute": 30, "max_daily_notional": "100000",
        "max_daily_volume": "50000", "max_currency_exposure_percent": "300",
        "max_size_multiple": "5", "same_trade_window_seconds": 60, "market_hours_only": True,
        "trading_sessions": ["MON-FRI 08:00-16:30"],
    }  # fmt: skip
    made = post(world, "presets", {**body, **limits, "allowed_symbols": ["eurusd", "*/jpy"]}).json()
    assert {name: made[name] for name in limits} == limits
    alice, path = world.client("alice"), f"/api/v1/presets/{made['id']}/"
    faults = {"allowed_symbols": ["EUR/USD", "*/*", "?!"], "max_spread_unit": "POINTS"}
    error = problem(alice.patch(path, faults, format="json"), 400, "FIELD_INVALID")
    fields = [one["field"] for one in error["errors"]]
    assert sorted(fields) == ["allowed_symbols", "allowed_symbols", "max_spread_unit"]
    error = problem(alice.patch(path, {"max_spread": "-1"}, format="json"), 400, "FIELD_INVALID")
    assert error["errors"][0]["detail"] == "Max spread is 0 or more, or empty."
    error = problem(alice.patch(path, {"max_open_orders": 0}, format="json"), 400, "FIELD_INVALID")
    assert "max open orders are above 0, or empty" in error["errors"][0]["detail"]
    too_low = {"max_daily_volume": "0", "max_size_multiple": "0.9"}
    error = problem(alice.patch(path, too_low, format="json"), 400, "FIELD_INVALID")
    assert "max daily volume and same trade window seconds are above 0" in str(error["errors"])
    assert "Max size multiple is 1 or more, or empty." in str(error["errors"])
    hours = {"trading_sessions": ["MON 8-17"]}
    error = problem(alice.patch(path, hours, format="json"), 400, "FIELD_INVALID")
    assert "Write MON-FRI 08:00-16:30" in error["errors"][0]["detail"]
    off: dict[str, Any] = {
        **dict.fromkeys(limits), "max_spread_unit": "", "allowed_symbols": [],
        "trading_sessions": [], "market_hours_only": False,
    }  # fmt: skip
    assert alice.patch(path, off, format="json").json()["max_spread"] is None


def test_stop_rules_of_preset_and_subscription_are_written_and_all_faults_named(
    world: World,
) -> None:
    alice = world.client("alice")
    bad = {"break_even_offset": "1", "trailing_step": "0", "trailing_activation": "-1"}
    good = {
        "break_even_target": 1, "break_even_offset": "1.5", "trailing_distance": "30",
        "trailing_step": "5", "trailing_activation": "40", "stop_rule_unit": "PIPS",
    }  # fmt: skip
    made = post(
        world, "presets", {"name": "ruled", "sizing_mode": "FIXED", "fixed_quantity": "1000"}
    ).json()
    paths = (f"/api/v1/presets/{made['id']}/", f"/api/v1/subscriptions/{world.subscription.pk}/")
    for path in paths:
        error = problem(alice.patch(path, bad, format="json"), 400, "FIELD_INVALID")
        assert {one["field"] for one in error["errors"]} >= set(bad), path
        answer = alice.patch(path, good, format="json").json()
        assert {name: answer[name] for name in good} == good
        error = problem(
            alice.patch(path, {"trailing_distance": None}, format="json"), 400, "FIELD_INVALID"
        )
        assert {one["field"] for one in error["errors"]} >= {"trailing_step", "trailing_activation"}


def test_exchange_symbol_is_refused_in_symbol_map_with_proposal(world: World) -> None:
    coins = make.connection(
        world.alice, type="crypto", exchange_name="binance", account="coins",
        settings={"symbols": ["BTC/USDT"]},
    )  # fmt: skip
    make.ready(coins, "BTC/USDT")
    alice = world.client("alice")
    payload = {"connection": str(coins.pk), "feed": "majors", "symbol_map": {"BTCUSDT": "BTCUSDT"}}
    error = problem(
        alice.post("/api/v1/subscriptions/", payload, format="json"), 400, "FIELD_INVALID"
    )
    assert error["errors"][0]["field"] == "symbol_map"
    assert "Write BTC/USDT (perpetuals: BTC/USDT:USDT)" in error["errors"][0]["detail"]
    created = alice.post(
        "/api/v1/subscriptions/", payload | {"symbol_map": {"BTCUSDT": "BTC/USDT"}}, format="json"
    ).json()
    assert created["symbol_map"] == {"BTC/USDT": "BTC/USDT"}
    path = f"/api/v1/subscriptions/{created['id']}/"
    wrong = {"symbol_map": {"BTC/USDT": "BTC-USDT"}}
    problem(alice.patch(path, wrong, format="json"), 400, "FIELD_INVALID")


def test_subscription_is_ended_and_reactivated(world: World) -> None:
    make.ready(world.connection)
    alice, path = world.client("alice"), f"/api/v1/subscriptions/{world.subscription.pk}/"
    changed = alice.patch(
        path, {"multiplier": 0.5, "symbol_map": {"EURUSD": "EURUSD.m"}}, format="json"
    ).json()
    assert (changed["multiplier"], changed["symbol_map"]) == ("0.5", {"EUR/USD": "EURUSD.m"})
    problem(alice.patch(path, {"feed": "majors"}, format="json"), 400, "FIELD_UNKNOWN")
    problem(alice.patch(path, {"symbol_map": {"X": "Y"}}, format="json"), 400, "SYMBOL_UNKNOWN")
    problem(alice.patch(path, {"multiplier": "0"}, format="json"), 400, "NUMBER_NOT_POSITIVE")
    assert (
        changed["priority"],
        alice.patch(path, {"priority": 3}, format="json").json()["priority"],
    ) == (2, 3)
    problem(alice.patch(path, {"priority": 1}, format="json"), 400, "FIELD_INVALID")
    problem(alice.patch(path, {"priority": 4}, format="json"), 400, "FIELD_INVALID")
    assert alice.delete(path).status_code == 204
    assert alice.get(path).json()["archived_at"] is not None
    body = {"connection": str(world.connection.pk), "feed": "majors", "directions": "SELL"}
    data = post(world, "subscriptions", body).json()
    assert (data["id"], data["directions"], data["multiplier"], data["archived_at"]) == (
        world.subscription.pk,
        "SELL",
        "1",
        None,
    )


def test_subscription_gets_a_route_by_the_api(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/subscriptions/{world.subscription.pk}/"
    own, other = str(world.connection.pk), make.connection(world.alice, account="9001")
    accounts = [{"connection": str(other.pk), "share": 2}, {"connection": own}]
    body = {"route_policy": "SHARE", "route": accounts}
    changed = alice.patch(path, body, format="json").json()
    expected = [
        {"connection": str(other.pk), "share": 2, "symbol_map": {}},
        {"connection": own, "share": 1, "symbol_map": {}},
    ]
    assert (changed["route_policy"], changed["route"]) == ("SHARE", expected)
    assert (
        alice.patch(path, {"route_policy": "PRICE"}, format="json").json()["route"]
        == (changed["route"])
    )
    problem(alice.patch(path, {"route_policy": "BEST"}, format="json"), 400, "FIELD_INVALID")
    problem(alice.patch(path, {"route": accounts[1:]}, format="json"), 400, "FIELD_INVALID")
    bobs = {"connection": str(make.connection(account="9002").pk)}
    refused = alice.patch(path, {"route": [*accounts, bobs]}, format="json")
    assert refused.status_code == 400
    assert alice.get(path).json()["route"] == changed["route"]
    ended = alice.patch(path, {"route_policy": "", "route": []}, format="json").json()
    assert (ended["route_policy"], ended["route"]) == ("", [])


def test_subscription_tightens_the_limits_of_its_preset(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/subscriptions/{world.subscription.pk}/"
    preset = world.connection.preset
    assert preset is not None
    type(preset).objects.filter(pk=preset.pk).update(max_open_orders=5, max_slippage_pips=2)
    limits = {
        "max_open_orders": 5, "max_slippage": "1.5", "allowed_symbols": ["EUR/*"],
        "max_daily_notional": "1000", "trading_sessions": ["MON 08:00-09:00"],
    }  # fmt: skip
    changed = alice.patch(path, limits, format="json").json()
    assert {name: changed[name] for name in limits} == limits
    looser = {"max_open_orders": 6, "max_slippage": "3", "max_quantity": "-1"}
    error = problem(alice.patch(path, looser, format="json"), 400, "NUMBER_NOT_POSITIVE")
    assert [one["field"] for one in error["errors"]] == [
        "max_quantity", "max_open_orders", "max_slippage",
    ]  # fmt: skip
    del looser["max_quantity"]
    error = problem(alice.patch(path, looser, format="json"), 400, "FIELD_INVALID")
    assert [(one["field"], one["detail"]) for one in error["errors"]] == [
        ("max_open_orders", "The preset's limit is 5: a subscription's may only be tighter."),
        ("max_slippage", "The preset's limit is 2: a subscription's may only be tighter."),
    ]
    off: dict[str, Any] = {"max_open_orders": None, "allowed_symbols": [], "trading_sessions": []}
    assert alice.patch(path, off, format="json").json()["max_open_orders"] is None


def test_only_operators_halt_other_users(world: World) -> None:
    own = post(world, "kill-switch", {"scope": "USER", "mode": "HALTED", "reason": "holiday"})
    assert (own.status_code, own.json()["user"]) == (201, world.alice.pk)
    all_users = {"scope": "ALL", "mode": "HALTED", "reason": "r"}
    problem(post(world, "kill-switch", all_users), 403, "PERMISSION_DENIED")
    bobs = {"scope": "USER", "mode": "HALTED", "reason": "r", "user": world.bob.pk}
    problem(post(world, "kill-switch", bobs), 400, "FIELD_INVALID")
    problem(post(world, "kill-switch", bobs | {"user": 10**9}, "olga"), 400, "FIELD_INVALID")
    mixed = {"scope": "USER", "mode": "HALTED", "reason": "r", "feed": "majors"}
    problem(post(world, "kill-switch", mixed), 400, "FIELD_INVALID")
    assert set(KillSwitch.objects.values_list("scope", flat=True)) == {"CONNECTION", "USER"}
    all_halted = post(world, "kill-switch", all_users, "olga").json()["id"]
    alice, bob = world.client("alice"), world.client("bob")
    assert [result["id"] for result in bob.get("/api/v1/kill-switch/").json()["results"]] == [
        all_halted
    ]
    problem(alice.post(f"/api/v1/kill-switch/{all_halted}/release/"), 403, "PERMISSION_DENIED")
    released = alice.post(f"/api/v1/kill-switch/{own.json()['id']}/release/").json()
    assert released["released_at"] is not None


def test_provider_halts_entries_of_a_feed_and_no_exits_of_followers(
    world: World, as_web: AsWeb
) -> None:
    halt = {"scope": "FEED", "mode": "HALTED", "feed": world.public.slug, "reason": "r"}
    with as_web():
        for asked in (
            halt,
            {**halt, "dry_run": True},
            {**halt, "mode": "REDUCING", "flatten": True},
        ):
            refused = problem(post(world, "kill-switch", asked, "paula"), 403, "FOLLOWERS_ACCOUNTS")
            assert "REDUCING" in refused["detail"]
        assert post(world, "kill-switch", halt, "olga").status_code == 201
        made = post(world, "kill-switch", {**halt, "mode": "REDUCING"}, "paula").json()
        release = f"/api/v1/kill-switch/{made['id']}/release/"
        by_follower = problem(world.client("alice").post(release), 403, "PERMISSION_DENIED")
        assert "provider set this halt" in by_follower["detail"]
        assert world.client("paula").post(release).json()["released_at"] is not None


def test_same_halt_is_set_once_and_their_number_is_limited(
    world: World, as_web: AsWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switch, "MAX_HALTS", 1)  # of the world
    account = {"scope": "CONNECTION", "connection": str(world.connection.pk), "reason": "r"}
    halt = {**account, "mode": "REDUCING"}
    with as_web():
        made = [post(world, "kill-switch", halt) for _ in range(3)]
        assert [one.status_code for one in made] == [201] * 3
        assert {one.json()["id"] for one in made} == {world.halt.pk}
        refused = problem(post(world, "kill-switch", {**halt, "flatten": True}), 409, "HALT_LIMIT")
        assert "Release" in refused["detail"]
        oneself = {"scope": "USER", "mode": "REDUCING", "reason": "r"}
        assert post(world, "kill-switch", oneself).status_code == 201


def test_dry_run_of_a_halt_returns_what_it_would_touch(world: World) -> None:
    everything = {"scope": "ALL", "mode": "REDUCING", "reason": "r", "dry_run": True}
    before = KillSwitch.objects.count()
    response = post(world, "kill-switch", everything, "olga")
    assert response.status_code == 200
    impact = response.json()
    entries = Order.objects.filter(position=None, done_at=None)
    assert impact["waiting"] + impact["working"] == entries.count()
    assert impact["positions"] == ExecutionPosition.objects.open().count() > 0
    assert all(Decimal(amount) > 0 for amount in impact["open_amounts"].values())
    problem(post(world, "kill-switch", everything), 403, "PERMISSION_DENIED")
    own = post(world, "kill-switch", {**everything, "scope": "USER"}).json()
    mine = ExecutionPosition.objects.open().filter(connection__user=world.alice)
    assert own["positions"] == mine.count()
    assert KillSwitch.objects.count() == before


def test_operators_halt_a_broker_type_or_a_symbol(world: World) -> None:
    paper = {"scope": "BROKER_TYPE", "mode": "REDUCING", "reason": "r", "broker_type": "paper"}
    symbol = {"scope": "SYMBOL", "mode": "HALTED", "reason": "r", "pair": "eurusd"}
    for halt in (paper, symbol):
        problem(post(world, "kill-switch", halt), 403, "PERMISSION_DENIED")
    created = post(world, "kill-switch", {**paper, "flatten": True}, "olga").json()
    assert (created["broker_type"], created["flatten"], created["carried_out_at"]) == (
        "paper", True, None,
    )  # fmt: skip
    assert post(world, "kill-switch", symbol, "olga").json()["pair"] == "EUR/USD"
    scopes = {
        row["scope"] for row in world.client("alice").get("/api/v1/kill-switch/").json()["results"]
    }
    assert "SYMBOL" in scopes
    wrong = {**paper, "broker_type": "mt9"}
    problem(post(world, "kill-switch", wrong, "olga"), 400, "FIELD_INVALID")
    problem(post(world, "kill-switch", {**symbol, "flatten": True}, "olga"), 400, "FIELD_INVALID")


def test_secret_of_a_new_api_key_is_returned_once(world: World) -> None:
    created = post(world, "api-keys", {"name": "bot"})
    data = created.json()
    assert (created.status_code, created["Cache-Control"]) == (201, "no-store")
    listed = world.client("alice").get("/api/v1/api-keys/").content.decode()
    assert data["secret"] not in listed
    assert data["key"]["prefix"] in listed
    world.keys["alice"] = data["secret"]
    assert world.client("alice").get("/api/v1/me/").json()["username"] == "alice"


def test_audit_trail_names_the_user_who_changed_a_setting_by_key(
    world: World, as_web: AsWeb
) -> None:
    with as_web():
        path = f"/api/v1/presets/{world.preset.pk}/"
        changed = world.client("alice").patch(path, {"max_leverage": "5"}, format="json")
    assert changed.status_code == 200
    line = TrailLine.objects.filter(relation="connections_tradingpreset").latest("id")
    assert (line.row_id, line.after) == (str(world.preset.pk), {"max_leverage": 5})
    assert (line.user_id, line.origin, line.address) == (world.alice.pk, "API", "127.0.0.1")


def test_secret_of_a_feed_token_is_returned_once(world: World) -> None:
    alice = world.client("alice")
    path = f"/api/v1/feeds/{world.feed.slug}/tokens/"
    data = alice.post(path, {"name": "tv", "signed": True}, format="json").json()
    assert data["path"] == f"/hooks/tradingview/{world.feed.slug}/{data['secret']}/"
    assert len(data["signing_key"]) == 64
    listed = alice.get(path)
    assert {token["name"] for token in listed.json()} == {"tv", "alerts"}
    assert data["secret"] not in listed.content.decode()
    assert data["signing_key"] not in listed.content.decode()
    revoked = alice.post(f"{path}{data['token']['id']}/revoke/").json()
    assert revoked["revoked_at"] is not None


def test_api_docs_load_nothing_from_other_hosts(world: World) -> None:
    client = world.client("anonymous")
    page = client.get("/api/v1/docs/", HTTP_ACCEPT="text/html").content.decode()
    assert "swagger-ui" in page
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    schema = client.get("/api/v1/schema/?format=json").json()
    assert "/api/v1/orders/{id}/retry/" in schema["paths"]
    statuses = schema["paths"]["/api/v1/orders/"]["get"]["responses"].keys()
    assert {"200", "304", "401", "403", "429", "503"} <= statuses


def test_schema_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    # test_openapi.py shows that it is valid
    call_command("spectacular", "--fail-on-warn", "--file", "/dev/null")
    assert "Warning" not in capsys.readouterr().err


def test_connection_states_whether_its_worker_runs(world: World) -> None:
    paper = {"name": "p", "type": "paper", "account": "77"}
    assert post(world, "connections", paper).json()["worker"] is None
    mt5 = {"name": "m", "type": "mt5", "account": "78", "settings": {"server": "Broker-Live"}}
    data = post(world, "connections", mt5).json()
    assert (data["worker"]["queue"], data["worker"]["runs"]) == ("mt5.main", False)
    assert "-Q mt5.main" in data["worker"]["waits_for"]
    now = timezone.now()
    LaneLease.objects.create(
        lane="mt5.main", owner="w", acquired_at=now, until=now + timedelta(minutes=1)
    )
    path = f"/api/v1/connections/{data['id']}/"
    held = {"queue": "mt5.main", "runs": True, "waits_for": ""}
    assert world.client("alice").get(path).json()["worker"] == held


def test_inactive_connection_states_how_much_is_open(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/connections/{world.connection.pk}/"
    count = len(open_items(world.connection.pk))
    assert count > 0
    assert alice.get(path).json()["open_count"] == count
    data = alice.patch(path, {"is_active": False}, format="json").json()
    assert (data["health_word"], data["open_count"]) == ("inactive", count)
    (listed,) = alice.get("/api/v1/connections/?archived=false").json()["results"]
    assert listed["open_count"] == count
    created = post(world, "connections", {"name": "p", "type": "paper", "account": "77"}).json()
    assert created["open_count"] == 0


def test_paper_account_is_opened_once_by_its_idempotency_key(world: World, as_web: AsWeb) -> None:
    DataConnection.objects.create(name="Recorded quotes")
    alice, body = world.client("alice"), {"currency": "EUR", "name": "Trial"}
    with as_web():
        first, again = (
            alice.post(PAPER, body, format="json", headers={"Idempotency-Key": "k1"})
            for _ in range(2)
        )
        wrong = alice.post(PAPER, {"currency": "EUR", "balance": 7}, format="json")
    assert (first.status_code, again.status_code) == (201, 201), first.content
    assert first.json()["id"] == again.json()["id"]
    shown = first.json()
    assert (shown["name"], shown["type"]) == ("Trial", "paper")
    assert shown["health"]["test_requested_at"]
    assert "credentials" not in shown
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "balance")
    assert world.client("bob").get(f"/api/v1/connections/{shown['id']}/").status_code == 404


def test_paper_account_without_shared_prices_is_refused(world: World) -> None:
    DataConnection.objects.filter(user=None).update(is_active=False)
    answer = world.client("alice").post(PAPER, {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "NO_SHARED_PRICES")


def test_preset_in_use_is_not_deleted(world: World) -> None:
    alice = world.client("alice")
    made = post(world, "presets", {"name": "p", "risk_percent": "1"}).json()
    row = world.connection
    alice.patch(f"/api/v1/connections/{row.pk}/", {"preset": made["id"]}, format="json")
    address = f"/api/v1/presets/{made['id']}/"
    refused = alice.delete(address)
    assert (refused.status_code, refused.json()["code"]) == (409, "STATE_CONFLICT")
    assert row.name in refused.json()["detail"]
    alice.patch(f"/api/v1/connections/{row.pk}/", {"preset": None}, format="json")
    assert alice.delete(address).status_code == 204
