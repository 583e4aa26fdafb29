"""The stored quote of a source that its own quotes and those of its fallback are written to."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal as D

import psycopg
import pytest
from django.db import connection

from brokers.types import Quote
from common.clocks import market_now
from connections.models import DataConnection
from prices.models import LatestQuote
from prices.services import store_fallback_quotes, store_latest, store_quotes
from tests.lock_waits import until_one_waits

PAIR, LATER = "EUR/USD", "USD/JPY"


def quote(bid: str, at: datetime, pair: str = PAIR) -> Quote:
    return Quote(pair, D(bid), D(bid) + D("0.0002"), at)


def with_a_fallbacks_price(at: datetime) -> int:
    source = DataConnection.objects.create(name="Ours", kind="push").pk
    store_quotes(source, [quote("1.1000", at - timedelta(minutes=1))])
    row = LatestQuote.objects.get()
    assert store_fallback_quotes(source, [(quote("1.0990", at), row.received_at)]) == {PAIR}
    return source


@pytest.mark.django_db
@pytest.mark.parametrize("store", [store_quotes, store_latest])
def test_own_quote_replaces_a_fallbacks_that_seems_later(
    store: Callable[[int, list[Quote]], object],
) -> None:
    """A pushed quote may be 3 s late, and a host's clock 1 s behind."""
    at = market_now()
    source = with_a_fallbacks_price(at)
    store(source, [quote("1.1002", at - timedelta(seconds=3))])
    row = LatestQuote.objects.get()
    assert (row.bid, row.from_fallback) == (D("1.1002"), False)
    store(source, [quote("1.1001", at - timedelta(seconds=4))])
    row.refresh_from_db()
    assert row.bid == D("1.1002"), "its own quotes stay in order"


@pytest.mark.django_db
def test_own_quote_that_came_meanwhile_is_not_replaced() -> None:
    at = market_now()
    source = DataConnection.objects.create(name="Ours", kind="push").pk
    store_quotes(source, [quote("1.1000", at)])
    seen = LatestQuote.objects.get().received_at - timedelta(microseconds=1)
    assert store_fallback_quotes(source, [(quote("1.0990", at), seen)]) == set()
    assert LatestQuote.objects.get().bid == D("1.1000")


@pytest.mark.django_db(transaction=True)
def test_fallbacks_quotes_are_locked_in_the_order_of_symbols() -> None:
    at = market_now()
    source = DataConnection.objects.create(name="Ours", kind="push").pk
    store_quotes(source, [quote("150", at, LATER)])
    store_quotes(source, [quote("1.1", at)])
    seen = dict(LatestQuote.objects.values_list("symbol", "received_at"))
    both = [(quote("151", at, LATER), seen[LATER]), (quote("1.2", at), seen[PAIR])]
    written = list[set[str]]()

    def write() -> None:
        with connection.cursor() as cursor:  # a plan that takes rows in the order of the list
            for way in ("nestloop", "mergejoin", "indexscan", "bitmapscan"):
                cursor.execute(f"SET enable_{way} = off")
        written.append(store_fallback_quotes(source, both))
        connection.close()

    lock = "SELECT id FROM prices_latestquote WHERE symbol = %s FOR NO KEY UPDATE NOWAIT"
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    with psycopg.connect(**parameters) as other:
        other.execute(lock, [PAIR])
        thread = threading.Thread(target=write)
        thread.start()
        until_one_waits()
        other.execute(lock, [LATER])  # raises if the first writer has it already
        other.rollback()
        thread.join(60)
    assert written == [{PAIR, LATER}]
