"""The symbols that a signal may have: those that the brokers of the feed's followers list."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from brokers.types import Instrument as Listed
from connections.models import ExecutionConnection, Subscription
from connections.services import store_instruments
from signals.feeds.services import create_feed_token
from signals.models import Feed, Signal
from tests.alert_inbox import answer_of
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make


def listed(symbol: str, pair: str) -> Listed:
    one = Decimal(1)
    return Listed(symbol, pair, 2, one, one, one, one, one)


# The broker's symbol and the pair that its adapter derives from it.
INSTRUMENTS = [
    listed("GER40.cash", "GER40/EUR"), listed("EURUSD", "EUR/USD"), listed("XPTUSD", "XPT/USD"),
    listed("KOSPI200", "KOSPI200/KRW"), listed("1000PEPE/USDT:USDT", "1000PEPE/USDT"),
    listed("SIE.DE", "SIE.DE/EUR"), listed("XBRUSD", "XBR/USD"),
]  # fmt: skip


def follower(feed: Feed, *instruments: Listed, **fields: Any) -> ExecutionConnection:
    """Create an account that follows the feed; without instruments, its broker's list is unread."""
    row = make.connection(**fields)
    if instruments:
        book = f"book of {row.account}"
        store_instruments(book, instruments)
        ExecutionConnection.objects.filter(pk=row.pk).update(instrument_book=book)
    make.subscription(row, feed)
    return row


def relist(feed: Feed, *instruments: Listed) -> None:
    """Replace what the broker of the only follower lists."""
    account = Subscription.objects.get(feed=feed).connection.account
    store_instruments(f"book of {account}", instruments)


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed, with one follower at a broker with unusual instruments."""
    Subscription.objects.all().delete()
    follower(world.public, *INSTRUMENTS)
    return world.public


def send(world: World, symbol: str, query: str = "", **changes: Any) -> Any:
    body = {"feed": "majors", "symbol": symbol, "direction": "BUY", **changes}
    return world.client("paula").post(f"/api/v1/signals/{query}", body, format="json")


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("EURUSD", "EUR/USD"),
        ("GER40/EUR", "GER40/EUR"),
        ("KOSPI200", "KOSPI200/KRW"),
        ("KRX:KOSPI200", "KOSPI200/KRW"),
        ("BINANCE:1000PEPEUSDT.P", "1000PEPE/USDT"),
        ("XBR/USD", "XBR/USD"),
    ],
)
def test_listed_symbol_is_accepted(
    world: World, feed: Feed, as_web: AsWeb, symbol: str, pair: str
) -> None:
    with as_web():
        response = send(world, symbol)
    assert response.status_code == 201, response.content
    assert response.json()["currency_pair"] == pair
    reach = response.json()["symbol_reach"]
    assert (reach["followers"], reach["listing"], reach["unread"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("symbol", "code", "similar"),
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
def test_unlisted_symbol_is_refused_with_similar_names(
    world: World, feed: Feed, as_web: AsWeb, symbol: str, code: str, similar: str
) -> None:
    with as_web():
        refused = problem(send(world, symbol), 400, code)
    assert refused["errors"][0]["field"] == "symbol"
    assert similar in refused["detail"]
    assert not Signal.objects.filter(feed=feed).exists()


def test_documented_symbol_map_makes_a_follower_trade(world: World, feed: Feed) -> None:
    problem(send(world, "DAX/EUR"), 400, "SYMBOL_NOT_LISTED")
    mine = Subscription.objects.get(feed=feed)
    client = APIClient()
    client.force_authenticate(mine.connection.user)
    path = f"/api/v1/subscriptions/{mine.pk}/"
    response = client.patch(path, {"symbol_map": {"DAX/EUR": "GER40.cash"}}, format="json")
    assert response.status_code == 200, response.content
    draft = send(world, "DAX/EUR").json()
    assert (draft["currency_pair"], draft["symbol_reach"]["listing"]) == ("DAX/EUR", 1)
    assert send(world, "DAX", "?publish=true").json()["currency_pair"] == "DAX/EUR"
    order = Signal.objects.latest("id").orders.get()
    assert (order.status, order.pair) == ("PENDING", "GER40/EUR")  # sized by its prices


def test_map_to_an_unlisted_symbol_is_ignored(world: World, feed: Feed) -> None:
    Subscription.objects.filter(feed=feed).update(symbol_map={"EUR/USD": "EURUSD.pro"})
    problem(send(world, "EUR/USD"), 400, "SYMBOL_NOT_LISTED")


def test_unpublished_signal_states_how_many_accounts_list_its_symbol(
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


def test_list_of_signals_omits_the_symbol_reach(world: World, feed: Feed) -> None:
    send(world, "EURUSD")
    results = world.client("paula").get("/api/v1/signals/?feed=majors").json()["results"]
    assert [signal["symbol_reach"] for signal in results] == [None]


def test_feed_without_instrument_lists_takes_any_pair(world: World, feed: Feed) -> None:
    Subscription.objects.filter(feed=feed).delete()
    assert send(world, "DEX/EUR").json()["symbol_reach"]["followers"] == 0
    problem(send(world, "DEX"), 400, "SYMBOL_UNKNOWN")
    follower(feed)
    assert send(world, "DEX/EUR").json()["symbol_reach"]["unread"] == 1


@pytest.mark.parametrize("untested", [1, 2])
def test_mistyped_pair_is_refused_though_a_follower_is_untested(
    world: World, feed: Feed, as_web: AsWeb, untested: int
) -> None:
    """An untested account has no list of its broker yet, and could not trade the pair either."""
    for _ in range(untested):
        follower(feed, health_status="UNTESTED")
    with as_web():
        refused = problem(send(world, "EUR/USB", "?publish=true"), 400, "SYMBOL_NOT_LISTED")
    refused_alert = problem(alert(world, feed, ticker="EUR/USB"), 400, "SYMBOL_NOT_LISTED")
    unread = "1 account has" if untested == 1 else "2 accounts have"
    assert f"Similar listed symbols: EUR/USD. {unread} no list yet" in refused["detail"]
    assert "a connection test reads it" in refused_alert["detail"]
    assert not Signal.objects.filter(feed=feed).exists()
    draft = send(world, "EUR/USD").json()
    assert (draft["symbol_reach"]["listing"], draft["symbol_reach"]["unread"]) == (1, untested)


def test_feed_with_untested_followers_only_takes_any_pair(world: World, feed: Feed) -> None:
    """A provider's first hour: each account is skipped with a reason for its owner."""
    Subscription.objects.filter(feed=feed).delete()
    mine = follower(feed, health_status="UNTESTED")
    response = alert(world, feed, ticker="EURUSD")
    assert response.status_code == 201, response.content
    order = Signal.objects.get(feed=feed).orders.get()
    assert (order.connection, order.status, order.reason) == (
        mine, "SKIPPED", "CONNECTION_UNTESTED",
    )  # fmt: skip


