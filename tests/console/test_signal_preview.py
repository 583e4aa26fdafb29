"""The console's preview of a publication, and what its form refuses."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client

from common.db.sql import run
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed, Signal
from tests.console import seed
from tests.execution import factories
from tests.html import html_of
from users.models import User

pytestmark = pytest.mark.django_db
Page = Callable[..., str]
FORM = {
    "action": "OPEN", "currency_pair": "EUR/USD", "direction": "BUY", "order_type": "MARKET",
    "sl": "1.09", "target_prices": "1.12", "target_fractions": "1", "close_fraction": "1",
    "time_in_force": "GTC", "risk_category": "normal", "max_slippage_unit": "",
}  # fmt: skip


@pytest.fixture
def operator(db: None, client: Client) -> User:
    user = seed.operator()
    client.force_login(user)
    return user


@pytest.fixture
def feed(operator: User) -> Feed:
    factories.instrument()
    return Feed.objects.create(slug="swing", name="Swing", owner=operator, is_approved=True)


@pytest.fixture
def accounts(feed: Feed) -> list[ExecutionConnection]:
    """Return three accounts that trade, and one each that waits, is paused and is too small."""
    sizes = [
        factories.account(feed, type="paper", preset_fixed_quantity=D(n)) for n in (50, 100, 1000)
    ]
    waits = factories.account(feed, type="paper")
    run("UPDATE connections_connectionhealth SET reconciled_at = NULL WHERE connection_id = %s",
        (waits.pk,))  # fmt: skip
    return [
        *sizes,
        waits,
        factories.account(feed, type="paper", is_paused=True),
        factories.account(feed, type="paper", preset_max_quantity=D(99)),
    ]


def draft(feed: Feed, **fields: Any) -> Signal:
    levels = {"sl": D("1.09"), "target_prices": [D("1.12")], "max_slippage_pips": None}
    return seed.signal(feed, **{"direction": "BUY", **levels, **fields})


def address(signal: Signal, rest: str = "") -> str:
    return f"/admin/signals/signal/{signal.pk}/{rest}"


def test_signal_page_previews_the_publication(
    accounts: list[ExecutionConnection], feed: Feed, page: Page
) -> None:
    signal = draft(feed)
    html = page(address(signal))
    assert "Publish to 3 connections…" in html
    for text in ("Would wait", "CONNECTION_NOT_RECONCILED", "Would be skipped",
                 "CONNECTION_PAUSED", "Would be denied", "MAX_QUANTITY",
                 "50 EUR", "100 EUR", "1,000 EUR"):  # fmt: skip
        assert text in html, text
    assert f'hx-get="{address(signal)}" hx-trigger="every 5s"' in html
    assert not Order.objects.exists()


def test_confirmation_states_what_a_publication_does_and_is_refreshed(
    accounts: list[ExecutionConnection], feed: Feed, page: Page, client: Client
) -> None:
    signal = draft(feed)
    html = page(address(signal, "publish/"))
    assert (
        "3 connections get one order each, sent within a second. "
        "Sizes: 50 EUR to 1,000 EUR, median 100 EUR." in html
    )
    assert "1 waits: " in html
    assert "1 skipped: The owner has paused the connection." in html
    assert "1 denied: The calculated quantity is above the preset" in html
    assert 'hx-select-oob="#confirm"' in html
    run("UPDATE connections_executionconnection SET is_paused = true")
    assert "Publish although nothing would be sent" in page(address(signal, "publish/"))


def test_accounts_that_do_not_list_the_symbol_are_counted_separately(
    accounts: list[ExecutionConnection], feed: Feed, page: Page
) -> None:
    factories.account(feed, type="paper", instrument_book="")
    signal = draft(feed)
    html = page(address(signal))
    assert "Not listed at their broker" in html
    assert "SYMBOL_NOT_AT_BROKER" in html
    question = page(address(signal, "publish/"))
    assert "1 not listed: The account does not list this symbol." in question


def test_signal_that_no_account_can_trade_is_not_published(
    accounts: list[ExecutionConnection], feed: Feed, page: Page, client: Client
) -> None:
    signal = draft(feed, sl=D("1.11"))
    html = page(address(signal))
    assert "No account can trade it as it is" in html
    assert "The stop is at the current price or beyond it" in html
    assert "STOP_AT_ENTRY" in html
    assert "publish/" not in html
    question = page(address(signal, "publish/"))
    assert "Nothing would be sent now." in question
    assert 'id="confirm-button"' not in question
    outcome = html_of(client.post(address(signal, "publish/"), follow=True))
    assert "Nothing was changed." in outcome
    assert "STOP_AT_ENTRY" in outcome
    signal.refresh_from_db()
    assert not signal.is_published
    assert not Order.objects.exists()


def test_form_refuses_a_stop_on_the_wrong_side(
    accounts: list[ExecutionConnection], feed: Feed, client: Client
) -> None:
    wrong = {**FORM, "feed": feed.pk, "sl": "1.11"}
    html = html_of(client.post("/admin/signals/signal/add/", wrong))
    assert "The stop is at the current price or beyond it" in html
    assert "Entry 1.1, level 1.11." in html
    assert not Signal.objects.exists()
    client.post("/admin/signals/signal/add/", {**FORM, "feed": feed.pk})
    assert Signal.objects.get().sl == D("1.09")


def test_form_takes_the_providers_figures(feed: Feed, client: Client) -> None:
    stated = {"provider_quantity": "1000", "provider_equity": "2500", "provider_currency": "us$"}
    add = "/admin/signals/signal/add/"
    html = html_of(client.post(add, {**FORM, "feed": feed.pk, **stated}))
    assert "is not the code of a currency such as USD" in html
    client.post(add, {**FORM, "feed": feed.pk, **stated, "provider_currency": "usd"})
    signal = Signal.objects.get()
    figures = (signal.provider_quantity, signal.provider_equity, signal.provider_currency)
    assert figures == (1000, 2500, "USD")


def test_signal_without_followers_can_be_written(feed: Feed, client: Client, page: Page) -> None:
    client.post("/admin/signals/signal/add/", {**FORM, "feed": feed.pk, "sl": "1.11"})
    signal = draft(feed)
    assert Signal.objects.count() == 2
    assert "Publish without any connection" in page(address(signal))


def test_preview_of_a_close_counts_its_exits(feed: Feed, page: Page) -> None:
    factories.account(feed, type="paper")
    opened = factories.signal(feed)
    assert Order.objects.get().status == "PENDING"
    close = draft(feed, action="CLOSE", refers_to=opened, sl=None, target_prices=[],
                  target_fractions=[])  # fmt: skip
    assert "1 connection gets its exit, sent within a second." in page(address(close, "publish/"))
