"""The first steps, a paper account by one click, and the test beside the forms."""

import html
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from analytics.models import Preflight
from analytics.preflight import jobs
from brokers.registry import BUILT_IN, form_of
from connections.models import ConnectionHealth, ExecutionConnection, TradingPreset
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import World
from users.tenancy import for_all_tenants

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("world")]
PAPER = "/accounts/paper/"


@pytest.fixture
def nora(world: World, signed_in: SignedIn) -> Client:
    return as_web_process(signed_in(world.nora))


@pytest.fixture
def alice(world: World, signed_in: SignedIn) -> Client:
    return as_web_process(signed_in(world.alice))


def page(client: Client, address: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(html_of(client.get(address))))


def key_on(content: str) -> str:
    found = re.search(r'name="key" value="([0-9a-f]{32})"', content)
    assert found
    return found[1]


def states(content: str) -> list[str]:
    """What each step shows, in order."""
    steps = content.split('id="first-steps"')[1].split("</ol>")[0]
    return re.findall(r"<span>(done|optional|next|to do)</span>", steps)


def test_each_step_is_done_by_doing_it(world: World, nora: Client, enqueued: list[Any]) -> None:
    first = page(nora, "/")
    assert states(first) == ["next", "to do", "to do", "to do", "optional", "to do"]
    answer = nora.post(PAPER, {"start": "USD 10000", "key": key_on(first)})
    row = ExecutionConnection.objects.get(user=world.nora)
    assert answer.headers["Location"] == f"/accounts/{row.pk}/#checks"
    assert states(page(nora, "/"))[:3] == ["done", "next", "to do"]
    ConnectionHealth.objects.filter(pk=row.pk).update(
        status="ACTIVE", last_tested_at=datetime.now(UTC), test_requested_at=None,
        last_test=[{"name": "reach", "result": "ok", "detail": "", "hint": ""}],
    )  # fmt: skip
    assert states(page(nora, "/"))[:3] == ["done", "done", "next"]
    ExecutionConnection.objects.filter(pk=row.pk).update(preset=world.preset)
    assert states(page(nora, "/")) == ["done", "done", "done", "next", "optional", "to do"]
    choices = {"account": str(row.pk), "multiplier": "1", "directions": "BOTH", "signals": "5"}
    asked = nora.post(f"/feeds/{world.carry.slug}/preflight/", choices)
    assert asked.status_code == 302
    assert states(page(nora, "/"))[4] == "optional", "asked for, and not computed yet"
    with for_all_tenants():
        assert jobs.run_next()
    assert states(page(nora, "/")) == ["done", "done", "done", "done", "done", "next"]
    Preflight.objects.all().delete()  # they are kept for a day
    make.subscription(row, world.breakout)
    assert "First steps" not in page(nora, "/")
    assert states(page(nora, "/first-steps/")) == ["done"] * 6


def test_a_failed_test_does_not_count(world: World, nora: Client, enqueued: list[Any]) -> None:
    nora.post(PAPER, {"start": "USD 10000", "key": "k"})
    row = ExecutionConnection.objects.get(user=world.nora)
    failed = {"name": "password", "result": "fail", "detail": "not accepted", "hint": "Again."}
    ConnectionHealth.objects.filter(pk=row.pk).update(
        last_tested_at=datetime.now(UTC), test_requested_at=None, last_test=[failed]
    )
    assert states(page(nora, "/"))[1] == "next"
    beside = page(nora, f"/accounts/{row.pk}/edit/")
    assert "not accepted" in beside
    assert f'href="/accounts/{row.pk}/credentials/"' in beside


