"""Operators' actions on pages: orders, positions, connections, kill switches, secrets."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from nacl.public import PrivateKey

from alerts.inbox.addresses import address_of
from alerts.models import TelegramBot
from common.clocks import market_now
from connections.models import Epoch, ExecutionConnection, KillSwitch, Subscription, TradingPreset
from events.models import Channel
from execution import tasks
from execution.disaster_recovery.epochs import open_epoch
from execution.models import ExecutionLog, Order
from signals.feeds.services import create_feed_token
from tests.changes.concurrent_forms import fields_of
from tests.console import seed
from tests.console.seed import CANARY
from tests.html import html_of
from users.services import user_for_key

Page = Callable[..., str]
TYPED = "typed-9f2c-never-displayed"


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], str]]:
    """Return what would be enqueued; no message leaves the test."""
    messages: list[tuple[list[int], str]] = []

    def enqueue(order_ids: list[int], *, queue: str = tasks.ENTRIES, **_: object) -> None:
        messages.append((list(order_ids), queue))

    monkeypatch.setattr(tasks, "enqueue", enqueue)
    return messages


@pytest.fixture
def filled(small: dict[str, Any]) -> dict[str, Any]:
    """Create a filled entry with its open position."""
    published = seed.signal(small["feed"], candidate_count=1)
    (order,) = seed.orders(published, small["connections"], {("FILLED", ""): 1})
    seed.fills([order])
    seed.logs([order])
    return small | {"order": order, "position": seed.position(order)}


def test_page_of_an_order_lists_its_steps(
    filled: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(filled["operator"])
    html = page(f"/admin/execution/order/{filled['order'].pk}/")
    for text in ("Sized and checked: 40,000", "Intent saved, then sent",
                  "Acknowledged by the broker",
                  "Filled 40,000 EUR at 1.38254",
                  "The order is sized and checked and is about to be sent."):  # fmt: skip
        assert text in html


def test_pages_of_a_pair_link_the_other_leg(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    pair: dict[str, Any] = {
        "oco_group": uuid4(), "order_type": "STOP", "stop_price": "1.381", "candidate_count": 1,
        "target_prices": [], "target_fractions": [], "max_slippage_pips": None,
    }  # fmt: skip
    signals = [seed.signal(small["feed"], **pair) for _ in range(2)]
    first, second = (
        seed.orders(one, small["connections"], {("PENDING", ""): 1}) for one in signals
    )
    Order.objects.filter(signal__in=signals).update(oco_group=pair["oco_group"])
    html = page(f"/admin/execution/order/{first[0].pk}/")
    assert "One cancels the other" in html
    assert f"/admin/execution/order/{second[0].pk}/" in html
    html = page(f"/admin/signals/signal/{signals[0].pk}/")
    assert f'One cancels the other: <a href="/admin/signals/signal/{signals[1].pk}/">' in html
    assert str(second[0]) in page(f"/admin/execution/order/{first[0].pk}/cancel/")
    html = page(f"/admin/signals/signal/{signals[0].pk}/cancel/")
    assert f"Cancels {signals[1].number} with it: the other leg of its pair." in html


def test_closing_is_confirmed_and_enqueues_one_exit(
    filled: dict[str, Any],
    page: Page,
    client: Client,
    enqueued: list[tuple[list[int], str]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    client.force_login(filled["operator"])
    path = f"/admin/positions/executionposition/{filled['position'].pk}/"
    assert "Sends a market order to buy up to 40,000 EURUSD" in page(f"{path}close/")
    assert not Order.objects.exits().exists()
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{path}close/", {"fraction": "1"})
    written = Order.objects.exits().get()
    assert (written.side, written.quantity, written.position) == (
        "BUY", seed.D(40_000), filled["position"],
    )  # fmt: skip
    assert enqueued == [([written.pk], "exits")]
    repeated = html_of(client.post(f"{path}close/", {"fraction": "1"}, follow=True))
    assert "is already closed or being closed" in repeated
    assert Order.objects.exits().count() == 1


def test_failed_order_is_retried(
    small: dict[str, Any],
    client: Client,
    enqueued: list[tuple[list[int], str]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    published = seed.signal(small["feed"], candidate_count=2)
    reasons = {("FAILED", "NEVER_ARRIVED"): 1, ("UNKNOWN", "REPLY_LOST"): 1}
    failed, unknown = seed.orders(published, small["connections"], reasons)
    client.force_login(small["operator"])
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"/admin/execution/order/{failed.pk}/retry/")
        refused = client.post(f"/admin/execution/order/{unknown.pk}/retry/", follow=True)
    assert "Only a FAILED order can be retried." in html_of(refused)
    failed.refresh_from_db()
    unknown.refresh_from_db()
    assert (failed.status, unknown.status) == ("PENDING", "UNKNOWN")
    assert enqueued == [([failed.pk], "execution")]
    assert ExecutionLog.objects.filter(order_id=failed.pk, code="OPERATOR_RETRY").exists()


def test_retry_is_not_offered_for_an_expired_order(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    """An alert's market entry has always expired when its absence is confirmed."""
    published = seed.signal(small["feed"], candidate_count=1)
    (failed,) = seed.orders(published, small["connections"], {("FAILED", "NEVER_ARRIVED"): 1})
    path = f"/admin/execution/order/{failed.pk}/"
    client.force_login(small["operator"])
    assert "Retry…" in page(path)
    published.valid_until = market_now() - timedelta(seconds=1)
    published.save(update_fields=["valid_until"])
    html = page(path)
    assert "Retry…" not in html
    assert "It cannot be retried: " in html
    assert "If you still want the trade, publish a new signal." in html
    refused = html_of(client.post(f"{path}retry/", follow=True))
    assert "If you still want the trade, publish a new signal." in refused
    failed.refresh_from_db()
    assert failed.status == "FAILED"


