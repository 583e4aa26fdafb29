"""The symbol of a signal written by an operator must be one that a follower can trade."""

from typing import Any

import pytest
from django.test import Client

from common.permissions import Role
from connections.models import ExecutionConnection
from connections.services import store_instruments
from signals.models import Feed, Signal
from tests.connections import make
from tests.connections.fake_brokers import instrument
from tests.html import html_of
from tests.roles import staff

pytestmark = pytest.mark.django_db

FORM = {
    "action": "OPEN", "currency_pair": "DAX/EUR", "direction": "BUY", "order_type": "MARKET",
    "close_fraction": "1", "time_in_force": "GTC", "risk_category": "normal",
}  # fmt: skip


@pytest.fixture
def feed() -> Feed:
    """Return a feed with two followers: the broker of one lists an index, the other's does not."""
    feed_row = make.feed()
    listed = instrument("GER40", "GER40/EUR"), instrument("EURUSD", "EUR/USD")
    for book, instruments in (("one", listed), ("two", listed[1:])):
        store_instruments(book, instruments)
        row = make.connection(sealed_credentials=None)
        ExecutionConnection.objects.filter(pk=row.pk).update(instrument_book=book)
        make.subscription(row, feed_row)
    return feed_row


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(staff(Role.OPERATOR, name="olga"))
    return client


def write(operator: Client, feed: Feed, symbol: str) -> Any:
    form = {**FORM, "feed": str(feed.pk), "currency_pair": symbol}
    return operator.post("/admin/signals/signal/add/", form)


def test_form_refuses_an_unlisted_symbol(operator: Client, feed: Feed) -> None:
    page = html_of(write(operator, feed, "DAX/EUR"))
    assert "lists DAX/EUR. Similar listed symbols: GER40/EUR." in page
    assert not Signal.objects.exists()


def test_page_counts_accounts_that_do_not_list_the_symbol(operator: Client, feed: Feed) -> None:
    assert write(operator, feed, "GER40").status_code == 302
    signal = Signal.objects.get()
    Signal.objects.filter(pk=signal.pk).update(approval="APPROVED")
    assert signal.currency_pair == "GER40/EUR"
    page = html_of(operator.get(f"/admin/signals/signal/{signal.pk}/"))
    assert "<code>SYMBOL_NOT_AT_BROKER</code>" in page
    assert "The account does not list this symbol." in page
