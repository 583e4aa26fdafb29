"""A lane is lost, or given back when what is in hand has ended."""

import asyncio
import threading
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from brokers.base import Guard
from brokers.types import ConnectionSpec, OrderRequest
from common.sql import run
from connections import session_lanes as of_process
from connections.models import ExecutionConnection
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.dispatch.test_background_calls import until
from tests.execution.fake_broker import FakeBroker
from tests.execution.sessions.lane import LANE, lease


def test_a_lane_that_was_lost_has_its_sessions_closed_and_nothing_leaves(
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


def test_a_lane_is_given_back_when_its_calls_have_ended(
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
    session.lanes.leave_all()  # nothing new begins; what is in hand may leave
    assert session.lanes.held() == ()
    session.sessions.maintain()
    assert (lease().owner, called) == (session.id, [])
    release.set()
    until(lambda: not session.dispatcher.is_lane_busy(LANE))
    session.sessions.maintain()
    assert lease().owner == ""
    assert called == [("disconnect", str(laned.pk))]
    assert factories.order().status == "FILLED"  # written before the lease ended


def test_what_is_handed_over_is_in_hand_before_its_call_begins(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime
) -> None:
    """The lane was given back under an order that was about to leave; it was refused then, and
    waited for the next owner."""
    session.sessions.maintain()
    reconcile_new()
    factories.signal(feed)
    release = threading.Event()
    session.dispatcher.loop.call_soon_threadsafe(release.wait, 10)  # a loop that is behind
    execute(factories.pending())
    session.lanes.leave_all()
    is_busy = session.dispatcher.is_lane_busy(LANE)
    release.set()
    assert is_busy
    assert session.dispatcher.wait_idle(30)
    assert not session.dispatcher.is_lane_busy(LANE)


def test_a_call_is_in_hand_until_what_came_of_it_can_be_written(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lease ended whose last outcome was not written yet."""

    class Outbox:
        """Looks whether the lane is busy while an outcome is put."""

        was_busy: ClassVar[list[bool]] = []

        def put(self, told: Any) -> None:
            self.was_busy.append(session.dispatcher.is_lane_busy(LANE))
            real.put(told)

    real = session.dispatcher.outbox
    monkeypatch.setattr(session.dispatcher, "outbox", Outbox())
    session.sessions.maintain()
    reconcile_new()
    factories.signal(feed)
    execute(factories.pending())
    assert session.dispatcher.wait_idle(30)
    assert Outbox.was_busy == [True]


def test_who_ends_has_given_everything_back(
    transactional_db: None, laned: ExecutionConnection, broker: FakeBroker
) -> None:
    present = TradingRuntime("sessions")
    present.start()
    present.sessions.maintain()
    assert lease().owner == present.id
    present.stop()
    of_process._held_lanes = of_process._general
    assert (lease().owner, lease().until < timezone.now() + timedelta(seconds=1)) == ("", True)
