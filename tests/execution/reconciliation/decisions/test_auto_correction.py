"""Drift that a connection may correct automatically, and drift that it never does."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import (
    CloseCause,
)
from execution import services
from execution.models import DriftItem, ExecutionLog
from execution.reconciliation.reconcile import reconcile
from positions.models import ExecutionPosition
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.reconciliation.decisions.actions import (
    allow_auto_correction,
    assert_settled,
    foreign_position,
)

pytestmark = pytest.mark.usefixtures("inline_commits")


def test_nothing_is_corrected_unless_enabled(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.fills_horizon = None
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    for _ in range(3):
        reconcile()
        factories.pass_time(6)
        DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    position.refresh_from_db()
    assert position.quantity == 100


def test_smaller_quantity_is_corrected_when_seen_twice(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    allow_auto_correction()
    broker.fills_horizon = None
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    reconcile()
    reconcile()
    position.refresh_from_db()
    assert position.quantity == 100  # seen again too soon
    DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, DriftItem.objects.get().state) == (70, "RESOLVED")
    assert ExecutionLog.objects.filter(code="DRIFT_CORRECTED").count() == 1
    assert_settled(broker)


def test_quantity_that_changes_again_must_be_seen_twice_as_it_is(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    allow_auto_correction()
    broker.fills_horizon = None
    shown = []
    for closed in (30, 30, 0):
        if closed:
            broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(closed))
        reconcile()
        position.refresh_from_db()
        shown.append(position.quantity)
        DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    assert shown == [100, 100, 40]
    assert_settled(broker)


@pytest.mark.parametrize("there", [D("1.085"), None])
def test_levels_are_corrected_and_none_is_lost(
    moved: ExecutionPosition, broker: FakeBroker, there: D | None
) -> None:
    """Levels that the owner moved are adopted; missing ones are restored."""
    allow_auto_correction()
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=there)
    reconcile()
    DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    reconcile()
    services.process_pending_actions()
    moved.refresh_from_db()
    assert moved.sl == (there or D("1.09"))
    assert broker.tickets[0].request.stop_loss == moved.sl
    assert_settled(broker)


def test_unknown_positions_and_larger_quantities_are_never_auto_corrected(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    allow_auto_correction()
    broker.fills_horizon = None
    foreign_position(broker)
    broker.tickets[0].held = D(160)
    for _ in range(3):
        reconcile()
        DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    assert ExecutionPosition.objects.get().quantity == 100
    assert DriftItem.objects.filter(state="OPEN").count() == 2
