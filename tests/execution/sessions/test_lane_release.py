"""A lane is lost, or released after its running calls have ended."""

import asyncio
import threading
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from brokers.base import Guard
from brokers.types import ConnectionSpec, OrderRequest
from common.db.sql import run
from connections import session_lanes
from connections.models import ExecutionConnection
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.sessions.lane import LANE, lease
from tests.until import until


def test_lost_lane_has_its_sessions_closed_and_sends_nothing(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, called: list[tuple[str, str]],
    broker: FakeBroker,
) -> None:  # fmt: skip
    session.sessions.maintain()
    reconcile_new()
    factories.signal(feed)
    run("UPDATE connections_lanelease SET owner = 'another', fence = fence + 1")
    session.renew()
    session.sessions.maintain()
    assert called == [("disconnect", str(laned.pk))]
    execute(factories.pending())
    assert session.dispatcher.wait_idle(30)
    assert (factories.order().status, broker.tickets) == ("PENDING", [])


def test_lane_is_released_after_its_calls_have_ended(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, broker: FakeBroker,
    called: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    session.sessions.maintain()
    reconcile_new()
    factories.signal(feed)
    release, real = threading.Event(), broker.submit

    async def slowly(spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Any:
        await asyncio.to_thread(release.wait, 10)
        return await real(spec, request, guard)

    monkeypatch.setattr(broker, "submit", slowly)
    execute(factories.pending())
    session.lanes.release_all()  # nothing new starts; claimed orders may be sent
    assert session.lanes.held() == ()
    session.sessions.maintain()
    assert (lease().owner, called) == (session.id, [])
    release.set()
    until(lambda: not session.dispatcher.is_lane_busy(LANE))
    session.sessions.maintain()
    assert lease().owner == ""
    assert called == [("disconnect", str(laned.pk))]
    assert factories.order().status == "FILLED"  # written before the lease ended


def test_dispatched_order_keeps_the_lane_busy_before_its_call_starts(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime
) -> None:
    """The lane used to be released under an order about to be sent; it was rejected then and
    waited for the next owner."""
    session.sessions.maintain()
    reconcile_new()
    factories.signal(feed)
    release = threading.Event()
    session.dispatcher.loop.call_soon_threadsafe(release.wait, 10)  # a loop that is behind
    execute(factories.pending())
    session.lanes.release_all()
    is_busy = session.dispatcher.is_lane_busy(LANE)
    release.set()
    assert is_busy
    assert session.dispatcher.wait_idle(30)
    assert not session.dispatcher.is_lane_busy(LANE)


def test_call_keeps_the_lane_busy_until_its_outcome_is_queued(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a lease would end before its last outcome is written."""

    class RecordingQueue:
        """Records whether the lane is busy while an outcome is put."""

        was_busy: ClassVar[list[bool]] = []

        def put(self, outcome: Any) -> None:
            self.was_busy.append(session.dispatcher.is_lane_busy(LANE))
            real.put(outcome)

    real = session.dispatcher.results
    monkeypatch.setattr(session.dispatcher, "results", RecordingQueue())
    session.sessions.maintain()
    reconcile_new()
    factories.signal(feed)
    execute(factories.pending())
    assert session.dispatcher.wait_idle(30)
    assert RecordingQueue.was_busy == [True]


def test_stopped_process_has_released_all_lanes(
    transactional_db: None, laned: ExecutionConnection, broker: FakeBroker
) -> None:
    present = TradingRuntime("sessions")
    present.start()
    present.sessions.maintain()
    assert lease().owner == present.id
    present.stop()
    session_lanes._held_lanes = session_lanes._general
    assert (lease().owner, lease().until < timezone.now() + timedelta(seconds=1)) == ("", True)
