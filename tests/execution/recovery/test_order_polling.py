"""Brokers without an event stream: working orders and open positions are polled."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import ProgrammingError

from brokers.base import OutcomeUnknown, ReadFailed
from brokers.types import (
    BrokerOrder,
    CloseCause,
    ConnectionSpec,
    OrderReport,
    OrderType,
    Side,
)
from common.clocks import market_now
from common.db.sql import database_now, rows, run
from common.reason_codes import Code
from connections import session_lanes
from connections.models import ConnectionHealth, ExecutionConnection, HostCircuit
from execution.models import AccountSyncState, DriftItem, Fill, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.unprotected_time import update_unprotected
from execution.reconciliation import reconcile
from execution.recovery import order_polling, sweeps
from execution.recovery.order_polling import interval_of, poll
from execution.runtime import broker_queries, trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND, FakeBroker
from tests.hanging import beside
from tests.operational import set_setting
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


UNUSABLE = BrokerOrder("9", "EURUSD", Side.BUY, OrderType.LIMIT, D(1), client_order_id="a\0b")


@pytest.fixture
def polled_broker(
    broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> Iterator[FakeBroker]:
    """The fake broker without an event stream."""
    broker.event_stream = False
    order_polling.polled_broker_types.cache_clear()
    yield broker
    order_polling.polled_broker_types.cache_clear()


@pytest.fixture
def resting(alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker) -> Order:
    """A limit order of 100 EUR/USD working at the broker."""
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, polled_broker.rest(outgoing.request))
    return Order.objects.get()


def due_again() -> None:
    AccountSyncState.objects.update(poll_after=None)


def asked(broker: FakeBroker, name: str) -> int:
    return sum(1 for called, _ in broker.calls if called == name)


def test_fill_of_a_working_order_is_found_by_polling(
    resting: Order, polled_broker: FakeBroker
) -> None:
    assert poll() == 1
    resting.refresh_from_db()
    assert (resting.status, asked(polled_broker, "find_order")) == ("SUBMITTED", 0)
    polled_broker.execute(polled_broker.tickets[0], D(40))
    due_again()
    poll()
    resting.refresh_from_db()
    assert (resting.status, resting.filled_quantity) == ("PARTIALLY_FILLED", 40)
    polled_broker.execute(polled_broker.tickets[0])
    due_again()
    poll()
    resting.refresh_from_db()
    assert (resting.status, resting.filled_quantity) == ("FILLED", 100)
    assert (ExecutionPosition.objects.get().quantity, Fill.objects.count()) == (100, 2)


@pytest.mark.parametrize("end", ["CANCELLED", "EXPIRED"])
def test_order_that_ends_at_the_broker_is_looked_up(
    resting: Order, polled_broker: FakeBroker, end: str
) -> None:
    polled_broker.end(polled_broker.tickets[0], end)
    poll()
    resting.refresh_from_db()
    assert (resting.status, DriftItem.objects.count()) == (end, 0)


def test_stop_filled_at_the_broker_is_found_by_polling(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker
) -> None:
    found = factories.filled(factories.signal(feed))
    polled_broker.close_at_broker(polled_broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    assert poll() == 1
    found.refresh_from_db()
    assert (found.quantity, found.close_reason) == (0, "sl")
    due_again()
    assert poll() == 0  # nothing is open and nothing works: no query


def test_exit_reported_together_with_its_entry_is_applied(
    resting: Order, polled_broker: FakeBroker
) -> None:
    """Both happened while the broker was unreachable, before the overlap of two reads."""
    poll()
    run(
        "UPDATE execution_accountsyncstate SET fills_synced_until = fills_synced_until - interval"
        " '10 minutes'"
    )
    polled_broker.execute(polled_broker.tickets[0])
    polled_broker.close_at_broker(polled_broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    for ticket in polled_broker.tickets:
        earlier = [replace(one, time=one.time - timedelta(minutes=5)) for one in ticket.fills]
        ticket.fills = earlier
    for _ in range(2):
        due_again()
        poll()
    found = ExecutionPosition.objects.get()
    assert (found.quantity, found.close_reason) == (0, "sl")


def test_host_that_is_down_is_not_polled(resting: Order, polled_broker: FakeBroker) -> None:
    circuit = HostCircuit.objects.create(host=KIND, opened_at=market_now(), times=1)
    assert poll() == 0
    circuit.delete()
    assert poll() == 1


def test_positions_are_reconciled_where_executions_are_unavailable(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker
) -> None:
    polled_broker.fills_horizon = None
    found = factories.filled(factories.signal(feed))
    factories.pass_time(1)
    polled_broker.close_at_broker(polled_broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    for _ in range(2):
        due_again()
        poll()
        factories.pass_time(6)
    found.refresh_from_db()
    assert (found.quantity, found.close_reason) == (0, "external_close")


def test_account_is_due_each_interval_and_claimed_by_one_process(
    resting: Order, polled_broker: FakeBroker
) -> None:
    before = database_now()
    assert poll() == 1
    after = database_now()
    due = AccountSyncState.objects.get().poll_after
    assert due is not None
    assert before <= due - timedelta(seconds=1) <= after
    AccountSyncState.objects.update(poll_after=database_now() + timedelta(minutes=5))
    assert poll() == 0  # not due
    run("UPDATE execution_accountsyncstate SET poll_after = clock_timestamp() - interval '1 s'")
    assert poll() == 1


def test_connection_setting_sets_the_interval(resting: Order) -> None:
    assert interval_of({}) == 1
    assert interval_of({"update_interval_seconds": 30}) == 30
    assert interval_of({"update_interval_seconds": 0}) == order_polling.MIN_SECONDS
    invalid: Any
    for invalid in ("often", None, True, []):
        assert interval_of({"update_interval_seconds": invalid}) == 1
    ExecutionConnection.objects.update(settings={"update_interval_seconds": 3600})
    assert (poll(), poll()) == (1, 0)
    (row,) = rows("SELECT poll_after > clock_timestamp() + interval '59 minutes' AS later"
                  " FROM execution_accountsyncstate")  # fmt: skip
    assert row.later


def test_failed_read_changes_nothing_and_is_retried(
    resting: Order, polled_broker: FakeBroker
) -> None:
    polled_broker.execute(polled_broker.tickets[0])
    polled_broker.reads_fail = True
    poll()
    resting.refresh_from_db()
    assert (resting.status, AccountSyncState.objects.get().fills_synced_until) == (
        "SUBMITTED",
        None,
    )
    polled_broker.reads_fail = False
    due_again()
    poll()
    resting.refresh_from_db()
    assert resting.status == "FILLED"
    until = AccountSyncState.objects.get().fills_synced_until
    assert until is not None
    assert market_now() - until < timedelta(minutes=5)


def test_brokers_with_an_event_stream_are_never_polled(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> None:
    order_polling.polled_broker_types.cache_clear()
    factories.filled(factories.signal(feed))
    assert poll() == 0
    assert not AccountSyncState.objects.exclude(poll_after=None).exists()


def test_new_connection_has_its_sync_state(alice: ExecutionConnection) -> None:
    assert AccountSyncState.objects.get().connection_id == alice.pk


def test_answer_is_written_while_another_account_hangs(
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    polled_broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(order_polling, "WAIT_SECONDS", 0.2)
    accounts = [factories.account(feed) for _ in range(21)]
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    for outgoing in factories.claim_all():
        factories.answer(outgoing, polled_broker.rest(outgoing.request))
    for ticket in polled_broker.tickets:
        polled_broker.execute(ticket)
    polled_broker.hung = {str(accounts[0].pk)}
    filled = Order.objects.filter(status="FILLED")
    assert poll() == 21
    until(lambda: filled.count() == 20 or poll() < 0)  # no round waits for the last
    polled_broker.hang.end()
    until(lambda: (poll(), filled.count())[1] == 21)  # a later round writes it


def test_hanging_executions_do_not_delay_order_reads(
    resting: Order, polled_broker: FakeBroker, settings: Any
) -> None:
    set_setting("execution.call_timeout_seconds", 0.2)
    rarely = {"update_interval_seconds": 3600}  # a second poll would ask a second time
    ExecutionConnection.objects.update(settings=rarely)
    polled_broker.end(polled_broker.tickets[0], "CANCELLED")
    polled_broker.hung, polled_broker.hanging = {str(resting.connection_id)}, {"fills_since"}

    def ended() -> bool:
        poll()
        resting.refresh_from_db()
        return resting.status == "CANCELLED"

    until(ended)
    assert asked(polled_broker, "fills_since") == 1
    assert AccountSyncState.objects.get().fills_synced_until is None  # queried again, from then on


def fail_fills(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, code: Code) -> None:
    async def fail(*_: Any) -> list[OrderReport]:
        raise ReadFailed(code)

    monkeypatch.setattr(broker, "fills_since", fail)


def due_a_second_ago() -> None:
    run("UPDATE execution_accountsyncstate SET poll_after = clock_timestamp() - interval '1 s'")


def test_failed_read_before_a_pause_does_not_count(
    resting: Order, polled_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last poll failed, then nothing was open for days: no poll could end the failure."""
    fail_fills(polled_broker, monkeypatch, Code.BROKER_UNREACHABLE)
    poll()
    factories.pass_time(5 * 86_400)
    run("UPDATE execution_accountsyncstate SET poll_after = clock_timestamp() - interval '5 days'")
    poll()
    assert ConnectionHealth.objects.get().status == "ACTIVE"


