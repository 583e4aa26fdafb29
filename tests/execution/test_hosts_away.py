"""What a host's open circuit does to orders: entries wait, exits go, nothing is sent late."""

from collections.abc import Sequence
from typing import Any

import pytest

from brokers.messages import OrderReport, ReportKind
from common.clocks import market_now
from common.codes import Code
from common.sql import run
from connections.host_circuits import open_hosts
from connections.models import ExecutionConnection, HostCircuit
from execution.calls.health import Health
from execution.calls.runtime import Runtime
from execution.intents.claim import claim
from execution.intents.decisions import Later
from execution.models import Order
from execution.services import cancel_order, close_position, execute
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import KIND, Double

pytestmark = pytest.mark.django_db(transaction=True)


def away(present: Runtime) -> None:
    HostCircuit.objects.create(host=KIND, opened_at=market_now(), probe_at=market_now(), times=1)
    present.renew()


def trade(present: Runtime) -> None:
    execute(cast.pending())
    assert present.wire.wait_idle(10)
    assert present.flusher.drain(10)


def test_an_entry_waits_for_its_host_and_says_so(
    alice: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    away(trading)
    cast.signal(feed)
    trade(trading)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "HOST_AWAY")
    cast.pass_time(4)
    trade(trading)
    assert cast.log_codes(order.pk).count(("HOST_AWAY", "PENDING")) == 1
    HostCircuit.objects.update(opened_at=None)
    trading.renew()
    cast.pass_time(4)
    trade(trading)
    order.refresh_from_db()
    assert (order.status, len(broker.accepted())) == ("FILLED", 1)


def test_an_entry_that_gets_too_old_meanwhile_is_not_sent(
    alice: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    away(trading)
    cast.signal(feed)
    trade(trading)
    cast.pass_time(601)
    trade(trading)
    order = Order.objects.get()
    assert (order.status, order.reason, broker.accepted()) == ("DENIED", "HOST_AWAY", [])


def test_exits_go_and_so_do_the_entries_of_other_hosts(
    alice: ExecutionConnection, feed: Feed, trading: Runtime
) -> None:
    position = cast.filled(cast.signal(feed))
    elsewhere = cast.account(feed, exchange_name="elsewhere")
    away(trading)
    cast.signal(feed)
    exit_id = close_position(position.pk)
    assert exit_id is not None
    trade(trading)
    assert Order.objects.get(pk=exit_id).status == "FILLED"
    assert Order.objects.get(connection=elsewhere).status == "FILLED"
    assert Order.objects.get(connection=alice, status="PENDING").reason == "HOST_AWAY"


def test_lost_answers_of_most_accounts_open_the_circuit_and_every_process_knows(
    feed: Feed, trading: Runtime, broker: Double
) -> None:
    for _ in range(5):
        cast.account(feed)
    broker.behaviour = broker.take_and_fall_silent
    cast.signal(feed)
    trade(trading)
    assert open_hosts() == frozenset()
    trading.health.write()
    assert open_hosts() == {KIND}
    other = Runtime("another process")
    other.renew()
    assert other.hosts_away == {KIND}
    run("DELETE FROM execution_workerlease WHERE id = %s", (other.id,))


def test_what_a_broker_answers_closes_it(
    alice: ExecutionConnection, feed: Feed, trading: Runtime
) -> None:
    position = cast.filled(cast.signal(feed))
    away(trading)
    run("UPDATE connections_hostcircuit SET opened_at = opened_at - interval '1 minute'")
    exit_id = close_position(position.pk)
    assert exit_id is not None
    execute([exit_id])
    assert trading.wire.wait_idle(10)
    assert trading.flusher.drain(10)
    assert isinstance(trading.health, Health)
    trading.health.write()
    assert open_hosts() == frozenset()


def test_our_own_failure_is_no_answer_of_the_host(
    alice: ExecutionConnection, trading: Runtime
) -> None:
    away(trading)
    run("UPDATE connections_hostcircuit SET opened_at = opened_at - interval '1 minute'")
    failed = OrderReport(ReportKind.UNKNOWN, str(alice.pk), "", code=Code.UNEXPECTED)
    trading.health.note([failed])
    trading.health.write()
    assert open_hosts() == {KIND}


def test_what_was_cancelled_while_it_was_put_off_keeps_its_reason(
    alice: ExecutionConnection, feed: Feed
) -> None:
    cast.signal(feed)
    order = Order.objects.get()

    def cancelled_meanwhile(_: Sequence[Any]) -> dict[str, Later]:
        cancel_order(order.pk)
        return {str(alice.pk): Later(Code.HOST_AWAY)}

    claim([order.pk], owner="a process", held_back=cancelled_meanwhile)
    order.refresh_from_db()
    assert (order.status, order.reason) == ("CANCELLED", "OWNER_CANCELLED")
    assert ("HOST_AWAY", "PENDING") not in cast.log_codes(order.pk)
