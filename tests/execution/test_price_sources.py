"""Which sources of prices are followed: those that an account goes by, or something open does."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from brokers.messages import ConnectionSpec, Quote
from common.clocks import market_now
from common.sql import rows
from connections.faring import as_told
from connections.models import DataConnection, ExecutionConnection, Instrument
from connections.sources import feeds_paper, followed_here, tell_prices, tells_sql
from positions.models import ExecutionPosition
from prices.live import Live
from prices.loops import loop_of_process, use_loop
from signals.models import Feed
from tests.connections import make
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.test_ticks import HALVES
from tests.prices.telling import loop, quote, until

__all__ = ["loop"]

pytestmark = pytest.mark.django_db
LANE = "mt.x"


def test_what_is_open_keeps_the_source_that_it_was_opened_by(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Its stop is judged by that one's prices only, whatever its account goes by since."""
    teller = make.connection(user=alice.user, type="mt4")
    live = tell_prices(teller)
    ExecutionConnection.objects.filter(pk=teller.pk).update(lane=LANE)
    assert list(followed_here([LANE])) == []

    held = ExecutionPosition.objects.filter(pk=cast.filled(cast.signal(feed, HALVES)).pk)
    held.update(price_source=live)
    assert list(followed_here([LANE])) == [live]
    assert followed_here([]).count() == 0
    assert vars(as_told(DataConnection.objects.all()).get(pk=live.pk))["is_used"]
    assert tells(teller)  # its session does not rest

    held.update(quantity=0, reserved=0)
    assert list(followed_here([LANE])) == []
    assert not tells(teller)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    assert list(followed_here([LANE])) == [live]
    assert tells(teller)


def test_the_paper_broker_goes_by_what_operators_offer_to_all(
    alice: ExecutionConnection, feed: Feed
) -> None:
    live = DataConnection.objects.create(name="x", kind="broker", told_by=alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=live)
    assert not feeds_paper(followed_here([""]).get())  # no paper account goes by it
    paper = make.connection(data_connection=live)
    assert feeds_paper(followed_here([""]).get())
    DataConnection.objects.update(user=alice.user)
    assert not feeds_paper(followed_here([""]).get())
    DataConnection.objects.update(user=None)
    ExecutionConnection.objects.filter(pk=paper.pk).update(archived_at=market_now())
    assert not feeds_paper(followed_here([""]).get())


def tells(account: ExecutionConnection) -> bool:
    [row] = rows(
        f"SELECT {tells_sql('c.id')} AS so FROM connections_executionconnection c WHERE id = %s",
        (account.pk,),
    )
    return bool(row.so)


@pytest.fixture
def asked(
    broker: Double, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Whose prices the broker was asked for, by its own names."""
    names: list[str] = []

    async def tell(spec: ConnectionSpec, symbol: str) -> Quote:
        names.append(symbol)
        return quote("1.1")

    can = replace(broker.capabilities(ConnectionSpec("", "")), quotes=True)
    monkeypatch.setattr(broker, "capabilities", lambda spec: can)
    monkeypatch.setattr(broker, "quote", tell)
    before = loop_of_process()
    use_loop(loop)
    yield names
    use_loop(before)


def test_a_pair_whose_symbol_changes_is_followed_by_the_new_one(
    alice: ExecutionConnection, asked: list[str]
) -> None:
    """Orders go out in the new one: they are not priced by the old one."""
    source = DataConnection.objects.create(name="x", kind="broker", told_by=alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    live = Live(lambda: [""])
    try:
        live.tend()
        until(lambda: asked)
        Instrument.objects.filter(book=alice.instrument_book).update(symbol="EURUSD.pro")
        live.tend()
        until(lambda: asked[-1] == "EURUSD.pro")
    finally:
        live.close()
