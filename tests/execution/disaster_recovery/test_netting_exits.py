"""Exits deferred by a restore on netting accounts: sent only if they certainly were not before."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.test import TestCase
from django.utils import timezone

from brokers.types import CloseCause, ExitSafety
from common.db.sql import run
from connections.models import Epoch, ExecutionConnection
from execution.disaster_recovery import netting_exits
from execution.disaster_recovery.epochs import open_epoch, process_open_epoch
from execution.models import DriftItem, Fill, Order
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket
from tests.execution.netting_model import NettingModel

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    broker.nets = NettingModel(ExitSafety.REDUCE_ONLY, netting=True)
    return factories.account(feed, snapshot_position_mode="NETTING")


@pytest.fixture
def position(account: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    """A position of 100 with a waiting exit."""
    found = factories.filled(factories.signal(feed))
    close_position(found.pk)
    return found


def restored_and_compared() -> None:
    """Brokers show no books: orders they accepted and we forgot are not reported."""
    now = timezone.now()
    epoch = open_epoch(Epoch.Cause.COMMAND)
    Epoch.objects.filter(pk=epoch.pk).update(answer_by=timezone.now(), books_read_at=now)
    factories.pass_time(1)
    reconcile()


def exit_() -> tuple[str, str]:
    order = factories.order(leg="close-1")
    return order.status, order.reason


HELD = ("FAILED", "RESTORED_EXIT")


def test_exit_is_sent_when_all_executions_of_the_broker_are_known(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    restored_and_compared()
    assert process_open_epoch() == [factories.order(leg="close-1").pk]
    assert exit_() == ("PENDING", "RESTORE_CLEARED")
    assert process_open_epoch() == []


def test_commission_that_is_missing_here_holds_no_exit(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    fills = broker.tickets[0].fills
    fills += [replace(fills[0], commission=D("1.25"), is_commission_only=True)]
    restored_and_compared()
    run("UPDATE execution_fill SET commission = 0")
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert process_open_epoch() == [factories.order(leg="close-1").pk]
    assert Fill.objects.get().commission == D("1.25")


@pytest.mark.parametrize(("revision", "is_released"), [(0, True), (2, False)])
def test_execution_of_no_quantity_holds_an_exit_only_as_a_correction(
    position: ExecutionPosition, broker: FakeBroker, revision: int, is_released: bool
) -> None:
    fills = broker.tickets[0].fills
    restored_and_compared()
    nothing = replace(fills[0], broker_fill_id="nothing", quantity=D(0), revision=revision)
    fills.append(nothing)
    expected = [factories.order(leg="close-1").pk] if is_released else []
    assert process_open_epoch() == expected


def test_matching_net_quantity_alone_does_not_release_an_exit(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    assert broker.nets
    request = broker.tickets[0].request
    tag = request.client_order_id[:3]
    forgotten = replace(request, client_order_id=f"{tag}abcdefghijklmn0")
    broker.execute(broker.receive(forgotten))
    twin = replace(
        request, client_order_id=f"{tag}abcdefghijklmo0", side=request.side.opposite,
        reduce_only=True, closes=request.client_order_id,
    )  # fmt: skip
    broker.execute(broker.receive(twin))
    assert list(broker.nets.held.values()) == [D(100)]
    restored_and_compared()
    assert not DriftItem.objects.exists()  # both sides hold 100
    assert process_open_epoch() == []
    assert exit_() == HELD
    kinds = DriftItem.objects.values_list("kind", "state")
    assert list(kinds) == [("UNKNOWN_ORDER", "OPEN")] * 2
    netting_exits._queried_at.clear()
    reconcile()
    assert (process_open_epoch(), exit_()) == ([], HELD)


def test_later_trade_of_the_owner_leaves_the_exit_to_a_person(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    by_hand = replace(broker.tickets[0].request, client_order_id="")
    lot = broker.receive(by_hand)
    broker.execute(lot)
    broker.close_at_broker(lot, CloseCause.EXTERNAL, D(100))
    restored_and_compared()
    assert (process_open_epoch(), exit_()) == ([], HELD)


def test_later_exit_at_the_broker_may_be_the_same_exit(
    account: ExecutionConnection, broker: FakeBroker, feed: Feed
) -> None:
    first, _ = factories.filled(factories.signal(feed)), factories.filled(factories.signal(feed))
    close_position(first.pk)
    broker.close_at_broker(broker.tickets[-1], CloseCause.EXTERNAL, D(100))
    restored_and_compared()
    factories.pass_time(1)
    reconcile()
    assert ExecutionPosition.objects.filter(quantity=0).count() == 1
    assert not DriftItem.objects.filter(state="OPEN").exists()
    assert (process_open_epoch(), exit_()) == ([], HELD)


def rests_without_an_id(broker: FakeBroker, **fields: object) -> Ticket:
    """An order at a broker that keeps no ids of ours: it looks like the owner's own."""
    request = broker.tickets[0].request
    mine = replace(
        request, client_order_id="", side=request.side.opposite, reduce_only=True,
        closes=request.client_order_id,
    )  # fmt: skip
    return broker.receive(replace(mine, **fields))  # type: ignore[arg-type]


def test_working_order_without_an_id_may_be_the_same_exit(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    twin = rests_without_an_id(broker)
    restored_and_compared()
    assert DriftItem.objects.values_list("kind", "state").get() == ("FOREIGN_ORDER", "NOTED")
    assert (process_open_epoch(), exit_()) == ([], HELD)
    broker.end(twin, "CANCELLED")
    factories.pass_time(1)
    reconcile()
    netting_exits._queried_at.clear()
    assert process_open_epoch() == [factories.order(leg="close-1").pk]


def test_working_order_in_another_symbol_is_not_the_same_exit(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    rests_without_an_id(broker, symbol="GBPUSD", reduce_only=False)
    restored_and_compared()
    assert DriftItem.objects.get().kind == "FOREIGN_ORDER"
    assert process_open_epoch() == [factories.order(leg="close-1").pk]


def test_broker_without_execution_history_leaves_the_exit_to_a_person(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.fills_horizon = None
    restored_and_compared()
    assert (process_open_epoch(), exit_()) == ([], HELD)


def test_history_that_does_not_reach_its_entry_releases_nothing(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.tickets[0].fills.clear()
    restored_and_compared()
    assert (process_open_epoch(), exit_()) == ([], HELD)


def test_broker_is_not_queried_each_second(position: ExecutionPosition, broker: FakeBroker) -> None:
    broker.fills_horizon = timedelta(days=1)
    fills = list(broker.tickets[0].fills)
    broker.tickets[0].fills.clear()
    restored_and_compared()
    assert process_open_epoch() == []
    broker.tickets[0].fills = fills
    assert process_open_epoch() == []
    netting_exits._queried_at.clear()
    assert process_open_epoch() == [factories.order(leg="close-1").pk]


def test_no_exit_is_sent_before_reconciliation(position: ExecutionPosition) -> None:
    epoch = open_epoch(Epoch.Cause.COMMAND)
    Epoch.objects.filter(pk=epoch.pk).update(answer_by=timezone.now())
    assert (process_open_epoch(), exit_()) == ([], HELD)
    assert Order.objects.count() == 2
