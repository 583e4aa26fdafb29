"""What operators do from their pages: orders, positions, connections, halts, secrets."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from nacl.public import PrivateKey

from common.clocks import market_now
from connections.models import Epoch, ExecutionConnection, KillSwitch, Subscription, TradingPreset
from execution import tasks
from execution.disaster_recovery.epochs import open_epoch
from execution.models import ExecutionLog, Order
from signals.feeds import token_for
from tests.console import seed
from tests.console.seed import CANARY
from tests.html import html_of
from users.services import user_for_key

Page = Callable[..., str]
TYPED = "typed-9f2c-never-shown"


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], str]]:
    """What would have been rung for, instead of ringing."""
    heard: list[tuple[list[int], str]] = []

    def ring(order_ids: list[int], *, queue: str = tasks.ENTRIES, lanes: object = None) -> None:
        heard.append((list(order_ids), queue))

    monkeypatch.setattr(tasks, "enqueue", ring)
    return heard


@pytest.fixture
def filled(small: dict[str, Any]) -> dict[str, Any]:
    """One filled entry with its open position."""
    published = seed.signal(small["feed"], candidate_count=1)
    (order,) = seed.orders(published, small["connections"], {("FILLED", ""): 1})
    seed.fills([order])
    seed.logs([order])
    return small | {"order": order, "position": seed.position(order)}


def test_an_order_tells_its_way(filled: dict[str, Any], page: Page, client: Client) -> None:
    client.force_login(filled["operator"])
    html = page(f"/admin/execution/order/{filled['order'].pk}/")
    for words in ("Sized and checked: 40,000", "Intent saved, then sent",
                  "Acknowledged by the broker",
                  "Filled 40,000 EUR at 1.38254",
                  "The order is sized and checked and is about to be sent."):  # fmt: skip
        assert words in html


def test_closing_asks_then_writes_one_exit_and_rings(
    filled: dict[str, Any],
    page: Page,
    client: Client,
    rung: list[tuple[list[int], str]],
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
    assert rung == [([written.pk], "exits")]
    again = html_of(client.post(f"{path}close/", {"fraction": "1"}, follow=True))
    assert "is already closed or being closed" in again
    assert Order.objects.exits().count() == 1


def test_a_failed_order_is_tried_again_after_a_question(
    small: dict[str, Any],
    client: Client,
    rung: list[tuple[list[int], str]],
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
    assert rung == [([failed.pk], "execution")]
    assert ExecutionLog.objects.filter(order_id=failed.pk, code="OPERATOR_RETRY").exists()


def test_expired_order_is_not_offered_to_be_tried_again(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    """As an alert's market entry always is when it is proven that it never arrived."""
    published = seed.signal(small["feed"], candidate_count=1)
    (failed,) = seed.orders(published, small["connections"], {("FAILED", "NEVER_ARRIVED"): 1})
    path = f"/admin/execution/order/{failed.pk}/"
    client.force_login(small["operator"])
    assert "Retry…" in page(path)
    published.valid_until = market_now() - timedelta(seconds=1)
    published.save(update_fields=["valid_until"])
    shown = page(path)
    assert "Retry…" not in shown
    assert "It cannot be retried: " in shown
    assert "If you still want the trade, publish a new signal." in shown
    refused = html_of(client.post(f"{path}retry/", follow=True))
    assert "If you still want the trade, publish a new signal." in refused
    failed.refresh_from_db()
    assert failed.status == "FAILED"


def test_credentials_go_in_and_never_come_out(
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


def test_a_test_is_asked_for_and_the_page_waits(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][5]
    path = f"/admin/connections/executionconnection/{connection.pk}/"
    before = page(path)
    for words in ("Trading allowed", "The account is read-only.", "Ask the broker to enable"):
        assert words in before
    assert "every 1s" not in before
    client.post(f"{path}test/")
    assert 'hx-trigger="every 1s"' in page(path)
    connection.health.refresh_from_db()
    assert connection.health.test_requested_at is not None
    connection.health.last_tested_at = connection.health.test_requested_at
    connection.health.save(update_fields=["last_tested_at"])
    assert "every 1s" not in page(f"{path}checks/")


def test_a_connection_is_added_and_changed_by_services(
    small: dict[str, Any], client: Client
) -> None:
    client.force_login(small["operator"])
    told = {"name": "New", "owner": "tenant-01", "type": "paper", "account": "N-1",
            "settings.native_stops": "on", "is_active": "on"}  # fmt: skip
    add = "/admin/connections/executionconnection/add/"
    chosen = client.post(add, {"type": "paper"})
    assert chosen.headers["Location"] == f"{add}?type=paper"
    assert "Wait for an answer" in html_of(client.get(chosen.headers["Location"]))
    client.post(add, told)
    made = ExecutionConnection.objects.get(account="N-1")
    assert (made.user.username if made.user else "", made.health.status) == (
        "tenant-01", "UNTESTED",
    )  # fmt: skip
    assert made.settings == {}
    wrong = {**told, "account": "N-2", "settings.reply_timeout": "soon"}
    assert "Write a plain number" in html_of(client.post(add, wrong))
    twice = client.post("/admin/connections/executionconnection/add/", told)
    assert "connected here already" in html_of(twice)
    assert ExecutionConnection.objects.filter(account__startswith="N-").count() == 1


def test_pausing_a_connection(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][0]
    path = f"/admin/connections/executionconnection/{connection.pk}/pause/"
    for to, paused in (("pause", True), ("pause", True), ("resume", False)):
        client.post(path, {"to": to})
        connection.refresh_from_db()
        assert connection.is_paused is paused


def test_resumed_connection_that_may_not_trade_says_what_is_missing(
    small: dict[str, Any], client: Client
) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][0]
    mine = ExecutionConnection.objects.filter(pk=connection.pk)
    path = f"/admin/connections/executionconnection/{connection.pk}/pause/"
    client.post(path, {"to": "pause"})
    page = html_of(client.post(path, {"to": "resume"}, follow=True))
    assert "is resumed. It trades from the next signal on." in page
    mine.update(is_paused=True, preset=None)
    page = html_of(client.post(path, {"to": "resume"}, follow=True))
    assert "It takes no signal yet. The connection has no trading preset" in page
    assert "t trades from the next signal" not in page