def test_a_double_click_opens_one_account(
    world: World, nora: Client, enqueued: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    click = {"start": "EUR 50000", "key": key_on(page(nora, "/"))}
    with django_capture_on_commit_callbacks(execute=True):
        answers = [nora.post(PAPER, click) for _ in range(2)]
    rows = ExecutionConnection.objects.filter(user=world.nora)
    assert [answer.status_code for answer in answers] == [302, 302]
    assert rows.count() == 1
    assert enqueued == [rows.get().pk]  # its test, once
    assert rows.get().data_connection == world.prices


def test_a_refusal_is_shown_on_the_page(world: World, nora: Client) -> None:
    world.prices.is_active = False
    world.prices.save(update_fields=["is_active"])
    answer = nora.post(PAPER, {"start": "USD 10000", "key": "k"})
    assert answer.status_code == 422
    assert "There are no prices for paper accounts yet" in html_of(answer)
    assert not ExecutionConnection.objects.filter(user=world.nora).exists()
    assert nora.post(PAPER, {"start": "USD 7", "key": "k"}).status_code == 422


def test_the_steps_can_be_hidden_and_shown(nora: Client) -> None:
    nora.post("/first-steps/", {"hide": "1"})
    hidden = page(nora, "/")
    assert 'id="first-steps"' not in hidden
    assert 'href="/first-steps/"' in hidden
    assert "Connect your first account" in hidden
    nora.post("/first-steps/", {"show": "1"})
    assert 'id="first-steps"' in page(nora, "/")


def test_the_overview_reads_little(alice: Client) -> None:
    with CaptureQueriesContext(connection) as few:
        alice.get("/first-steps/")
    assert len(few) <= 16, [query["sql"][:80] for query in few]


@pytest.mark.parametrize("broker_type", BUILT_IN)
def test_forms_show_what_people_know_first(alice: Client, broker_type: str) -> None:
    content = page(alice, f"/accounts/add/?type={broker_type}")
    first, _, advanced = content.partition("<summary>Advanced</summary>")
    form = form_of(broker_type)
    for setting in form.fields:
        shown = first if setting.required or setting.is_basic else advanced
        assert f'name="settings.{setting.key}"' in shown
        assert setting.hint.strip().endswith((".", "}."))
    for secret in form.secrets:
        assert f'name="credentials.{secret.key}"' in first
    assert 'name="account"' in first
    assert "<details" in content
    assert "<details open" not in content.replace('class="fc-options" ', "")


def test_a_fault_under_advanced_is_not_folded_away(alice: Client) -> None:
    typed = {"name": "n", "account": "1", "settings.server": "s", "settings.reply_timeout": "x"}
    answer = alice.post("/accounts/add/?type=mt5", typed)
    assert answer.status_code == 422
    assert '<details class="fc-options" open>' in html_of(answer)


def test_credentials_are_entered_with_the_account_and_tested_at_once(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    typed = {"name": "Mine", "account": "55", "settings.server": "Broker-Live",
             "data_connection": "own"}  # fmt: skip
    with django_capture_on_commit_callbacks(execute=True):
        answer = alice.post("/accounts/add/?type=mt5", {**typed, "credentials.password": "s3cret"})
    row = ExecutionConnection.objects.get(account="55")
    assert answer.headers["Location"] == f"/accounts/{row.pk}/edit/"
    assert row.sealed_credentials is not None
    assert enqueued == [row.pk]
    beside = page(alice, f"/accounts/{row.pk}/edit/")
    assert "s3cret" not in beside
    assert f'hx-get="/accounts/{row.pk}/test/state/"' in beside
    with django_capture_on_commit_callbacks(execute=True):
        alice.post("/accounts/add/?type=mt5", {**typed, "account": "56"})
    later = ExecutionConnection.objects.get(account="56")
    assert enqueued == [row.pk]  # without a password there is nothing to test
    assert "Enter its credentials" in page(alice, f"/accounts/{later.pk}/edit/")


def test_some_credentials_are_not_enough(alice: Client) -> None:
    typed = {"name": "n", "account": "main", "exchange_name": "binance",
             "settings.symbols": "BTC/USDT", "credentials.api_key": "k"}  # fmt: skip
    answer = alice.post("/accounts/add/?type=crypto", typed)
    assert answer.status_code == 422
    assert "Secret is missing" in html_of(answer)


def test_new_credentials_are_tested_at_once(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    address = f"/accounts/{world.mt5.pk}/credentials/"
    with django_capture_on_commit_callbacks(execute=True):
        answer = alice.post(address, {"password": "new"})
    assert answer.headers["Location"] == address  # where the result appears
    assert enqueued == [world.mt5.pk]


def test_presets_are_offered_to_new_users(nora: Client) -> None:
    assert TradingPreset.objects.filter(user=None).exists()
    assert "1 % at risk" in page(nora, "/presets/")