def test_credentials_are_stored_sealed_and_never_displayed(
    small: dict[str, Any], page: Page, client: Client, settings: Any
) -> None:
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)
    client.force_login(small["operator"])
    connection = small["connections"][1]
    path = f"/admin/connections/executionconnection/{connection.pk}/"
    wrong = client.post(f"{path}credentials/", {"password": ""})
    assert wrong.status_code == 200
    stored = client.post(f"{path}credentials/", {"password": TYPED}, follow=True)
    for html in (html_of(stored), page(path), page(f"{path}credentials/"),
                 page(f"{path}edit/"), page("/admin/console/trail/")):  # fmt: skip
        assert TYPED not in html
        assert CANARY not in html
    sealed = ExecutionConnection.objects.get(pk=connection.pk).sealed_credentials
    assert sealed is not None
    assert bytes(sealed) != CANARY.encode()
    assert TYPED.encode() not in bytes(sealed)


def test_connection_test_is_requested_and_its_page_polls(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][5]
    path = f"/admin/connections/executionconnection/{connection.pk}/"
    before = page(path)
    for text in ("Trading allowed", "The account is read-only.", "Ask the broker to enable"):
        assert text in before
    assert "every 1s" not in before
    client.post(f"{path}test/")
    assert 'hx-trigger="every 1s"' in page(path)
    connection.health.refresh_from_db()
    assert connection.health.test_requested_at is not None
    connection.health.last_tested_at = connection.health.test_requested_at
    connection.health.save(update_fields=["last_tested_at"])
    assert "every 1s" not in page(f"{path}checks/")


def test_connection_is_added_in_two_steps_and_only_once(
    small: dict[str, Any], client: Client
) -> None:
    client.force_login(small["operator"])
    form = {"name": "New", "owner": "tenant-01", "type": "paper", "account": "N-1",
            "settings.native_stops": "on", "is_active": "on"}  # fmt: skip
    add = "/admin/connections/executionconnection/add/"
    chosen = client.post(add, {"type": "paper"})
    assert chosen.headers["Location"] == f"{add}?type=paper"
    assert "Wait for an answer" in html_of(client.get(chosen.headers["Location"]))
    client.post(add, form)
    created = ExecutionConnection.objects.get(account="N-1")
    assert (created.user.username if created.user else "", created.health.status) == (
        "tenant-01", "UNTESTED",
    )  # fmt: skip
    assert created.settings == {}
    wrong = {**form, "account": "N-2", "settings.reply_timeout": "soon"}
    assert "Write a plain number" in html_of(client.post(add, wrong))
    twice = client.post("/admin/connections/executionconnection/add/", form)
    assert "connected here already" in html_of(twice)
    assert ExecutionConnection.objects.filter(account__startswith="N-").count() == 1


def test_connection_is_paused_and_resumed(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][0]
    path = f"/admin/connections/executionconnection/{connection.pk}/pause/"
    for to, paused in (("pause", True), ("pause", True), ("resume", False)):
        client.post(path, {"to": to})
        connection.refresh_from_db()
        assert connection.is_paused is paused