def test_ending_a_subscription(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    subscription = Subscription.objects.earliest("pk")
    client.post(f"/admin/connections/subscription/{subscription.pk}/pause/")
    subscription.refresh_from_db()
    assert subscription.is_paused


def test_the_kill_switch_is_set_seen_and_released(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    told = {"mode": "HALTED", "scope": "FEED", "name": "nobody", "reason": "drill"}
    path = "/admin/connections/killswitch/set/"
    assert "There is no such feed." in html_of(client.post(path, told))
    client.post(path, {**told, "name": "swing"})
    switch = KillSwitch.objects.get(released_at=None)
    assert (switch.mode, switch.feed, switch.set_by) == ("HALTED", small["feed"], small["operator"])
    assert "Kill switch: feed Swing, nothing is sent" in page("/admin/")
    halted = page(f"/admin/signals/signal/{small['waiting'].pk}/")
    assert "Publish although nothing would be sent" in halted
    client.post(f"/admin/connections/killswitch/{switch.pk}/release/")
    assert not KillSwitch.objects.filter(released_at=None).exists()
    assert "Kill switch:" not in page("/admin/")


def test_an_epoch_is_seen_and_released_with_a_reason(
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
    for words in ("Still sending", "Broker books not read", "Not compared",
                  "Entries ended without sending",
                  "The database is older than its last known state", "drill"):  # fmt: skip
        assert words in html
    client.post(f"{path}release/", {"note": "in a hurry"})
    client.post(f"{path}release/", {"force": "on"})
    assert Epoch.objects.get(pk=2).released_at is None
    client.post(f"{path}release/", {"force": "on", "note": "the broker is closed"})
    epoch.refresh_from_db()
    assert epoch.released_by == small["operator"].username
    assert "Left unresolved: " in page(path)
    assert not KillSwitch.objects.filter(released_at=None).exists()
    assert "2" in page("/admin/connections/epoch/")


def test_a_token_is_shown_once(small: dict[str, Any], page: Page, client: Client) -> None:
    client.force_login(small["operator"])
    path = f"/admin/signals/feed/{small['feed'].pk}/"
    answer = client.post(f"{path}token/", {"name": "alerts"})
    html = html_of(answer)
    secret = html.partition("/hooks/tradingview/swing/")[2].partition("/")[0]
    assert token_for("swing", secret).name == "alerts"
    assert "no-store" in answer.headers["Cache-Control"]
    for later in (page(f"{path}change/"), page("/admin/signals/feedtoken/")):
        assert secret not in later


def test_the_audit_trail_names_who_and_what(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    connection = small["connections"][0]
    client.post(f"/admin/connections/executionconnection/{connection.pk}/pause/", {"to": "pause"})
    html = page("/admin/console/trail/")
    assert "is_paused: False → <strong>True</strong>" in html
    assert "risk-officer" in html
    assert CANARY not in html


def test_an_api_key_is_shown_once_and_revoked(
    small: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    told = {"user": "tenant-01", "name": "bot", "scopes": ["read"], "life": "90"}
    html = html_of(client.post("/admin/users/apikey/create/", told))
    secret = html.partition('class="fc-secret">')[2].partition("<")[0]
    user = user_for_key(secret)
    assert user is not None
    assert user.get_username() == "tenant-01"
    assert secret not in page("/admin/users/apikey/")
    key = user.api_keys.get()
    client.post(f"/admin/users/apikey/{key.pk}/revoke/")
    assert user_for_key(secret) is None


def test_a_preset_that_lacks_its_number_says_which(client: Client, small: dict[str, Any]) -> None:
    client.force_login(small["operator"])
    add = "/admin/connections/tradingpreset/add/"
    assert client.get(add).status_code == 200
    request = RequestFactory().get(add)
    request.user = small["operator"]
    form = admin.site.get_model_admin(TradingPreset).get_form(request)()
    usual = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    typed = {name: value for name, value in usual.items() if value is not None} | {"name": "Mine"}
    told = client.post(add, typed).text
    assert "percent of equity at risk needs risk percent" in told
    assert "is violated" not in told
    told = client.post(add, {**typed, "risk_percent": "101"}).text
    assert "Risk percent is above 0 and at most 100." in told
    client.post(add, {**typed, "risk_percent": "1"})
    assert TradingPreset.objects.get(name="Mine").risk_percent == 1
