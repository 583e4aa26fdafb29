"""What a host's open circuit does to orders: entries wait, exits go, nothing is sent late."""

from collections.abc import Sequence
from typing import Any

import pytest

from brokers.types import OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import run
from common.reason_codes import Code
from connections.health.host_circuit_breaker import open_hosts
from connections.models import ExecutionConnection, HostCircuit
from execution.models import Order
from execution.runtime.health_recorder import HealthRecorder
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_order, close_position, execute
from execution.submission.claim import claim
from execution.submission.outcomes import Deferred
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND, FakeBroker

pytestmark = pytest.mark.usefixtures("inline_commits")


def away(present: TradingRuntime) -> None:
    HostCircuit.objects.create(host=KIND, opened_at=market_now(), probe_at=market_now(), times=1)
    present.renew()


def trade(present: TradingRuntime) -> None:
    execute(factories.pending())
    assert present.dispatcher.wait_idle(60)
    assert present.report_writer.drain(60)


def test_entry_waits_for_its_host_and_states_it(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    away(trading)
    factories.signal(feed)
    trade(trading)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "BROKER_HOST_DOWN")
    factories.pass_time(4)
    trade(trading)
    assert factories.log_codes(order.pk).count(("BROKER_HOST_DOWN", "PENDING")) == 1
    HostCircuit.objects.update(opened_at=None)
    trading.renew()
    factories.pass_time(4)
    trade(trading)
    order.refresh_from_db()
    assert (order.status, len(broker.accepted())) == ("FILLED", 1)


def test_entry_that_becomes_too_old_meanwhile_is_not_sent(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    away(trading)
    factories.signal(feed)
    trade(trading)
    factories.pass_time(601)
    trade(trading)
    order = Order.objects.get()
    assert (order.status, order.reason, broker.accepted()) == ("DENIED", "BROKER_HOST_DOWN", [])


@pytest.mark.django_db(transaction=True)
def test_exits_and_entries_of_other_hosts_are_sent(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime
) -> None:
    position = factories.filled(factories.signal(feed))
    elsewhere = factories.account(feed, exchange_name="elsewhere")
    away(trading)
    factories.signal(feed)
    [exit_id] = close_position(position.pk)
    trade(trading)
    assert Order.objects.get(pk=exit_id).status == "FILLED"
    assert Order.objects.get(connection=elsewhere).status == "FILLED"
    assert Order.objects.get(connection=alice, status="PENDING").reason == "BROKER_HOST_DOWN"


def test_lost_answers_of_most_accounts_open_the_circuit_for_all_processes(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    for _ in range(5):
        factories.account(feed)
    broker.behaviour = broker.accept_without_reply
    factories.signal(feed)
    trade(trading)
    assert open_hosts() == frozenset()
    trading.health.write()
    assert open_hosts() == {KIND}
    other = TradingRuntime("another process")
    other.renew()
    assert other.hosts_down == {KIND}
    run("DELETE FROM execution_workerlease WHERE id = %s", (other.id,))


def test_answer_of_the_broker_closes_the_circuit(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime
) -> None:
    position = factories.filled(factories.signal(feed))
    away(trading)
    run("UPDATE connections_hostcircuit SET opened_at = opened_at - interval '1 minute'")
    [exit_id] = close_position(position.pk)
    execute([exit_id])
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    assert isinstance(trading.health, HealthRecorder)
    trading.health.write()
    assert open_hosts() == frozenset()


def test_our_own_failure_does_not_close_the_circuit(
    alice: ExecutionConnection, trading: TradingRuntime
) -> None:
    away(trading)
    run("UPDATE connections_hostcircuit SET opened_at = opened_at - interval '1 minute'")
    failed = OrderReport(ReportKind.UNKNOWN, str(alice.pk), "", code=Code.UNEXPECTED)
    trading.health.record([failed])
    trading.health.write()
    assert open_hosts() == {KIND}


def test_order_cancelled_while_deferred_keeps_its_reason(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    order = Order.objects.get()

    def cancelled_meanwhile(_: Sequence[Any]) -> dict[str, Deferred]:
        cancel_order(order.pk)
        return {str(alice.pk): Deferred(Code.BROKER_HOST_DOWN)}

    claim([order.pk], worker_id="a process", deferral_policy=cancelled_meanwhile)
    order.refresh_from_db()
    assert (order.status, order.reason) == ("CANCELLED", "OWNER_CANCELLED")
    assert ("BROKER_HOST_DOWN", "PENDING") not in factories.log_codes(order.pk)
