"""A lane is lost, or given back when what is in hand has ended."""

import asyncio
import threading
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from brokers.base import Guard
from brokers.messages import ConnectionSpec, OrderRequest
from common.sql import run
from connections import lanes as of_process
from connections.models import ExecutionConnection
from execution.calls.runtime import Runtime
from execution.drift.reconcile import reconcile_new
from execution.services import execute
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.sessions.lane import LANE, lease
from tests.execution.test_errands import until


def test_a_lane_that_was_lost_has_its_sessions_closed_and_nothing_leaves(
    laned: ExecutionConnection, feed: Feed, session: Runtime, spoken: list[tuple[str, str]],
    broker: Double,
) -> None:  # fmt: skip
    session.sessions.tend()
    reconcile_new()
    cast.signal(feed)
    run("UPDATE connections_lanelease SET owner = 'another', fence = fence + 1")
    session.renew()
    session.sessions.tend()
    assert spoken == [("disconnect", str(laned.pk))]
    execute(cast.pending())
    assert session.wire.wait_idle(30)
    assert (cast.order().status, broker.tickets) == ("PENDING", [])


def test_a_lane_is_given_back_when_its_calls_have_ended(
    laned: ExecutionConnection, feed: Feed, session: Runtime, broker: Double,
    spoken: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    session.sessions.tend()
    reconcile_new()
    cast.signal(feed)
    release, real = threading.Event(), broker.submit

    async def slowly(spec: ConnectionSpec, request: OrderRequest, guard: Guard) -> Any:
        await asyncio.to_thread(release.wait, 10)
        return await real(spec, request, guard)

    monkeypatch.setattr(broker, "submit", slowly)
    execute(cast.pending())
    session.lanes.leave_all()  # nothing new begins; what is in hand may leave
    assert session.lanes.held() == ()
    session.sessions.tend()
    assert (lease().owner, spoken) == (session.id, [])
    release.set()
    until(lambda: not session.wire.is_busy(LANE))
    session.sessions.tend()
    assert lease().owner == ""
    assert spoken == [("disconnect", str(laned.pk))]
    assert cast.order().status == "FILLED"  # written before the lease ended


def test_what_is_handed_over_is_in_hand_before_its_call_begins(
    laned: ExecutionConnection, feed: Feed, session: Runtime
) -> None:
    """The lane was given back under an order that was about to leave; it was refused then, and
    waited for the next owner."""
    session.sessions.tend()
    reconcile_new()
    cast.signal(feed)
    release = threading.Event()
    session.wire.loop.call_soon_threadsafe(release.wait, 10)  # a loop that is behind
    execute(cast.pending())
    session.lanes.leave_all()
    is_busy = session.wire.is_busy(LANE)
    release.set()
    assert is_busy
    assert session.wire.wait_idle(30)
    assert not session.wire.is_busy(LANE)


def test_a_call_is_in_hand_until_what_came_of_it_can_be_written(
    laned: ExecutionConnection, feed: Feed, session: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lease ended whose last outcome was not written yet."""

    class Outbox:
        """Looks whether the lane is busy while an outcome is put."""

        was_busy: ClassVar[list[bool]] = []

        def put(self, told: Any) -> None:
            self.was_busy.append(session.wire.is_busy(LANE))
            real.put(told)

    real = session.wire.outbox
    monkeypatch.setattr(session.wire, "outbox", Outbox())
    session.sessions.tend()
    reconcile_new()
    cast.signal(feed)
    execute(cast.pending())
    assert session.wire.wait_idle(30)
    assert Outbox.was_busy == [True]


def test_who_ends_has_given_everything_back(
    transactional_db: None, laned: ExecutionConnection, broker: Double
) -> None:
    present = Runtime("sessions")
    present.start()
    present.sessions.tend()
    assert lease().owner == present.id
    present.stop()
    of_process._held = of_process._general
    assert (lease().owner, lease().until < timezone.now() + timedelta(seconds=1)) == ("", True)
