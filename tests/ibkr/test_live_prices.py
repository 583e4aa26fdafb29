"""The whole way by live prices: TWS tells them to the process that holds the account's lane."""

from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection, SourceHealth
from connections.sources import tell_prices
from execution.models import Order
from positions.models import ExecutionPosition
from prices import following
from prices.models import LatestQuote
from prices.selectors import latest
from signals.models import Feed
from tests.doubles.tws.remote import RemoteTws
from tests.execution import cast
from tests.execution.engine import until as engine_until
from tests.ibkr.test_engine import alice, engine, feed, tws, until

__all__ = ["alice", "engine", "feed", "tws"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source(alice: ExecutionConnection) -> int:
    """Her own account is her source of prices."""
    LatestQuote.objects.all().delete()
    source = tell_prices(alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    until(lambda: latest(source.pk))
    return source.pk


def test_a_session_worker_trades_by_the_prices_of_its_account(
    source: int, feed: Feed, tws: RemoteTws
) -> None:
    tws.do("quote", "EURUSD", "1.2000", "1.2002")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.2000"))
    signal = cast.signal(feed, sl=D("1.19000"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    entry = Order.objects.get(leg="entry")
    assert entry.expected_price == D("1.2002")
    position = ExecutionPosition.objects.get(signal=signal)
    assert position.price_source_id == source
    health = SourceHealth.objects.get(pk=source)
    assert (health.error_code, health.pairs) == ("", ["EUR/USD"])


def test_prices_end_with_the_gateway_and_begin_again_with_it(
    source: int, tws: RemoteTws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QUIET_SECONDS", "LONGEST_PAUSE"):
        monkeypatch.setattr(following, name, 1.0)
    tws.kill()
    engine_until(lambda: SourceHealth.objects.get(pk=source).error_code, seconds=90)
    tws.start()
    tws.do("quote", "EURUSD", "1.1500", "1.1502")
    engine_until(lambda: latest(source)["EUR/USD"].bid == D("1.1500"), seconds=90)
    engine_until(lambda: not SourceHealth.objects.get(pk=source).error_code, seconds=90)
