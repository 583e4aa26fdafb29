"""From a broker's stream to the store, the rooms above and the paper broker."""

from decimal import Decimal as D

import psycopg
import pytest
from django.db import connection

from brokers.paper.models import PaperQuote
from brokers.types import Quote
from connections.models import DataConnection
from prices.feeds import LiveFeed, open_live
from prices.selectors import latest
from prices.signals import quotes_stored
from tests.prices.sources import Source, at, quote, received_batches, source, stand_at
from tests.until import until

__all__ = ["received_batches", "source"]
pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("to_paper", [False, True])
def test_broker_prices_reach_paper_only_if_shared_by_operators(
    source: DataConnection, received_batches: list[list[Quote]], to_paper: bool
) -> None:
    late = quote("1.05", 80, "GBP/USD")  # it has waited: it is judged, and is no price of now
    now = quote("1.10", 100)
    waits: list[float] = []

    def wait(waited: float, **_: object) -> None:
        waits.append(waited)

    quotes_stored.connect(wait)
    feed = open_live(source, Source(late, now), at(100), to_paper=to_paper)
    assert feed.step(at(100)) == 2
    assert (received_batches, waits) == ([[late], [now]], [20.0, 0.0])
    assert latest(source.pk) == {"EUR/USD": now}
    assert PaperQuote.objects.filter(symbol="EURUSD").exists() is to_paper


def test_prices_from_clock_far_ahead_do_not_block_later_ones(
    source: DataConnection,
) -> None:
    open_live(source, Source(quote("1.05", 3600)), at(3600), to_paper=False).step(at(3600))
    now = quote("1.10", 100)
    open_live(source, Source(now), at(100), to_paper=False).step(at(100))
    assert latest(source.pk) == {"EUR/USD": now}
    a_little = quote("1.20", 104)  # another host's clock, as they differ
    open_live(source, Source(a_little), at(104), to_paper=False).step(at(104))
    open_live(source, Source(), at(100), to_paper=False)
    assert latest(source.pk) == {"EUR/USD": a_little}


@pytest.mark.django_db(transaction=True)
def test_locked_paper_books_do_not_block_level_checks(
    source: DataConnection, received_batches: list[list[Quote]]
) -> None:
    """A burst of paper orders, say. It has the prices once it can take them."""
    stand_at(100)
    stream = Source(quote("1.10", 100))
    feed = open_live(source, stream, at(100), to_paper=True)
    parameters = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    where = {name: parameters[name] for name in names if name in parameters}
    with psycopg.connect(**where) as other:
        other.execute("LOCK TABLE paper_quote IN EXCLUSIVE MODE")
        for bid in ("1.10", "1.20", "1.30"):
            stream.coming = [quote(bid, 100)]
            feed.step(at(100))
        assert [q.bid for batch in received_batches for q in batch] == [
            D("1.10"),
            D("1.20"),
            D("1.30"),
        ]
        assert not PaperQuote.objects.filter(symbol="EURUSD").exists()
    until(lambda: PaperQuote.objects.filter(symbol="EURUSD", bid=D("1.30")).exists())


def test_clock_set_back_at_runtime_does_not_block_later_prices(
    source: DataConnection,
) -> None:
    """Else the last price from ahead would stand, and look fresh, until the clock is there."""
    stream = Source(quote("1.05", 3600), quote("1.30", 3600, "GBP/USD"))
    feed = open_live(source, stream, at(3600), to_paper=False)
    feed.step(at(3600))
    stream.coming = [now := quote("1.10", 100)]
    feed.step(at(100))
    assert latest(source.pk) == {"EUR/USD": now}
    stream.coming = [quote("1.20", 98)]  # another host's clock, as they differ: the newer one stays
    feed.step(at(98))
    assert latest(source.pk) == {"EUR/USD": now}


@pytest.mark.django_db(transaction=True)
def test_paper_broker_catches_up_with_next_prices(
    source: DataConnection,
) -> None:
    stream = Source(quote("1.30", 99, "GBP/USD"))
    feed = open_live(source, stream, at(100), to_paper=True)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE paper_quote RENAME TO paper_quote_away")
        feed.step(at(100))
        cursor.execute("ALTER TABLE paper_quote_away RENAME TO paper_quote")
    stream.coming = [quote("1.10", 100)]
    feed.step(at(100))
    until(lambda: PaperQuote.objects.count() == 2)


def test_missing_paper_thread_does_not_block_level_checks(
    source: DataConnection, received_batches: list[list[Quote]]
) -> None:
    stream = Source(quote("1.10", 100))
    feed = open_live(source, stream, at(100), to_paper=True)
    assert isinstance(feed, LiveFeed)
    assert feed._paper is not None
    feed._paper._pool.shutdown()
    feed.step(at(100))
    assert [q.bid for batch in received_batches for q in batch] == [D("1.10")]
