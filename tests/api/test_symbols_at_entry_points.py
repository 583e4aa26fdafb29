"""A symbol without a currency means the same pair at every entry point: the feed's open and traded
pairs count before the lists of its followers' brokers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from connections.models import Subscription
from signals.models import Feed, Signal
from tests.api.factories import World
from tests.api.symbol_alerts import DAX, DOLLAR, open_and_close, opened
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower

WORD = {"symbol": "DAX", "direction": "BUY"}
FORM = {
    "action": "OPEN", "currency_pair": "DAX", "direction": "BUY", "order_type": "MARKET",
    "close_fraction": "1", "time_in_force": "GTC", "risk_category": "normal",
}  # fmt: skip
Send = Callable[[World, Path], None]


def send_by_api(world: World, _: Path) -> None:
    body = {**WORD, "feed": world.public.slug}
    response = world.client("paula").post("/api/v1/signals/", body, format="json")
    assert response.status_code == 201, response.content


def send_by_form(world: World, _: Path) -> None:
    console = Client()
    console.force_login(world.olga)
    page = console.post("/admin/signals/signal/add/", {**FORM, "feed": str(world.public.pk)})
    assert page.status_code == 302


def send_by_file(world: World, folder: Path) -> None:
    path = folder / "signals.json"
    path.write_text(json.dumps([WORD]))
    call_command("publish_signal", str(path), "--feed", world.public.slug)


def send_by_alert(world: World, _: Path) -> None:
    response = alert(world, world.public, ticker="DAX", note="again")
    assert response.status_code == 201, response.content


ENTRY_POINTS = {
    "API": send_by_api,
    "form": send_by_form,
    "file": send_by_file,
    "alert": send_by_alert,
}


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed, which has no followers yet."""
    Subscription.objects.all().delete()
    return world.public


@pytest.mark.parametrize("entry_point", list(ENTRY_POINTS))
def test_word_means_the_open_pair_of_the_feed(
    world: World, feed: Feed, tmp_path: Path, entry_point: str
) -> None:
    follower(feed, DOLLAR)
    entry = opened(world, feed, "DAX/USD")
    for _ in range(11):
        follower(feed, DAX)
    ENTRY_POINTS[entry_point](world, tmp_path)
    signal = Signal.objects.latest("id")
    assert (signal.pk != entry.pk, signal.currency_pair) == (True, "DAX/USD")
    assert alert(world, feed, ticker="DAX", action="CLOSE").status_code == 201


@pytest.mark.parametrize("entry_point", list(ENTRY_POINTS))
def test_word_means_the_pair_that_the_feed_has_traded_recently(
    world: World, feed: Feed, tmp_path: Path, entry_point: str
) -> None:
    for instrument in (DAX, DAX, DOLLAR, DOLLAR):
        follower(feed, instrument)
    open_and_close(world, feed, "DAX/USD")
    ENTRY_POINTS[entry_point](world, tmp_path)
    signal = Signal.objects.latest("id")
    assert (signal.action, signal.currency_pair) == ("OPEN", "DAX/USD")


def test_ambiguous_word_is_refused_by_api_and_form(world: World, feed: Feed) -> None:
    follower(feed, DAX, DOLLAR)
    for pair in ("DAX/EUR", "DAX/USD"):
        opened(world, feed, pair)
    body = {**WORD, "feed": feed.slug}
    for path in ("/api/v1/signals/", "/api/v1/signals/preview/"):
        response = world.client("paula").post(path, body, format="json")
        refused = problem(response, 400, "SYMBOL_UNKNOWN")
        assert "'DAX' may be DAX/EUR or DAX/USD: this feed has open trades" in refused["detail"]
    console = Client()
    console.force_login(world.olga)
    page: Any = console.post("/admin/signals/signal/add/", {**FORM, "feed": str(feed.pk)})
    assert "may be DAX/EUR or DAX/USD: this feed has open trades" in page.content.decode()
    assert Signal.objects.filter(feed=feed).count() == 2


def test_form_completes_a_word_by_the_signal_that_the_close_refers_to(
    world: World, feed: Feed
) -> None:
    follower(feed, DAX, DOLLAR)
    entry = opened(world, feed, "DAX/USD")
    for _ in range(11):
        follower(feed, DAX)
    console = Client()
    console.force_login(world.olga)
    close = {**FORM, "feed": str(feed.pk), "action": "CLOSE", "refers_to": str(entry.pk)}
    page: Any = console.post("/admin/signals/signal/add/", {**close, "currency_pair": "GBP/USD"})
    assert "symbol must be DAX/USD or left out" in page.content.decode()
    page = console.post("/admin/signals/signal/add/", close)
    assert page.status_code == 302
    signal = Signal.objects.latest("id")
    assert (signal.refers_to, signal.currency_pair) == (entry, "DAX/USD")