def test_symbol_that_no_account_lists_any_more_is_not_published(world: World, feed: Feed) -> None:
    draft = send(world, "XPTUSD").json()
    relist(feed, *INSTRUMENTS[:2])
    refused = problem(
        world.client("paula").post(f"/api/v1/signals/{draft['id']}/publish/"),
        409,
        "SYMBOL_NOT_LISTED",
    )
    assert "XPT/USD" in refused["detail"]
    signal = Signal.objects.get(pk=draft["id"])
    assert (signal.is_published, signal.orders.count()) == (False, 0)


def test_private_feed_uses_the_lists_of_its_owners_accounts_only(world: World, feed: Feed) -> None:
    """No other account takes the signals of a private feed."""
    mine = follower(world.feed, listed("GBPUSD", "GBP/USD"), owner=world.alice)
    follower(world.feed, *INSTRUMENTS)
    client = world.client("alice")
    body = {"feed": world.feed.slug, "symbol": "KOSPI200/KRW", "direction": "BUY"}
    problem(client.post("/api/v1/signals/", body, format="json"), 400, "SYMBOL_NOT_LISTED")
    draft = client.post("/api/v1/signals/", body | {"symbol": "GBPUSD"}, format="json").json()
    assert (draft["symbol_reach"]["followers"], mine.user) == (1, world.alice)


# ---- alerts -----------------------------------------------------------------------------------
def alert(world: World, feed: Feed, **fields: Any) -> Any:
    _, secret = create_feed_token(feed)
    body = {"action": "OPEN", "direction": "BUY", **fields}
    path = f"/hooks/tradingview/{feed.slug}/{secret}/"
    return answer_of(APIClient().post(path, body, format="json"))


@pytest.mark.parametrize(
    ("ticker", "pair"),
    [
        ("OANDA:EURUSD", "EUR/USD"),
        ("KRX:KOSPI200", "KOSPI200/KRW"),
        ("BINANCE:1000PEPEUSDT.P", "1000PEPE/USDT"),
    ],
)
def test_ticker_of_an_alert_is_matched_with_listed_symbols(
    world: World, feed: Feed, ticker: str, pair: str
) -> None:
    response = alert(world, feed, ticker=ticker)
    assert response.status_code in (200, 201), response.content
    assert Signal.objects.get(feed=feed).currency_pair == pair


@pytest.mark.parametrize(
    ("ticker", "code", "similar"),
    [
        ("OANDA:EURUSB", "SYMBOL_UNKNOWN", "EUR/USD"),
        ("XETR:DAX", "SYMBOL_NOT_LISTED", "GER40/EUR"),
        ("NASDAQ:AAPL", "SYMBOL_NOT_LISTED", ""),
        ("BINANCE:1000PEPPEUSDT", "SYMBOL_NOT_LISTED", "1000PEPE/USDT"),
    ],
)
@pytest.mark.parametrize("action", ["OPEN", "CLOSE"])
def test_alert_of_an_unlisted_symbol_is_refused(
    world: World, feed: Feed, ticker: str, code: str, similar: str, action: str
) -> None:
    refused = problem(alert(world, feed, ticker=ticker, action=action), 400, code)
    assert refused["errors"][0]["field"] == "ticker"
    assert similar in refused["detail"]
    assert not Signal.objects.filter(feed=feed).exists()


def test_traded_symbol_can_be_closed_when_no_broker_lists_it_any_more(
    world: World, feed: Feed
) -> None:
    alert(world, feed, ticker="KRX:KOSPI200")
    relist(feed, *INSTRUMENTS[:2])
    response = alert(world, feed, action="CLOSE", ticker="KRX:KOSPI200")
    assert response.status_code in (200, 201), response.content
    opened, closed = Signal.objects.filter(feed=feed).order_by("id")
    assert (closed.action, closed.refers_to, closed.currency_pair) == (
        "CLOSE", opened, "KOSPI200/KRW",
    )  # fmt: skip
