"""Order streams end to end: a fill at the exchange is stored long before the next poll."""

import time
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from common.clocks import market_now
from connections import session_lanes
from connections.models import ExecutionConnection
from connections.services import set_credentials
from execution.models import AccountSyncState, Fill, WorkerLease
from execution.runtime import order_stream, order_streams, trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.crypto.engine.streamed_account import (
    EACH,
    MARKETS,
    NEVER,
    ONE,
    REACHED,
    Exchange,
    alice,
    exchange,
    is_filled,
    poll_often,
    resting,
    state,
)
from tests.crypto.engine.test_engine import engine, feed
from tests.execution import factories
from tests.execution.trading_process import until

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What streams log, on whatever thread."""
    lines = LogCapture()
    log = structlog.wrap_logger(None, processors=[lines])
    monkeypatch.setattr(order_stream, "log", log)
    return lines.entries


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


@pytest.mark.parametrize("exchange", EACH, indirect=True)
def test_lost_connection_is_made_again(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_stream, "FIRST_PAUSE", 0.1)
    resting(feed)
    until(lambda: state().stream_since)
    exchange.server.drop_sockets()
    until(lambda: exchange.server.sockets.opened == 2)
    until(lambda: exchange.server.sockets.live_with_orders == 1)
    exchange.reach()
    until(is_filled)
    until(lambda: state().stream_since and not state().stream_error)


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_account_is_polled_while_its_stream_is_refused(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange,
    logged: list[Any],
) -> None:  # fmt: skip
    poll_often(alice)
    exchange.venue.refuses_streams = True
    resting(feed)
    until(lambda: state().stream_error.startswith("CREDENTIALS_REFUSED"))
    exchange.reach()
    until(is_filled)
    assert state().stream_since is None
    with exchange.venue.lock:
        assert sum("listenKey" in line for line in exchange.venue.request_lines) == 1
    (notice,) = [line for line in logged if line["event"] == "order_stream_lost"]
    assert (notice["code"], notice["exchange"]) == ("CREDENTIALS_REFUSED", "binance")
    assert exchange.venue.secret not in str(logged)


@pytest.mark.parametrize("exchange", EACH, indirect=True)
def test_account_is_polled_until_its_exchange_accepts_connections(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch,
    logged: list[Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(order_stream, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(order_stream, "MAX_PAUSE", 0.2)
    poll_often(alice)
    sockets = exchange.server.sockets
    sockets.is_refusing = True
    resting(feed)
    until(lambda: sockets.refused >= 3)
    exchange.reach()
    until(is_filled)
    assert state().stream_error.startswith("BROKER_UNREACHABLE")
    assert [line["event"] for line in logged].count("order_stream_lost") == 1
    sockets.is_refusing = False
    until(lambda: state().stream_since)
    assert state().stream_error == ""


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_lost_message_costs_no_more_than_a_poll(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    poll_often(alice)
    exchange.server.sockets.is_mute = True
    resting(feed)
    until(lambda: state().stream_since)
    exchange.reach()
    until(is_filled)
    assert exchange.server.sockets.pushed == 0


@pytest.mark.parametrize("exchange", EACH, indirect=True)
def test_burst_of_doubled_messages_is_few_polls_and_each_fill_once(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange
) -> None:
    exchange.server.sockets.repeats = 3
    entry = resting(feed)
    until(lambda: state().stream_since)
    until(lambda: state().poll_began_at is None)
    venue, polls, began = exchange.venue, exchange.polls(), time.monotonic()
    with venue.lock:
        (order,) = [one for one in venue.orders if one.is_open]
    parts = 10
    for _ in range(parts):
        venue.prices[order.symbol] = REACHED
        venue.match(order, D(1) / parts)
        pushed = exchange.server.sockets.pushed
        until(lambda pushed=pushed: exchange.server.sockets.pushed > pushed)  # type: ignore[misc]
    until(is_filled)
    until(lambda: exchange.server.sockets.quiet_looks > 100)
    entry.refresh_from_db()
    assert entry.filled_quantity == entry.quantity
    assert Fill.objects.filter(order=entry).count() == parts
    assert exchange.server.sockets.pushed >= 3 * parts
    seconds = time.monotonic() - began
    # Each poll reads the open orders once or twice; the next one follows after 0.1 s.
    assert exchange.polls() - polls <= 2 * (seconds / 0.1 + 2)


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


@pytest.mark.parametrize("exchange", ONE, indirect=True)
def test_new_key_opens_the_stream_again(
    alice: ExecutionConnection, feed: Feed, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_streams, "CHECK_SECONDS", 0.1)
    exchange.venue.refuses_streams = True
    resting(feed)
    until(lambda: state().stream_error)
    exchange.venue.refuses_streams = False
    alice.refresh_from_db()
    set_credentials(
        alice.pk, by=alice.user,
        values={"api_key": exchange.venue.key, "secret": exchange.venue.secret},
    )  # fmt: skip
    until(lambda: state().stream_since)  # not after the pause of a refused key
