"""Fairness: an account that waits or sends invalid data delays only itself."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import (
    BrokerOrder,
    BrokerPosition,
    ConnectionSpec,
    HeldLevels,
    OrderType,
    Side,
)
from common.clocks import market_now
from common.db.sql import run
from connections.models import ConnectionHealth, ExecutionConnection, HostCircuit
from execution import services
from execution.models import DriftItem, Order
from execution.monitoring import pending_actions
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND, FakeBroker

pytestmark = pytest.mark.usefixtures("inline_commits")


def accounts(feed: Feed, count: int) -> None:
    for _ in range(count):
        factories.account(feed)


def asked(broker: FakeBroker, name: str) -> Sequence[str]:
    return sorted({about for called, about in broker.calls if called == name})


@pytest.fixture
def unknown(feed: Feed, runtime: trading_runtime.TradingRuntime, broker: FakeBroker) -> list[Order]:
    """Six unknown orders; the broker of all but the last does not answer."""
    accounts(feed, 6)
    factories.signal(feed)
    factories.live_lease()
    *_, last = factories.claim_all()
    broker.rest(last.request)
    broker.reads_fail = True
    factories.pass_time(10)
    assert sweeps.mark_orphaned_unknown("another") == 6
    return list(Order.objects.order_by("id"))


@pytest.mark.django_db(transaction=True)
def test_entries_that_wait_for_their_host_do_not_hide_a_lost_message(
    feed: Feed, trading: trading_runtime.TradingRuntime
) -> None:
    accounts(feed, 6)
    HostCircuit.objects.create(host=KIND, opened_at=market_now(), probe_at=market_now(), times=1)
    trading.renew()
    well = factories.account(feed, exchange_name="elsewhere")  # the last in the order of ids
    factories.signal(feed)
    for _ in range(2):
        factories.pass_time(5)  # deferred orders are due again
        services.process_due_orders(5)
        assert trading.dispatcher.wait_idle(60)
        assert trading.report_writer.drain(60)
    assert Order.objects.get(connection=well).status == "FILLED"
    assert Order.objects.filter(status="PENDING", reason="BROKER_HOST_DOWN").count() == 6


def test_orders_of_a_silent_broker_do_not_delay_look_ups_of_others(
    unknown: list[Order],
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        sweeps, "CLAIM_LOOKUPS", sweeps.CLAIM_LOOKUPS.replace("LIMIT 1000", "LIMIT 3")
    )
    for _ in range(2):
        sweeps.query_unknown_orders(runtime.dispatcher)
        run("UPDATE execution_order SET lookup_after = lookup_after - interval '10 seconds'")
    assert asked(broker, "find_order") == sorted(str(one.client_order_id) for one in unknown)


def test_waiting_pending_actions_do_not_delay_others(
    unknown: list[Order], broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pending_actions, "LOCK", pending_actions.LOCK.replace("LIMIT 1000", "LIMIT 3")
    )
    resting = unknown[-1]
    Order.objects.filter(pk=resting.pk).update(status="SUBMITTED")
    for one in unknown:
        services.cancel_order(one.pk)
    for _ in range(2):
        process_pending_actions()
        run("UPDATE execution_order SET due_at = due_at - interval '5 seconds'")
    assert asked(broker, "cancel") == [resting.client_order_id]


# ---- reconciliation ----------------------------------------------------------------------------
@pytest.fixture
def both(feed: Feed, runtime: trading_runtime.TradingRuntime) -> list[ExecutionConnection]:
    """Two accounts with a position each that wait for their first reconciliation."""
    found = [factories.account(feed), factories.account(feed)]
    factories.signal(feed)
    factories.fill_all()
    factories.pass_time(1)
    ConnectionHealth.objects.update(reconciled_at=None)
    return found


def compared() -> list[ExecutionConnection]:
    return list(ExecutionConnection.objects.filter(health__reconciled_at__isnull=False))


def test_invalid_level_affects_only_its_own_account(
    both: list[ExecutionConnection], broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("UPDATE positions_executionposition SET broker_sl = sl, sl_guardian = 'BROKER'")
    real = broker.positions

    async def positions(spec: ConnectionSpec) -> list[BrokerPosition]:
        level = D("NaN") if spec.connection_id == str(both[0].pk) else D("1.09")
        return [replace(one, levels=HeldLevels(level, None)) for one in await real(spec)]

    monkeypatch.setattr(broker, "positions", positions)
    reconcile()
    assert compared() == [both[1]]


def test_unwritable_result_affects_only_its_own_account(
    both: list[ExecutionConnection], broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant can place orders with any comment by hand."""
    usual = {"symbol": "EURUSD", "side": Side.BUY, "order_type": OrderType.LIMIT}

    async def open_orders(spec: ConnectionSpec) -> list[BrokerOrder]:
        comment = "by\0hand" if spec.connection_id == str(both[0].pk) else "by hand"
        return [BrokerOrder("1", quantity=D(1), client_order_id=comment, **usual)]  # type: ignore[arg-type]

    monkeypatch.setattr(broker, "open_orders", open_orders)
    reconcile()
    assert compared() == [both[1]]
    assert DriftItem.objects.get().connection == both[1]
