"""Nobody but its lane's owner speaks for an account, and nothing leaves past the lease."""

from collections.abc import Callable
from typing import Any

import pytest

from brokers.base import NotSent
from brokers.messages import ConnectionSpec
from common.clocks import machine_time
from common.codes import Code
from common.sql import run
from connections import lanes as of_process
from connections.models import ExecutionConnection
from connections.polling import refresh_due_accounts
from connections.probing import look_again
from execution.calls import sweeps
from execution.calls.lanes import Held
from execution.calls.polling import poll
from execution.calls.runtime import Runtime
from execution.drift.reconcile import reconcile_all, reconcile_new
from execution.exits import holdings
from execution.exits.wishes import grant_wishes
from execution.models import Order
from execution.reports.streams import drain_events
from execution.services import execute, look
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.lanes.hands import IN_A_LANE

ROUNDS: dict[str, Callable[[], object]] = {
    "look": lambda: look(500),
    "look for exits": lambda: look(500, exits_only=True),
    "wishes": grant_wishes,
    "holdings": holdings.look,
    "poll": poll,
    "compare": reconcile_all,
    "compare new": reconcile_new,
    "look again": look_again,
    "accounts": lambda: refresh_due_accounts(older_than_seconds=0),
    "events": drain_events,
}


@pytest.fixture
def busy(laned: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double) -> Order:
    """In her lane something of every kind is due, and nobody has done it."""
    first = cast.signal(feed)
    of_process.use(lambda: (IN_A_LANE,))
    cast.fill_all()
    of_process.use(trading.lanes.held)
    position = ExecutionPosition.objects.get(signal=first)
    run(
        "UPDATE positions_executionposition SET ask_after = clock_timestamp(), sl_guardian ="
        " 'BROKER', broker_sl = 1.05, levels_due_at = NULL WHERE id = %s", (position.pk,)
    )  # fmt: skip
    cast.signal(feed, currency_pair="EUR/USD")  # PENDING
    rests = cast.order(signal=first)
    run(
        "UPDATE execution_order SET status = 'SUBMITTED', done_at = NULL, wish = 'CANCEL',"
        " lookup_after = clock_timestamp(), due_at = clock_timestamp() WHERE id = %s",
        (rests.pk,),
    )
    run("UPDATE connections_connectionhealth SET unreachable_at = clock_timestamp(),"
        " last_error_at = clock_timestamp() - interval '1 minute'")  # fmt: skip
    run("INSERT INTO execution_accountreading (connection_id, compare_asked_at)"
        " VALUES (%s, clock_timestamp()) ON CONFLICT (connection_id) DO UPDATE"
        " SET compare_asked_at = clock_timestamp()", (laned.pk,))  # fmt: skip
    run("UPDATE execution_order SET rung_at = clock_timestamp() - interval '1 minute',"
        " created_at = clock_timestamp() - interval '1 minute'")  # fmt: skip
    broker.event_stream = False  # so that it would be polled
    broker.calls.clear()
    return rests


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [*ROUNDS, "ask"])
def test_a_general_worker_never_asks_a_broker_about_an_account_of_a_lane(
    name: str, busy: Order, trading: Runtime, broker: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "accounts":
        run("UPDATE connections_connectionhealth SET unreachable_at = NULL")
    read = broker.account

    def account(spec: ConnectionSpec) -> Any:
        broker.calls.append(("account", spec.connection_id))
        return read(spec)

    monkeypatch.setattr(broker, "account", account)

    def go() -> None:
        if name == "ask":
            sweeps.ask_brokers(trading.wire)
        else:
            ROUNDS[name]()
        assert trading.wire.wait_idle(10)
        assert trading.flusher.drain(10)

    go()
    assert broker.calls == []
    assert not broker.tickets[1:]
    of_process.use(lambda: (IN_A_LANE,))
    trading.lanes._held[IN_A_LANE] = _held_for_long()
    go()
    if name not in ("events", "look for exits", "poll"):  # there it is done: the round is no sham
        assert broker.calls or broker.tickets[1:], name


def _held_for_long() -> Held:
    return Held(1, machine_time() + 60)


@pytest.mark.django_db(transaction=True)
def test_an_order_whose_lane_was_lost_before_the_write_does_not_leave(
    laned: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    of_process.use(lambda: (IN_A_LANE,))
    trading.lanes._held[IN_A_LANE] = Held(1, machine_time() - 0.001)
    cast.signal(feed)
    execute(cast.pending())
    assert trading.wire.wait_idle(10)
    assert trading.flusher.drain(10)
    order = cast.order()
    assert (order.status, order.reason, broker.tickets) == ("PENDING", Code.LANE_LOST, [])
    trading.lanes._held[IN_A_LANE].until = machine_time() + 60
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    execute(cast.pending())
    assert trading.wire.wait_idle(10)
    assert trading.flusher.drain(10)
    assert (cast.order().status, len(broker.tickets)) == ("FILLED", 1)


@pytest.mark.django_db(transaction=True)
def test_a_cancel_and_a_moved_level_leave_no_later_than_the_lease(
    busy: Order, trading: Runtime, monkeypatch: pytest.MonkeyPatch, broker: Double
) -> None:
    of_process.use(lambda: (IN_A_LANE,))
    until = machine_time() + 0.5
    trading.lanes._held[IN_A_LANE] = Held(1, until)
    asked: list[float | None] = []

    async def note(spec: ConnectionSpec, request: Any) -> Any:
        asked.append(request.send_by)
        raise NotSent(Code.LANE_LOST)

    monkeypatch.setattr(broker, "cancel", note)
    monkeypatch.setattr(broker, "modify", note)
    grant_wishes()
    assert trading.wire.wait_idle(10)
    assert asked == [until, until]