def test_stop_of_an_entry_that_is_looked_up_is_read(
    alice: ExecutionConnection,
    feed: Feed,
    polled_broker: FakeBroker,
    runtime: trading_runtime.TradingRuntime,
) -> None:
    """After an idle month an entry's reply is lost, and its stop is hit before its look-up, while
    another order works, so that the account is polled."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    ticket = polled_broker.receive(outgoing.request)
    polled_broker.execute(ticket, D(100))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    polled_broker.close_at_broker(ticket, CloseCause.STOP_LOSS, D(100))
    for one in polled_broker.tickets:
        one.fills = [replace(fill, time=fill.time - timedelta(minutes=10)) for fill in one.fills]
    run("UPDATE signals_signal SET published_at = published_at - interval '11 minutes'")
    factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    (second,) = factories.claim_all()
    factories.answer(second, polled_broker.rest(second.request))
    month_ago = market_now() - timedelta(days=30)
    AccountSyncState.objects.update(fills_synced_until=month_ago, poll_after=None)
    poll()
    factories.pass_time(60)
    sweeps.query_unknown_orders(runtime.dispatcher)
    due_again()
    poll()
    assert ExecutionPosition.objects.get().quantity == 0


def test_owner_learns_that_executions_cannot_be_read(
    resting: Order, polled_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop that its broker executed would stay open here, and nothing would state why."""
    fail_fills(polled_broker, monkeypatch, Code.LOOKUP_WINDOW_EXCEEDED)
    for _ in range(2):
        poll()
        due_a_second_ago()
        assert ConnectionHealth.objects.get().status == "ACTIVE"
    factories.pass_time(130)
    due_a_second_ago()
    poll()
    health = ConnectionHealth.objects.get()
    assert health.status == "ERROR"
    assert health.last_error.startswith("Executions have not been read since ")
    assert Code.LOOKUP_WINDOW_EXCEEDED.sentence in health.last_error
    monkeypatch.undo()
    due_again()
    poll()
    state = AccountSyncState.objects.get()
    assert (state.fills_failing_since, state.fills_synced_until is None) == (None, False)


