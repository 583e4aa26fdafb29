"""Only its lane's owner calls the broker for an account, and nothing is sent past the lease."""

from collections.abc import Callable
from typing import Any

import pytest

from brokers.base import NotSent
from brokers.types import ConnectionSpec
from common.clocks import machine_time
from common.db.sql import run
from common.reason_codes import Code
from connections import session_lanes
from connections.health.account_polling import refresh_due_accounts
from connections.health.probes import retry_failed
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring import broker_positions
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.reconcile import reconcile, reconcile_new
from execution.recovery import sweeps
from execution.recovery.order_polling import poll
from execution.runtime.event_stream import drain_events
from execution.runtime.lane_leases import HeldLease, LaneLeaseManager
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute, process_due_orders
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.lanes.processes import IN_A_LANE

ROUNDS: dict[str, Callable[[], object]] = {
    "look": lambda: process_due_orders(500),
    "look for exits": lambda: process_due_orders(500, exits_only=True),
    "pending actions": process_pending_actions,
    "holdings": broker_positions.refresh,
    "poll": poll,
    "compare": reconcile,
    "compare new": reconcile_new,
    "look again": retry_failed,
    "accounts": lambda: refresh_due_accounts(older_than_seconds=0),
    "events": drain_events,
}


@pytest.fixture(autouse=True)
def unrenewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leases that these tests give have no row: the runtime must not look for it."""
    monkeypatch.setattr(LaneLeaseManager, "renew", lambda self: None)


@pytest.fixture
def busy(
    laned: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> Order:
    """Work of every sort is due in the lane of Alice's account."""
    first = factories.signal(feed)
    session_lanes.register_held_lanes(lambda: (IN_A_LANE,))
    factories.fill_all()
    session_lanes.register_held_lanes(trading.lanes.held)
    position = ExecutionPosition.objects.get(signal=first)
    run(
        "UPDATE positions_executionposition SET broker_check_due_at = clock_timestamp(),"
        " sl_guardian ="
        " 'BROKER', broker_sl = 1.05, level_sync_due_at = NULL WHERE id = %s", (position.pk,)
    )  # fmt: skip
    factories.signal(feed, currency_pair="EUR/USD")  # PENDING
    rests = factories.order(signal=first)
    with factories.without_triggers():  # it is filled: the product could not do this
        run(
            "UPDATE execution_order SET status = 'SUBMITTED', done_at = NULL, pending_action ="
            " 'CANCEL',"
            " lookup_after = clock_timestamp(), due_at = clock_timestamp() WHERE id = %s",
            (rests.pk,),
        )
    run("UPDATE connections_connectionhealth SET unreachable_at = clock_timestamp(),"
        " last_error_at = clock_timestamp() - interval '1 minute'")  # fmt: skip
    run("INSERT INTO execution_accountsyncstate (connection_id, reconcile_requested_at)"
        " VALUES (%s, clock_timestamp()) ON CONFLICT (connection_id) DO UPDATE"
        " SET reconcile_requested_at = clock_timestamp()", (laned.pk,))  # fmt: skip
    run("UPDATE execution_order SET enqueued_at = clock_timestamp() - interval '1 minute',"
        " created_at = clock_timestamp() - interval '1 minute'")  # fmt: skip
    broker.event_stream = False  # so that it would be polled
    broker.calls.clear()
    return rests


@pytest.mark.usefixtures("inline_commits")
@pytest.mark.parametrize("name", [*ROUNDS, "ask"])
def test_general_worker_never_calls_a_broker_for_an_account_of_a_lane(
    name: str,
    busy: Order,
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
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
            sweeps.query_unknown_orders(trading.dispatcher)
        else:
            ROUNDS[name]()
        assert trading.dispatcher.wait_idle(60)
        assert trading.report_writer.drain(60)

    go()
    assert broker.calls == []
    assert not broker.tickets[1:]
    session_lanes.register_held_lanes(lambda: (IN_A_LANE,))
    trading.lanes._held[IN_A_LANE] = _held_for_long()
    go()
    if name not in (
        "events",
        "look for exits",
        "poll",
    ):  # there the work is done: the job is effective
        assert broker.calls or broker.tickets[1:], name


def _held_for_long() -> HeldLease:
    return HeldLease(1, machine_time() + 60)


@pytest.mark.usefixtures("inline_commits")
def test_order_whose_lane_was_lost_before_sending_is_not_sent(
    laned: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    session_lanes.register_held_lanes(lambda: (IN_A_LANE,))
    trading.lanes._held[IN_A_LANE] = HeldLease(1, machine_time() - 0.001)
    factories.signal(feed)
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    order = factories.order()
    assert (order.status, order.reason, broker.tickets) == ("PENDING", Code.SESSION_MOVED, [])
    trading.lanes._held[IN_A_LANE].until = machine_time() + 60
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    assert (factories.order().status, len(broker.tickets)) == ("FILLED", 1)


@pytest.mark.usefixtures("inline_commits")
def test_cancel_and_moved_level_are_not_sent_after_the_lease(
    busy: Order, trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch, broker: FakeBroker
) -> None:
    session_lanes.register_held_lanes(lambda: (IN_A_LANE,))
    until = machine_time() + 4.5  # less than a call may take
    trading.lanes._held[IN_A_LANE] = HeldLease(1, until)
    asked: list[float | None] = []

    async def note(spec: ConnectionSpec, request: Any) -> Any:
        asked.append(request.send_by)
        raise NotSent(Code.SESSION_MOVED)

    monkeypatch.setattr(broker, "cancel", note)
    monkeypatch.setattr(broker, "modify", note)
    process_pending_actions()
    assert trading.dispatcher.wait_idle(60)
    assert asked == [until, until]