def test_resumed_connection_that_may_not_trade_states_what_is_missing(
    small: dict[str, Any], client: Client
) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][0]
    row = ExecutionConnection.objects.filter(pk=connection.pk)
    path = f"/admin/connections/executionconnection/{connection.pk}/pause/"
    client.post(path, {"to": "pause"})
    page = html_of(client.post(path, {"to": "resume"}, follow=True))
    assert "is resumed. It trades from the next signal on." in page
    row.update(is_paused=True, preset=None)
    page = html_of(client.post(path, {"to": "resume"}, follow=True))
    assert "It takes no signal yet. The connection has no trading preset" in page
    assert "t trades from the next signal" not in page


def test_subscription_is_paused(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    subscription = Subscription.objects.earliest("pk")
    client.post(f"/admin/connections/subscription/{subscription.pk}/pause/")
    subscription.refresh_from_db()
    assert subscription.is_paused


def test_operator_gives_a_subscription_high_priority(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    subscription = Subscription.objects.earliest("pk")
    address = f"/admin/connections/subscription/{subscription.pk}/priority/"
    assert "Within a priority the accounts take turns." in html_of(client.get(address))
    assert client.post(address, {"priority": "4"}).status_code == 200
    subscription.refresh_from_db()
    assert subscription.priority == 2
    shown = html_of(client.post(address, {"priority": "1"}, follow=True))
    assert "The priority was changed." in shown
    subscription.refresh_from_db()
    assert subscription.priority == 1


def test_kill_switch_is_set_displayed_and_released(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    form = {"mode": "HALTED", "scope": "FEED", "name": "unknown", "reason": "drill"}
    path = "/admin/connections/killswitch/set/"
    assert "There is no such feed." in html_of(client.post(path, form))
    shown = html_of(client.post(path, {**form, "name": "swing"}))
    assert "Exit orders that have not ended:" in shown
    assert not KillSwitch.objects.filter(released_at=None).exists()
    client.post(path, {**form, "name": "swing", "seen": "HALTED|FEED|swing|False|False"})
    switch = KillSwitch.objects.get(released_at=None)
    assert (switch.mode, switch.feed, switch.set_by) == ("HALTED", small["feed"], small["operator"])
    assert "Kill switch: feed Swing, nothing is sent" in page("/admin/")
    halted = page(f"/admin/signals/signal/{small['waiting'].pk}/")
    assert "Publish although nothing would be sent" in halted
    client.post(f"/admin/connections/killswitch/{switch.pk}/release/")
    assert not KillSwitch.objects.filter(released_at=None).exists()
    assert "Kill switch:" not in page("/admin/")


@pytest.mark.parametrize(
    ("scope", "name", "shown"),
    [("SYMBOL", "eurusd", "Kill switch: EUR/USD"), ("BROKER_TYPE", "paper", "all paper accounts")],
)
def test_kill_switch_shows_what_it_touches_before_it_is_set(
    small: dict[str, Any], page: Page, client: Client, scope: str, name: str, shown: str
) -> None:
    client.force_login(small["operator"])
    path = "/admin/connections/killswitch/set/"
    form = {"mode": "REDUCING", "scope": scope, "name": name, "reason": "r", "flatten": "on"}
    html = html_of(client.post(path, form))
    closed = "They are closed at the market."
    for text in ("Entries queued to be sent:", "Entries at brokers:", closed):
        assert text in html
    seen = re.findall(r'name="seen" value="([^"]*)"', html)
    assert seen == [f"REDUCING|{scope}|{name}|False|True"]
    other = html_of(client.post(path, {**form, "seen": seen[0], "cancel_entries": "on"}))
    assert "Each broker is asked to cancel" in other  # another halt than the one that was shown
    assert not KillSwitch.objects.filter(released_at=None).exists()
    client.post(path, {**form, "seen": seen[0]})
    switch = KillSwitch.objects.get(released_at=None)
    assert (switch.scope, switch.flatten, switch.cancel_entries) == (scope, True, False)
    assert shown in page("/admin/")
    assert page("/admin/connections/killswitch/")


def test_wrong_targets_of_a_kill_switch_are_explained(
    small: dict[str, Any], client: Client
) -> None:
    client.force_login(small["operator"])
    path = "/admin/connections/killswitch/set/"
    for fields, text in (
        ({"scope": "SYMBOL", "name": "?!"}, "is not written as a symbol."),
        ({"scope": "SYMBOL", "name": ""}, "There is no such symbol."),
        ({"scope": "BROKER_TYPE", "name": "mt9"}, "is not a broker type."),
        ({"scope": "ALL", "name": "", "mode": "HALTED", "flatten": "on"}, "Choose exits only."),
    ):
        html = html_of(client.post(path, {"mode": "REDUCING", "reason": "r", **fields}))
        assert text in html, fields
    wrong = {"scope": "FEED", "name": "unknown", "mode": "HALTED", "flatten": "on", "reason": ""}
    html = html_of(client.post(path, wrong))
    for text in ("There is no such feed.", "Choose exits only.", "This field is required."):
        assert text in html, text
    path = "/admin/execution/scopedaction/ask/"
    html = html_of(client.post(path, {"scope": "SYMBOL", "name": "?!", "action": "SELL"}))
    assert "is not written as a symbol." in html
    assert "SELL is not one of the available choices." in html
    assert not KillSwitch.objects.filter(released_at=None).exists()


def test_epoch_is_displayed_and_released_with_a_reason(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    epoch = open_epoch(Epoch.Cause.BEHIND, by="detected", note="drill")
    assert epoch.kill_switch is not None
    assert "Epoch 2: the database was restored, exits only" in page("/admin/")
    assert "See open issues" in page("/admin/connections/killswitch/")
    client.post(f"/admin/connections/killswitch/{epoch.kill_switch.pk}/release/")
    path = f"/admin/connections/epoch/{epoch.pk}/"
    html = page(path)
    for text in ("Still sending", "Broker books not read", "Not compared",
                  "Entries ended without sending",
                  "The database is older than its last known state", "drill"):  # fmt: skip
        assert text in html
    client.post(f"{path}release/", {"note": "in a hurry"})
    client.post(f"{path}release/", {"force": "on"})
    first = Epoch.objects.get(number=1)
    other = f"/admin/connections/epoch/{first.pk}/release/"  # it was shown before this one opened
    client.post(other, {"force": "on", "note": "all looked at"})
    assert Epoch.objects.get(pk=2).released_at is None
    client.post(f"{path}release/", {"force": "on", "note": "the broker is closed"})
    epoch.refresh_from_db()
    assert epoch.released_by == small["operator"].username
    assert "Left unresolved: " in page(path)
    assert not KillSwitch.objects.filter(released_at=None).exists()
    assert "2" in page("/admin/connections/epoch/")


def test_secret_of_a_token_is_displayed_once(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    path = f"/admin/signals/feed/{small['feed'].pk}/"
    response = client.post(f"{path}token/", {"name": "alerts"})
    html = html_of(response)
    secret = html.partition("/hooks/tradingview/swing/")[2].partition("/")[0]
    (token,) = small["feed"].tokens.filter(name="alerts")
    assert address_of("swing", secret).token_id == token.pk
    assert "no-store" in response.headers["Cache-Control"]
    for later in (page(f"{path}change/"), page("/admin/signals/feedtoken/")):
        assert secret not in later


@pytest.mark.parametrize("hours", [0, 24])
def test_token_is_replaced_at_once_or_later(
    small: dict[str, Any], client: Client, hours: int
) -> None:
    client.force_login(small["operator"])
    old, _ = create_feed_token(small["feed"], "alerts")
    path = f"/admin/signals/feedtoken/{old.pk}/rotate/"
    html = html_of(client.post(path, {"hours": hours}))
    secret = html.partition("/hooks/tradingview/swing/")[2].partition("/")[0]
    assert address_of("swing", secret).token_id != old.pk
    old.refresh_from_db()
    assert (old.revoked_at is not None, old.expires_at is not None) == (not hours, bool(hours))


def test_audit_trail_names_the_user_and_the_change(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][0]
    client.post(f"/admin/connections/executionconnection/{connection.pk}/pause/", {"to": "pause"})
    html = page("/admin/console/trail/")
    assert "is_paused: False → <strong>True</strong>" in html
    assert "risk-officer" in html
    assert CANARY not in html


def test_api_key_is_displayed_once_and_revoked(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    form = {"user": "tenant-01", "name": "bot", "scopes": ["read"], "life": "90"}
    html = html_of(client.post("/admin/users/apikey/create/", form))
    secret = html.partition('class="fc-secret">')[2].partition("<")[0]
    user = user_for_key(secret)
    assert user is not None
    assert user.get_username() == "tenant-01"
    assert secret not in page("/admin/users/apikey/")
    key = user.api_keys.get()
    bot = {"bot_id": 1, "token_sealed": b"box", "forward_from": [-99]}
    TelegramBot.objects.create(feed=small["feed"], forward_from_made_with=key, **bot)
    hook = {"name": "alarms", "url_display": "https://example.com"}
    Channel.objects.create(user=user, made_with=key, **hook)
    asked = page(f"/admin/users/apikey/{key.pk}/revoke/")
    assert f"the list of forwarded chats “{small['feed']}”, which ends with it." in asked
    assert (
        "“alarms (https://example.com)”, which stays on until its owner switches it off." in asked
    )
    client.post(f"/admin/users/apikey/{key.pk}/revoke/")
    assert user_for_key(secret) is None


def test_preset_without_its_number_names_the_missing_field(
    client: Client, small: dict[str, Any]
) -> None:
    client.force_login(small["operator"])
    add = "/admin/connections/tradingpreset/add/"
    assert client.get(add).status_code == 200
    request = RequestFactory().get(add)
    request.user = small["operator"]
    form = admin.site.get_model_admin(TradingPreset).get_form(request)()
    initial = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    typed = {name: value for name, value in initial.items() if value is not None} | {"name": "Mine"}
    content = client.post(add, typed).text
    assert "percent of equity at risk needs risk percent" in content
    assert "is violated" not in content
    content = client.post(add, {**typed, "risk_percent": "101"}).text
    assert "Risk percent is above 0 and at most 100." in content
    content = client.post(add, {**typed, "risk_percent": "1", "allowed_symbols": "*/*"}).text
    assert "Write EUR/USD, EUR/* or */USD." in content
    client.post(add, {**typed, "risk_percent": "1", "allowed_symbols": "eurusd, */jpy"})
    preset = TradingPreset.objects.get(name="Mine")
    assert (preset.risk_percent, preset.limits.allowed_symbols) == (1, ["EUR/USD", "*/JPY"])


def test_preset_keeps_its_owner_and_its_change_is_in_the_trail(
    client: Client, small: dict[str, Any], page: Page
) -> None:
    client.force_login(small["operator"])
    owner = ExecutionConnection.objects.select_related("user").filter(user__isnull=False)[0].user
    preset = TradingPreset.objects.create(name="Theirs", risk_percent=1, user=owner)
    address = f"/admin/connections/tradingpreset/{preset.pk}/change/"
    shown = fields_of(client.get(address).text)
    assert "user" not in shown
    sent = client.post(address, {**shown, "risk_percent": "0.5", "user": ""})
    assert sent.status_code == 302
    preset.refresh_from_db()
    assert (preset.risk_percent, preset.user) == (Decimal("0.5"), owner)
    trail = page("/admin/console/trail/")
    assert "risk_percent" in trail
    assert small["operator"].get_username() in trail


def test_preset_is_deleted_only_while_no_account_uses_it(
    client: Client, small: dict[str, Any]
) -> None:
    client.force_login(small["operator"])
    used = ExecutionConnection.objects.exclude(preset=None)[0].preset
    assert used is not None
    unused = TradingPreset.objects.create(name="Unused", risk_percent=1)
    for preset in (used, unused):
        client.post(f"/admin/connections/tradingpreset/{preset.pk}/delete/", {"post": "yes"})
    left = set(TradingPreset.objects.values_list("name", flat=True))
    assert used.name in left
    assert "Unused" not in left


def hidden_fields(html: str) -> dict[str, str]:
    """Return the hidden fields of a confirmation page."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html)
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def test_feeds_trades_are_closed_after_a_confirmation(
    filled: dict[str, Any], page: Page, client: Client, enqueued: list[tuple[list[int], str]]
) -> None:
    client.force_login(filled["operator"])
    path = f"/admin/signals/feed/{filled['feed'].pk}/close-trades/"
    assert path in page("/admin/signals/feed/")
    assert re.search(r"1 trade with 1 position( \([^)]+\))? on 1 account, in EUR", page(path))
    wrong = client.post(path, {"symbol": "?!", "direction": "", "fraction": "1"})
    assert "is not written as a symbol" in html_of(wrong)
    side = filled["position"].side
    half = {"symbol": "", "direction": side, "fraction": "0.5"}
    shown = hidden_fields(page(path))
    asked = html_of(client.post(path, half | shown))  # all of it was shown, not a half
    assert not filled["feed"].signals.filter(action="CLOSE").exists()
    confirmed = half | hidden_fields(asked)
    client.post(path, confirmed)
    client.post(path, confirmed)
    (closing,) = filled["feed"].signals.filter(action="CLOSE")
    assert closing.refers_to_id == filled["order"].signal_id
    assert Order.objects.exits().get().quantity == filled["position"].quantity / 2
    other = "SELL" if side == "BUY" else "BUY"
    nothing = client.post(path, {"symbol": "EURUSD", "direction": other, "fraction": "1"})
    assert "The feed has nothing open there that it has not closed." in html_of(nothing)
    assert "Close them" not in html_of(nothing)
