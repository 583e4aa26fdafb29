"""Decisions on drift: different quantities and levels."""

from decimal import Decimal as D

import pytest

from brokers.types import (
    CloseCause,
)
from execution import services
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.decisions import actions_of
from positions.models import ExecutionPosition
from tests.execution.fake_broker import FakeBroker
from tests.execution.reconciliation.decisions.actions import assert_settled, drift_item, send_exits
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


def test_smaller_quantity_is_adopted(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    broker.fills_horizon = None
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    item = drift_item("QUANTITY_DIFFERS")
    assert list(actions_of(item)) == ["ADOPT", "IGNORE"]
    drift_decisions.adopt(item.pk, by=owner)
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (70, 0)
    assert_settled(broker)


@pytest.mark.parametrize("decision", ["adopt", "close"])
def test_larger_quantity_becomes_a_separate_trade_or_is_closed(
    position: ExecutionPosition, broker: FakeBroker, owner: User, decision: str
) -> None:
    broker.fills_horizon = None
    broker.tickets[0].held = D(160)
    item = drift_item("QUANTITY_DIFFERS")
    getattr(drift_decisions, decision)(item.pk, by=owner)
    send_exits(broker)
    position.refresh_from_db()
    assert position.quantity == 100
    assert broker.tickets[0].held == (160 if decision == "adopt" else 100)
    assert_settled(broker)


def test_moved_levels_are_adopted(moved: ExecutionPosition, broker: FakeBroker) -> None:
    drift_decisions.adopt(drift_item("LEVELS_DIFFER").pk, by=None)
    moved.refresh_from_db()
    assert (moved.sl, moved.broker_sl, moved.sl_guardian) == (D("1.085"), D("1.085"), "BROKER")
    assert_settled(broker)


def test_moved_levels_are_restored(moved: ExecutionPosition, broker: FakeBroker) -> None:
    assert drift_decisions.relink(drift_item("LEVELS_DIFFER").pk, by=None).has_pending_actions
    services.process_pending_actions()
    moved.refresh_from_db()
    assert (moved.sl, moved.broker_sl) == (D("1.09"), D("1.09"))
    assert broker.tickets[0].request.stop_loss == D("1.09")
    assert_settled(broker)
