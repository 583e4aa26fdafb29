"""End to end on live prices from TWS, received by the process that holds the account's lane."""

from decimal import Decimal as D

import pytest

from connections.market_data.sources import get_or_create_broker_source
from connections.models import ExecutionConnection, SourceHealth
from execution.models import Order
from positions.models import ExecutionPosition
from prices import broker_stream
from prices.models import LatestQuote
from prices.selectors import latest
from signals.models import Feed
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.test_engine import alice, engine, feed, tws

__all__ = ["alice", "engine", "feed", "tws"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source(alice: ExecutionConnection) -> int:
    """An account that is its own price source."""
    LatestQuote.objects.all().delete()
    source = get_or_create_broker_source(alice)
    ExecutionConnection.objects.filter(pk=alice.pk).update(data_connection=source)
    until(lambda: latest(source.pk))
    return source.pk


def test_session_worker_trades_on_prices_of_its_account(
    source: int, feed: Feed, tws: TwsProcess
) -> None:
    tws.do("quote", "EURUSD", "1.2000", "1.2002")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.2000"))
    signal = factories.signal(feed, sl=D("1.19000"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    entry = Order.objects.get(leg="entry")
    assert entry.expected_price == D("1.2002")
    position = ExecutionPosition.objects.get(signal=signal)
    assert position.price_source_id == source
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "")
    assert SourceHealth.objects.get(pk=source).pairs == ["EUR/USD"]


def test_prices_stop_and_resume_with_the_gateway(
    source: int, tws: TwsProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QUIET_SECONDS", "MAX_PAUSE"):
        monkeypatch.setattr(broker_stream, name, 1.0)
    tws.kill()
    until(lambda: SourceHealth.objects.get(pk=source).error_code)
    tws.start()
    tws.do("quote", "EURUSD", "1.1500", "1.1502")
    until(lambda: latest(source)["EUR/USD"].bid == D("1.1500"))
    until(lambda: not SourceHealth.objects.get(pk=source).error_code)
