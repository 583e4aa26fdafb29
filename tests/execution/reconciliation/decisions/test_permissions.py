"""Decisions on drift: ignoring, permissions, and applicable actions."""

from decimal import Decimal as D

import pytest

from brokers.types import (
    CloseCause,
)
from common.errors import FillcastError, InvalidInputError, NotAllowedError
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.reconcile import reconcile
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.reconciliation.decisions.actions import drift_item, foreign_position
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


def test_ignored_item_stays_ignored_until_it_changes(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    broker.fills_horizon = None
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    item = drift_item("QUANTITY_DIFFERS")
    with pytest.raises(InvalidInputError):
        drift_decisions.ignore(item.pk, by=owner, reason=" ")
    drift_decisions.ignore(item.pk, by=owner, reason="My own hedge.")
    reconcile()
    item.refresh_from_db()
    assert (item.state, item.decided_by) == ("IGNORED", owner)
    assert "My own hedge." in item.resolution
    assert len(factories.events("drift.found")) == 1
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(10))
    reconcile()
    item.refresh_from_db()
    assert (item.state, item.decision, len(factories.events("drift.found"))) == ("OPEN", "", 2)
    broker.tickets[0].held = D(100)
    reconcile()
    item.refresh_from_db()
    assert item.state == "RESOLVED"


def test_only_the_owner_or_an_operator_decides(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    foreign_position(broker)
    item = drift_item("UNKNOWN_POSITION")
    with pytest.raises(NotAllowedError):
        drift_decisions.adopt(item.pk, by=make.user())
    assert Signal.objects.count() == 1
    drift_decisions.adopt(item.pk, by=make.user(is_staff=True))


def test_inapplicable_action_is_refused_with_its_code(moved: ExecutionPosition) -> None:
    with pytest.raises(FillcastError) as refused:
        drift_decisions.close(drift_item("LEVELS_DIFFER").pk, by=None)
    assert refused.value.code == "DRIFT_ACTION_NOT_APPLICABLE"
