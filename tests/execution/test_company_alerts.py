"""Alerts with a symbol without a currency: the pair they mean as the feed trades."""

import pytest
from django.core.cache import cache
from django.db import connection

from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.query_plans import SEED
from tests.execution.submission.test_listed_symbols import INDEX
from tests.execution.test_mapped_symbol_alerts import AlertClient, brought_to, either_exit
from tests.sampling import often

pytestmark = pytest.mark.usefixtures("inline_commits")

WORD, EURO, WON = "KOSPI200", "KOSPI200/EUR", "KOSPI200/KRW"
LISTED = {"both": [EURO, WON], "another only": [WON], "none": []}


@pytest.fixture
def alice(feed: Feed) -> ExecutionConnection:
    """Alice's broker lists the word with one currency."""
    cache.clear()
    factories.instrument(EURO, **INDEX)
    row = factories.account(feed, snapshot_currency="EUR", preset_fixed_quantity=1)
    factories.quote(row, "340", "341", pair=EURO)
    return row


def entry(client: AlertClient) -> Order:
    """Publish a limit entry by the word; return its waiting order."""
    client.send(
        ticker=WORD, action="OPEN", direction="BUY", sl="300", order_type="LIMIT", price="330"
    )
    order = Order.objects.get(leg="entry", status="PENDING")
    assert order.pair == EURO
    return order


def trade_on(of: ExecutionConnection, feed: Feed, number: int = 1_100) -> None:
    """Publish many ended trades of another pair in the feed."""
    with connection.cursor() as cursor:
        cursor.execute(SEED, {"feed": feed.pk, "n": number, "connection": of.pk})


def list_only(pairs: list[str]) -> None:
    """Set what the broker lists from now on."""
    for pair in pairs:
        if not Instrument.objects.filter(pair=pair).exists():
            factories.instrument(pair, **INDEX)
    Instrument.objects.exclude(pair__in=[*pairs, "EUR/USD"]).delete()


@pytest.mark.parametrize("state", ["PENDING", "SUBMITTED", "FILLED"])
@pytest.mark.parametrize("listed", often(LISTED, every=3))
@either_exit
def test_word_of_an_exit_means_the_open_pair(
    feed: Feed, alice: ExecutionConnection, fields: dict[str, str], listed: str, state: str
) -> None:
    """Newer trades of other pairs and changed listings do not matter."""
    client = AlertClient(feed)
    order = entry(client)
    brought_to(order, state)
    trade_on(alice, feed)
    list_only(LISTED[listed])
    assert client.send(ticker=WORD, **fields)["summary"] == f"Closed S-{order.signal_id}."
    assert Signal.objects.get(refers_to=order.signal_id).action == "CLOSE"


def test_word_means_the_open_one_of_two_pairs(feed: Feed, alice: ExecutionConnection) -> None:
    """The feed has traded both recently; one of them is open."""
    client = AlertClient(feed)
    order = entry(client)
    list_only([EURO, WON])
    factories.quote(alice, "340", "341", pair=WON)
    client.send(
        ticker=WON, action="OPEN", direction="BUY", sl="300", order_type="LIMIT", price="330"
    )
    client.send(ticker=WON, action="CLOSE")
    assert client.send(ticker=WORD, action="CLOSE")["summary"] == f"Closed S-{order.signal_id}."


def test_unfilled_exit_of_one_account_does_not_make_a_word_ambiguous(
    feed: Feed, alice: ExecutionConnection
) -> None:
    """The feed has closed its trade in one pair; what one account still holds does not count."""
    client = AlertClient(feed)
    brought_to(entry(client), "FILLED")
    client.send(ticker=WORD, action="CLOSE")
    list_only([EURO, WON])
    factories.quote(alice, "340", "341", pair=WON)
    client.send(
        ticker=WON, action="OPEN", direction="BUY", sl="300", order_type="LIMIT", price="330"
    )
    assert ExecutionPosition.objects.get().quantity > 0
    won = Signal.objects.get(currency_pair=WON)
    assert client.send(ticker=WORD, action="CLOSE")["summary"] == f"Closed {won.number}."


@pytest.mark.parametrize("state", ["PENDING", "FILLED"])
def test_exit_is_accepted_after_many_trades_despite_foreign_mappings(
    feed: Feed, alice: ExecutionConnection, state: str
) -> None:
    client = AlertClient(feed)
    order = entry(client)
    brought_to(order, state)
    trade_on(alice, feed)
    row = factories.account()
    make.subscription(row, feed, symbol_map={"KOSPI200/ZZZ": "EURUSD"})
    assert client.send(ticker=WORD, action="CLOSE")["summary"] == f"Closed S-{order.signal_id}."


def test_word_of_a_feed_without_open_trades_means_its_newest(
    feed: Feed, alice: ExecutionConnection
) -> None:
    client = AlertClient(feed)
    entry(client)
    client.send(ticker=WORD, action="CLOSE")
    list_only([EURO, WON])
    summary = client.send(ticker=WORD, action="CLOSE")["summary"]
    assert summary == f"Nothing to do: this feed has no open trade in {EURO}."
