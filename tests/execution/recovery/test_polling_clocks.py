from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal as D

import pytest

from brokers.types import CloseCause
from common import clocks
from common.clocks import MarketClock, market_now, set_market_clock
from connections.models import ExecutionConnection
from execution.models import AccountSyncState
from execution.recovery import order_polling
from execution.recovery.order_polling import poll
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def position(
    alice: ExecutionConnection,
    feed: Feed,
    broker: FakeBroker,
    runtime: trading_runtime.TradingRuntime,
) -> Iterator[ExecutionPosition]:
    """A position of 100 EUR/USD at a broker without an event stream."""
    broker.event_stream = False
    order_polling.polled_broker_types.cache_clear()
    yield factories.filled(factories.signal(feed))
    order_polling.polled_broker_types.cache_clear()


@contextmanager
def on_a_host_that_is_ahead(by: timedelta) -> Iterator[None]:
    class Shown(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Shown":
            moment = datetime.now(tz) + by
            return cls.combine(moment.date(), moment.timetz())

    with pytest.MonkeyPatch.context() as there:
        there.setattr(clocks, "datetime", Shown)
        assert abs(market_now() - datetime.now(UTC) - by) < timedelta(minutes=1)
        yield


@pytest.mark.parametrize("hours", [1, -1])
def test_wrong_clock_of_one_host_hides_no_execution_from_the_next(
    position: ExecutionPosition, broker: FakeBroker, hours: int
) -> None:
    """An hour ahead, it would have requested only executions of the next hour."""
    with on_a_host_that_is_ahead(timedelta(hours=hours)):
        assert poll() == 1
    AccountSyncState.objects.update(poll_after=None)
    until = AccountSyncState.objects.get().fills_synced_until
    assert until is not None
    assert abs(until - datetime.now(UTC)) < timedelta(minutes=5)
    broker.close_at_broker(broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    assert poll() == 1
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "sl")


def test_broker_clock_behind_the_database_hides_no_execution(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    """For example a terminal on this host: it has our clock, and its adapter corrects nothing."""
    with on_a_host_that_is_ahead(timedelta(hours=-1)):
        assert poll() == 1
        AccountSyncState.objects.update(poll_after=None)
        broker.close_at_broker(broker.tickets[0], CloseCause.STOP_LOSS, D(100))
        assert poll() == 1
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "sl")


def test_future_time_stored_by_an_old_version_hides_no_execution(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    AccountSyncState.objects.update(fills_synced_until=market_now() + timedelta(hours=1))
    broker.close_at_broker(broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    assert poll() == 1
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "sl")


def test_market_clock_sets_how_far_executions_of_a_replay_were_read(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    start = datetime(2014, 5, 2, 12, 25, tzinfo=UTC)
    set_market_clock(MarketClock(start, datetime.now(UTC), 60))
    try:
        assert poll() == 1
        until = AccountSyncState.objects.get().fills_synced_until
        assert until is not None
        assert timedelta(hours=-1) < until - start
        assert until <= market_now() + timedelta(minutes=1)
    finally:
        set_market_clock(None)