def test_executions_are_read_since_what_is_open_now(
    resting: Order, polled_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account had nothing open for months, and its broker lists only so many days."""
    asked_since: list[datetime] = []
    usual = polled_broker.fills_since

    async def fills_since(spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        asked_since.append(since)
        return await usual(spec, since)

    monkeypatch.setattr(polled_broker, "fills_since", fills_since)
    now = market_now()
    assert resting.signal is not None
    for synced, expected in (
        (now - timedelta(days=100), resting.signal.published_at),
        (now - timedelta(hours=3), now - timedelta(hours=3)),
    ):
        AccountSyncState.objects.update(fills_synced_until=synced, poll_after=None)
        poll()
        assert expected is not None
        assert abs(asked_since.pop() + order_polling.OVERLAP - expected) < timedelta(seconds=1)


def test_look_ups_at_a_hanging_host_time_out_together(
    alice: ExecutionConnection, polled_broker: FakeBroker, settings: Any
) -> None:
    """150 of them, 50 at a time, would be three time-outs."""
    set_setting("execution.call_timeout_seconds", 0.2)
    polled_broker.hung, polled_broker.hanging = {str(alice.pk)}, {"find_order"}
    which = {
        "ids": [alice.pk],
        "done": "{}",
        "selected_at": "{}",
        **session_lanes.held_lanes_parameters(),
        **session_lanes.idle_parameters(),
    }
    (row,) = rows(reconcile.connections_sql(), which)
    assert broker_queries.query_orders([(row, f"order {n}", "") for n in range(150)]) == {}
    assert asked(polled_broker, "find_order") == broker_queries.MAX_PER_HOST


def test_time_out_of_a_running_process_follows_its_setting(
    alice: ExecutionConnection, polled_broker: FakeBroker
) -> None:
    set_setting("execution.call_timeout_seconds", 0.01)
    calls = broker_queries.call_runner()  # lives as long as the process

    def answers_of(seconds: float) -> list[Any]:
        async def slow() -> str:
            await asyncio.sleep(seconds)
            return "late"

        calls.start([(SimpleNamespace(broker_host=f"broker {seconds}"), slow)])
        return [answer for group in calls.groups() for _, answer in group]

    [error] = answers_of(60)
    assert isinstance(error, TimeoutError)
    set_setting("execution.call_timeout_seconds", 60)
    assert answers_of(0.1) == ["late"]
    set_setting("execution.call_timeout_seconds", 0.01)
    [error] = answers_of(61)
    assert isinstance(error, TimeoutError)


def test_unusable_answer_affects_only_its_own_account(
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    polled_broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accounts = [factories.account(feed) for _ in range(5)]
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    for outgoing in factories.claim_all():
        factories.answer(outgoing, polled_broker.rest(outgoing.request))
    odd, well = accounts[2], Order.objects.exclude(connection=accounts[2])
    for ticket in polled_broker.tickets:
        polled_broker.end(ticket, "CANCELLED")
    open_orders = polled_broker.open_orders

    async def garbled(spec: ConnectionSpec) -> list[BrokerOrder]:
        orders = await open_orders(spec)
        return [UNUSABLE] if spec.connection_id == str(odd.pk) else orders

    monkeypatch.setattr(polled_broker, "open_orders", garbled)
    poll()
    until(lambda: not rows("SELECT FROM execution_accountsyncstate WHERE poll_after IS NULL"))
    assert {order.status for order in well} == {"CANCELLED"}
    health = ConnectionHealth.objects.filter(status="ERROR").get()
    assert health.connection_id == odd.pk
    assert health.last_error.startswith("The broker's answer about the orders is not usable (")
    (row,) = rows(
        "SELECT poll_after < clock_timestamp() + interval '6 s' AS soon"
        " FROM execution_accountsyncstate WHERE connection_id = %s", (odd.pk,)
    )  # fmt: skip
    assert row.soon


@pytest.mark.django_db(transaction=True)
def test_shared_failure_puts_no_account_in_error(resting: Order, polled_broker: FakeBroker) -> None:
    """For example another schema version: the answers are valid."""
    run("ALTER TABLE execution_fill RENAME TO fills_of_tomorrow")
    try:
        with pytest.raises(ProgrammingError):
            poll()
    finally:
        run("ALTER TABLE fills_of_tomorrow RENAME TO execution_fill")
    assert ConnectionHealth.objects.get().status == "ACTIVE"


def test_unusable_orders_keep_a_rarely_polled_account_in_error(
    resting: Order, polled_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two polls no account sync may clear the error."""
    ExecutionConnection.objects.update(settings={"update_interval_seconds": 300})

    async def garbled(_: ConnectionSpec) -> list[BrokerOrder]:
        return [UNUSABLE]

    monkeypatch.setattr(polled_broker, "open_orders", garbled)
    for _ in range(2):
        due_again()
        poll()
        (row,) = rows(
            "SELECT r.poll_after < h.read_after AS polled_first FROM connections_connectionhealth h"
            " JOIN execution_accountsyncstate r USING (connection_id) WHERE h.status = 'ERROR'"
        )
        assert row.polled_first
    monkeypatch.undo()
    due_again()
    assert poll() == 1
    (row,) = rows("SELECT poll_after > clock_timestamp() + interval '250 s' AS rarely"
                  " FROM execution_accountsyncstate")  # fmt: skip
    assert row.rarely


def test_failure_on_every_answer_is_our_own(
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    polled_broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        factories.account(feed)
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    for outgoing in factories.claim_all():
        factories.answer(outgoing, polled_broker.rest(outgoing.request))

    async def nothing_we_know(_: ConnectionSpec) -> list[Any]:
        return [None]

    monkeypatch.setattr(polled_broker, "open_orders", nothing_we_know)
    with pytest.raises(AttributeError):
        poll()
    assert {one.status for one in ConnectionHealth.objects.all()} == {"ACTIVE"}


@pytest.mark.django_db(transaction=True)
def test_account_is_not_polled_while_its_positions_are_reconciled(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker
) -> None:
    polled_broker.fills_horizon = None
    factories.filled(factories.signal(feed))
    polled_broker.hung, polled_broker.hanging = {str(alice.pk)}, {"positions"}
    due_again()
    polling_it = beside(poll)
    try:
        until(lambda: asked(polled_broker, "positions") > 0)
        (row,) = rows("SELECT poll_after - clock_timestamp() > interval '6 s' AS held"
                      " FROM execution_accountsyncstate")  # fmt: skip
        assert row.held
    finally:
        polled_broker.hang.end()
        polling_it.join(120)
    (row,) = rows("SELECT poll_after - clock_timestamp() <= interval '6 s' AS done"
                  " FROM execution_accountsyncstate")  # fmt: skip
    assert row.done


@pytest.fixture
def protected(feed: Feed, polled_broker: FakeBroker) -> ExecutionPosition:
    """A position whose stop the broker has confirmed."""
    account = factories.account(feed, settings={"native_stops": True})
    factories.mark_monitored(account)
    found = factories.filled(factories.signal(feed))
    assert found.broker_sl == D("1.09")
    factories.pass_time(1)
    return found


def drop_stop(silent: FakeBroker) -> None:
    ticket = silent.tickets[0]
    ticket.request = replace(ticket.request, stop_loss=None)


def test_stop_dropped_later_is_found_by_polling(
    protected: ExecutionPosition, polled_broker: FakeBroker
) -> None:
    poll()
    protected.refresh_from_db()
    assert (protected.broker_sl, protected.stop_guardian) == (D("1.09"), "BROKER")
    drop_stop(polled_broker)
    due_again()
    poll()
    protected.refresh_from_db()
    assert (protected.broker_sl, protected.stop_guardian) == (None, "ENGINE")
    assert (update_unprotected(), DriftItem.objects.count()) == (1, 0)
    process_pending_actions()  # it is placed again
    protected.refresh_from_db()
    assert (protected.broker_sl, asked(polled_broker, "modify")) == (D("1.09"), 1)


@pytest.mark.parametrize("ours", ["moving", "protection_suspended", "changed since"])
def test_poll_ignores_levels_that_are_being_changed(
    protected: ExecutionPosition, polled_broker: FakeBroker, ours: str
) -> None:
    drop_stop(polled_broker)
    changes: dict[str, Any] = {
        "moving": {"level_sync_due_at": market_now() + timedelta(seconds=30)},
        "protection_suspended": {"protection_suspended": True},
        "changed since": {"last_activity_at": market_now() + timedelta(seconds=30)},
    }
    ExecutionPosition.objects.update(**changes[ours])
    poll()
    protected.refresh_from_db()
    assert (protected.broker_sl, asked(polled_broker, "positions")) == (D("1.09"), 1)


def test_positions_are_read_only_where_the_broker_keeps_levels(
    alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker
) -> None:
    factories.filled(factories.signal(feed))
    assert (poll(), asked(polled_broker, "positions")) == (1, 0)


def test_failed_read_of_positions_delays_nothing_else(
    protected: ExecutionPosition, polled_broker: FakeBroker, settings: Any
) -> None:
    polled_broker.close_at_broker(polled_broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    polled_broker.hung, polled_broker.hanging = {str(protected.connection_id)}, {"positions"}
    set_setting("execution.call_timeout_seconds", 0.2)
    poll()
    protected.refresh_from_db()
    assert (protected.quantity, protected.close_reason) == (0, "sl")
