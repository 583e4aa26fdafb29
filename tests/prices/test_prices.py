"""Storing, reading and converting prices."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brokers.types import Quote
from connections.models import DataConnection
from prices.models import LatestQuote
from prices.selectors import (
    conversion_rate,
    is_stale,
    latest,
    latest_by_connection,
    newest_time,
)
from prices.services import forget_quotes, store_quotes

NOON = datetime(2014, 5, 2, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def quote(symbol: str, bid: str, second: int = 0) -> Quote:
    return Quote(symbol, D(bid), D(bid) + D("0.0002"), NOON + timedelta(seconds=second))


@pytest.fixture
def source() -> DataConnection:
    return DataConnection.objects.create(name="Recorded")


def test_the_last_quote_of_each_symbol_is_kept(source: DataConnection) -> None:
    many = [quote("EUR/USD", "1.1"), quote("XAU/USD", "1300"), quote("EUR/USD", "1.2", 1)]
    assert store_quotes(source.pk, many) == 2
    assert latest(source.pk) == {
        "EUR/USD": quote("EUR/USD", "1.2", 1),
        "XAU/USD": quote("XAU/USD", "1300"),
    }
    assert latest(source.pk, ["XAU/USD", "AAA/BBB"]) == {"XAU/USD": quote("XAU/USD", "1300")}
    assert newest_time(source.pk) == NOON + timedelta(seconds=1)


def test_older_quote_is_ignored_and_equal_time_counts(
    source: DataConnection,
) -> None:
    store_quotes(source.pk, [quote("EUR/USD", "1.1", 5)])
    received = LatestQuote.objects.get().received_at
    assert store_quotes(source.pk, [quote("EUR/USD", "1.0", 4)]) == 0
    assert latest(source.pk)["EUR/USD"].bid == D("1.1")
    assert LatestQuote.objects.get().received_at == received
    assert store_quotes(source.pk, [quote("EUR/USD", "1.3", 5)]) == 1
    assert latest(source.pk)["EUR/USD"].bid == D("1.3")
    assert LatestQuote.objects.get().received_at > received


def test_sources_do_not_share_prices(source: DataConnection) -> None:
    other = DataConnection.objects.create(name="Other")
    store_quotes(source.pk, [quote("EUR/USD", "1.1")])
    store_quotes(other.pk, [quote("EUR/USD", "1.2")])
    found = latest_by_connection([source.pk, other.pk])
    assert [found[s.pk]["EUR/USD"].bid for s in (source, other)] == [D("1.1"), D("1.2")]
    forget_quotes(source.pk)
    assert (latest(source.pk), newest_time(source.pk)) == ({}, None)
    assert latest(other.pk) != {}


def test_storing_any_number_of_quotes_takes_one_statement(source: DataConnection) -> None:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        store_quotes(source.pk, [quote(f"S{i}/USD", "1") for i in range(200)])
        assert store_quotes(source.pk, []) == 0
    assert len([sent for sent in captured if "SAVEPOINT" not in sent["sql"]]) <= 1
    assert LatestQuote.objects.count() == 200


def test_updates_stay_in_place(source: DataConnection) -> None:
    """Heap-only: what changes is in no index, and the page has room."""
    indexed = set()
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'prices_latestquote'")
        indexed = {column for (line,) in cursor.fetchall() for column in _columns(line)}
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'prices_latestquote'")
        (options,) = cursor.fetchone()
    assert "fillfactor=50" in options
    assert indexed == {"id", "data_connection_id", "symbol"}


def _columns(definition: str) -> list[str]:
    inside = definition[definition.index("(") + 1 : definition.rindex(")")]
    return [column.split()[0] for column in inside.split(",")]


@pytest.mark.parametrize(
    ("from_currency", "to_currency", "expected"),
    [
        ("EUR", "EUR", D(1)),
        ("EUR", "USD", D("1.2")),
        ("USD", "EUR", 1 / D("1.2")),
        ("JPY", "USD", 1 / D(150)),
        ("JPY", "EUR", 1 / D(150) / D("1.2")),  # through USD
        ("XAU", "EUR", 2400 / D("1.2")),
        ("AAPL", "JPY", D(200) * 150),
        ("GBP", "NOK", D("1.15") * 10),  # through EUR
        ("SEK", "USD", None),
        ("SEK", "NOK", None),
    ],
)
def test_conversion(from_currency: str, to_currency: str, expected: D | None) -> None:
    mids = {
        "EUR/USD": "1.2", "USD/JPY": "150", "XAU/USD": "2400", "AAPL/USD": "200",
        "GBP/EUR": "1.15", "EUR/NOK": "10",
    }  # fmt: skip
    quotes = {
        pair: Quote(pair, D(mid) - D("0.01"), D(mid) + D("0.01"), NOON)
        for pair, mid in mids.items()
    }
    rate = conversion_rate(quotes, from_currency, to_currency)
    if expected is None:
        assert rate is None
    else:
        assert rate is not None
        assert abs(rate - expected) < D("1e-15")


@pytest.mark.parametrize(("age", "stale"), [(0, False), (5, False), (6, True), (-60, False)])
def test_staleness(age: int, stale: bool) -> None:
    now = NOON + timedelta(seconds=age)
    assert is_stale(quote("EUR/USD", "1"), now=now, max_age=timedelta(seconds=5)) is stale
