"""Which symbols a signal may have: what the brokers of the feed's followers list, over HTTP."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from brokers.types import Instrument as Listed
from connections.models import ExecutionConnection, Subscription
from connections.services import store_instruments
from signals.feeds import create_feed_token
from signals.models import Feed, Signal
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make


def listed(symbol: str, pair: str) -> Listed:
    one = Decimal(1)
    return Listed(symbol, pair, 2, one, one, one, one, one)


# What a broker calls them, and what its adapter says they are.
ODD = [
    listed("GER40.cash", "GER40/EUR"), listed("EURUSD", "EUR/USD"), listed("XPTUSD", "XPT/USD"),
    listed("KOSPI200", "KOSPI200/KRW"), listed("1000PEPE/USDT:USDT", "1000PEPE/USDT"),
    listed("SIE.DE", "SIE.DE/EUR"), listed("XBRUSD", "XBR/USD"),
]  # fmt: skip


def follower(feed: Feed, *instruments: Listed, **fields: Any) -> ExecutionConnection:
    """An account that takes the feed; without instruments its broker's list was not read."""
    row = make.connection(**fields)
    if instruments:
        book = f"book of {row.account}"
        store_instruments(book, instruments)
        ExecutionConnection.objects.filter(pk=row.pk).update(instrument_book=book)
    make.subscription(row, feed)
    return row


def relist(feed: Feed, *instruments: Listed) -> None:
    """The only follower's broker lists these now."""
    account = Subscription.objects.get(feed=feed).connection.account
    store_instruments(f"book of {account}", instruments)


@pytest.fixture
def feed(world: World) -> Feed:
    """Paula's, with one follower whose broker lists odd things."""
    Subscription.objects.all().delete()
    follower(world.public, *ODD)
    return world.public


def send(world: World, symbol: str, query: str = "", **changes: Any) -> Any:
    body = {"feed": "majors", "symbol": symbol, "direction": "BUY", **changes}
    return world.client("paula").post(f"/api/v1/signals/{query}", body, format="json")


