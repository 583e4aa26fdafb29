"""Order streams end to end: a fill at the exchange is stored long before the next poll."""

from datetime import timedelta

import pytest

from common.clocks import market_now
from connections import session_lanes
from connections.models import ExecutionConnection
from execution.models import AccountSyncState, WorkerLease
from execution.runtime import order_streams, trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.crypto.engine.streamed_account import (
    MARKETS,
    NEVER,
    ONE,
    Exchange,
    alice,
    exchange,
    is_filled,
    resting,
    state,
)
from tests.crypto.engine.test_engine import engine, feed
from tests.execution import factories
from tests.execution.trading_process import until

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.mark.parametrize("exchange", MARKETS, indirect=True)
def test_fill_is_stored_when_the_stream_announces_it(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    assert exchange.server.sockets.opened == 0  # nothing is open: nothing to listen for
    resting(feed)
    until(lambda: state().stream_since)
    until(lambda: state().poll_after is not None and state().poll_began_at is None)
    exchange.reach()
    until(is_filled)
    assert exchange.server.sockets.live_with_orders == 1
    assert ExecutionPosition.objects.get().quantity > 0


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_stream_is_opened_while_the_order_is_sent(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_streams, "SECONDS", NEVER)  # until the next look without news
    resting(feed)
    until(lambda: state().stream_since)


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_stream_ends_once_nothing_is_open(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_streams, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(order_streams, "CHECK_SECONDS", 0.1)
    resting(feed)
    until(lambda: state().stream_since)
    exchange.reach()
    until(is_filled)
    factories.close_signal(Signal.objects.get())
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    until(lambda: exchange.server.sockets.live == 0)
    until(lambda: state().stream_holder == "")
    assert (state().stream_since, state().stream_error) == (None, "")


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_another_process_takes_over_from_a_dead_one(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    later = market_now() + timedelta(hours=1)
    WorkerLease.objects.create(id="other", role="execution", host="h", pid=1, lease_until=later)
    AccountSyncState.objects.update(stream_holder="other")
    resting(feed)
    until(lambda: state().poll_after is not None)
    assert exchange.server.sockets.opened == 0  # the other process listens
    WorkerLease.objects.filter(id="other").update(lease_until=market_now() - timedelta(seconds=1))
    until(lambda: state().stream_since)
    exchange.reach()
    until(is_filled)


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_process_that_ends_closes_its_streams(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange,
    engine: trading_runtime.TradingRuntime,
) -> None:  # fmt: skip
    resting(feed)
    until(lambda: state().stream_since)
    engine.stop()
    assert exchange.server.sockets.live == 0


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_stream_ends_when_its_lane_is_lost(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange,
    engine: trading_runtime.TradingRuntime,
) -> None:  # fmt: skip
    resting(feed)
    until(lambda: state().stream_since)
    session_lanes.register_held_lanes(lambda: ("elsewhere.1",))
    until(lambda: exchange.server.sockets.live == 0)
    until(lambda: state().stream_holder == "")
    session_lanes.register_held_lanes(engine.lanes.held)
    until(lambda: state().stream_since)