@pytest.mark.parametrize(
    ("written", "pair"),
    [
        ("EURUSD", "EUR/USD"),
        ("GER40/EUR", "GER40/EUR"),
        ("KOSPI200", "KOSPI200/KRW"),
        ("KRX:KOSPI200", "KOSPI200/KRW"),
        ("BINANCE:1000PEPEUSDT.P", "1000PEPE/USDT"),
        ("XBR/USD", "XBR/USD"),
    ],
)
def test_what_a_follower_lists_is_taken(
    world: World, feed: Feed, as_web: AsWeb, written: str, pair: str
) -> None:
    with as_web():
        response = send(world, written)
    assert response.status_code == 201, response.content
    assert response.json()["currency_pair"] == pair
    reach = response.json()["symbol_reach"]
    assert (reach["followers"], reach["listing"], reach["unread"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("written", "code", "near"),
    [
        ("EUR/UDS", "SYMBOL_NOT_LISTED", "EUR/USD"),
        ("DAX/EUR", "SYMBOL_NOT_LISTED", "GER40/EUR"),
        ("GBPUSD", "SYMBOL_NOT_LISTED", ""),
        ("KOSPI20/KRW", "SYMBOL_NOT_LISTED", "KOSPI200/KRW"),
        ("EURUSB", "SYMBOL_UNKNOWN", "EUR/USD"),
        ("KOSPI", "SYMBOL_UNKNOWN", "KOSPI200/KRW"),
        ("EUR USD", "SYMBOL_UNKNOWN", ""),
    ],
)
def test_what_no_follower_lists_is_refused_with_names_that_come_near(
    world: World, feed: Feed, as_web: AsWeb, written: str, code: str, near: str
) -> None:
    with as_web():
        refused = problem(send(world, written), 400, code)
    assert refused["errors"][0]["field"] == "symbol"
    assert near in refused["detail"]
    assert not Signal.objects.filter(feed=feed).exists()


def test_the_documented_map_has_a_follower_trade_it(world: World, feed: Feed) -> None:
    problem(send(world, "DAX/EUR"), 400, "SYMBOL_NOT_LISTED")
    mine = Subscription.objects.get(feed=feed)
    client = APIClient()
    client.force_authenticate(mine.connection.user)
    path = f"/api/v1/subscriptions/{mine.pk}/"
    answer = client.patch(path, {"symbol_map": {"DAX/EUR": "GER40.cash"}}, format="json")
    assert answer.status_code == 200, answer.content
    draft = send(world, "DAX/EUR").json()
    assert (draft["currency_pair"], draft["symbol_reach"]["listing"]) == ("DAX/EUR", 1)
    assert send(world, "DAX", "?publish=true").json()["currency_pair"] == "DAX/EUR"
    order = Signal.objects.latest("id").orders.get()
    assert (order.status, order.pair) == ("PENDING", "GER40/EUR")  # by whose prices it is sized


def test_a_map_to_what_the_broker_does_not_list_helps_no_account(world: World, feed: Feed) -> None:
    Subscription.objects.filter(feed=feed).update(symbol_map={"EUR/USD": "EURUSD.pro"})
    problem(send(world, "EUR/USD"), 400, "SYMBOL_NOT_LISTED")


def test_how_many_of_how_many_is_shown_before_publishing(
    world: World, feed: Feed, as_web: AsWeb
) -> None:
    follower(feed, listed("GBPUSD", "GBP/USD"))
    follower(feed)
    follower(feed, listed("GBPUSD", "GBP/USD"), is_active=False)
    with as_web():
        draft = send(world, "EURUSD").json()
        reach = draft["symbol_reach"]
        assert reach["sentence"] == (
            "1 of 3 accounts that take this feed list the symbol; 1 does not and will be skipped; "
            "of 1 the broker's list has not been read yet."
        )
        path = f"/api/v1/signals/{draft['id']}/"
        read = world.client("paula").get(path).json()
        assert (read["symbol_reach"]["listing"], read["symbol_reach"]["unread"]) == (1, 1)
        published = world.client("paula").post(f"{path}publish/").json()
    assert published["symbol_reach"] is None
    orders = Signal.objects.get(pk=draft["id"]).orders
    skipped = orders.get(reason="SYMBOL_NOT_AT_BROKER")
    assert (skipped.status, orders.filter(status="PENDING").count()) == ("SKIPPED", 2)
    assert orders.get(reason="CONNECTION_INACTIVE").status == "SKIPPED"


def test_a_list_of_signals_does_not_count_for_each(world: World, feed: Feed) -> None:
    send(world, "EURUSD")
    found = world.client("paula").get("/api/v1/signals/?feed=majors").json()["results"]
    assert [one["symbol_reach"] for one in found] == [None]


def test_a_feed_without_followers_or_with_unread_ones_takes_what_is_written_as_a_symbol(
    world: World, feed: Feed
) -> None:
    Subscription.objects.filter(feed=feed).delete()
    assert send(world, "DEX/EUR").json()["symbol_reach"]["followers"] == 0
    problem(send(world, "DEX"), 400, "SYMBOL_UNKNOWN")
    follower(feed)
    assert send(world, "DEX/EUR").json()["symbol_reach"]["unread"] == 1


@pytest.mark.parametrize("strangers", [1, 2])
def test_untested_account_does_not_have_a_mistyped_pair_taken(
    world: World, feed: Feed, as_web: AsWeb, strangers: int
) -> None:
    """It could not trade it either: its test, which reads its broker's list, was never passed."""
    for _ in range(strangers):
        follower(feed, health_status="UNTESTED")
    with as_web():
        refused = problem(send(world, "EUR/USB", "?publish=true"), 400, "SYMBOL_NOT_LISTED")
    answered = problem(alert(world, feed, ticker="EUR/USB"), 400, "SYMBOL_NOT_LISTED")
    unread = "1 account has" if strangers == 1 else "2 accounts have"
    assert f"Similar listed symbols: EUR/USD. {unread} no list yet" in refused["detail"]
    assert "a connection test reads it" in answered["detail"]
    assert not Signal.objects.filter(feed=feed).exists()
    draft = send(world, "EUR/USD").json()
    assert (draft["symbol_reach"]["listing"], draft["symbol_reach"]["unread"]) == (1, strangers)


def test_feed_with_untested_followers_only_takes_what_is_written_as_a_symbol(
    world: World, feed: Feed
) -> None:
    """A provider's first hour: each account is skipped, with what its owner has to do."""
    Subscription.objects.filter(feed=feed).delete()
    mine = follower(feed, health_status="UNTESTED")
    answer = alert(world, feed, ticker="EURUSD")
    assert answer.status_code == 201, answer.content
    order = Signal.objects.get(feed=feed).orders.get()
    assert (order.connection, order.status, order.reason) == (
        mine, "SKIPPED", "CONNECTION_UNTESTED",
    )  # fmt: skip


def test_what_no_account_lists_any_more_is_not_published(world: World, feed: Feed) -> None:
    draft = send(world, "XPTUSD").json()
    relist(feed, *ODD[:2])
    refused = problem(
        world.client("paula").post(f"/api/v1/signals/{draft['id']}/publish/"),
        409,
        "SYMBOL_NOT_LISTED",
    )
    assert "XPT/USD" in refused["detail"]
    signal = Signal.objects.get(pk=draft["id"])
    assert (signal.is_published, signal.orders.count()) == (False, 0)


def test_a_private_feed_asks_its_owners_accounts_only(world: World, feed: Feed) -> None:
    """No other account takes what a private feed approves by itself."""
    mine = follower(world.feed, listed("GBPUSD", "GBP/USD"), owner=world.alice)
    follower(world.feed, *ODD)
    client = world.client("alice")
    body = {"feed": world.feed.slug, "symbol": "KOSPI200/KRW", "direction": "BUY"}
    problem(client.post("/api/v1/signals/", body, format="json"), 400, "SYMBOL_NOT_LISTED")
    draft = client.post("/api/v1/signals/", body | {"symbol": "GBPUSD"}, format="json").json()
    assert (draft["symbol_reach"]["followers"], mine.user) == (1, world.alice)


# ---- the door for alerts ----------------------------------------------------------------------
def alert(world: World, feed: Feed, **said: Any) -> Any:
    _, secret = create_feed_token(feed)
    body = {"action": "OPEN", "direction": "BUY", **said}
    return APIClient().post(f"/hooks/tradingview/{feed.slug}/{secret}/", body, format="json")


@pytest.mark.parametrize(
    ("ticker", "pair"),
    [
        ("OANDA:EURUSD", "EUR/USD"),
        ("KRX:KOSPI200", "KOSPI200/KRW"),
        ("BINANCE:1000PEPEUSDT.P", "1000PEPE/USDT"),
    ],
)
def test_an_alerts_ticker_is_what_a_follower_lists(
    world: World, feed: Feed, ticker: str, pair: str
) -> None:
    answer = alert(world, feed, ticker=ticker)
    assert answer.status_code in (200, 201), answer.content
    assert Signal.objects.get(feed=feed).currency_pair == pair


@pytest.mark.parametrize(
    ("ticker", "code", "near"),
    [
        ("OANDA:EURUSB", "SYMBOL_UNKNOWN", "EUR/USD"),
        ("XETR:DAX", "SYMBOL_NOT_LISTED", "GER40/EUR"),
        ("NASDAQ:AAPL", "SYMBOL_NOT_LISTED", ""),
        ("BINANCE:1000PEPPEUSDT", "SYMBOL_NOT_LISTED", "1000PEPE/USDT"),
    ],
)
@pytest.mark.parametrize("action", ["OPEN", "CLOSE"])
def test_an_alert_of_what_no_follower_lists_is_refused(
    world: World, feed: Feed, ticker: str, code: str, near: str, action: str
) -> None:
    refused = problem(alert(world, feed, ticker=ticker, action=action), 400, code)
    assert refused["errors"][0]["field"] == "ticker"
    assert near in refused["detail"]
    assert not Signal.objects.filter(feed=feed).exists()


def test_what_was_traded_can_be_closed_whatever_brokers_list_now(world: World, feed: Feed) -> None:
    alert(world, feed, ticker="KRX:KOSPI200")
    relist(feed, *ODD[:2])
    answer = alert(world, feed, action="CLOSE", ticker="KRX:KOSPI200")
    assert answer.status_code in (200, 201), answer.content
    opened, closed = Signal.objects.filter(feed=feed).order_by("id")
    assert (closed.action, closed.refers_to, closed.currency_pair) == (
        "CLOSE", opened, "KOSPI200/KRW",
    )  # fmt: skip
