"""A broker numbers its positions again: what carries an entry's id is that entry's position."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import BrokerPosition, CloseCause, Side
from common.reason_codes import Code
from execution.models import ExecutionLog, Fill
from execution.monitoring import broker_positions
from execution.monitoring.broker_positions import OurPosition, broker_quantity_of
from execution.reconciliation.reconcile import reconcile
from positions.models import ExecutionPosition
from tests.execution import factories
from tests.execution.factories import drift_items
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.usefixtures("inline_commits", "runtime")]


def renumber(broker: FakeBroker, new: str) -> None:
    """All tickets have other numbers, as after a move to another server."""
    broker.tickets[0].number = new


def test_renumbered_position_is_linked_again_and_not_missing(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    renumber(broker, "t9001")
    for _ in range(3):
        reconcile()
        factories.pass_time(6)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (100, "")
    assert position.broker_position_id == "t9001"
    assert drift_items() == []
    assert not Fill.objects.filter(order__leg__startswith="external").exists()
    assert ExecutionLog.objects.filter(code=Code.POSITION_RELINKED).count() == 1


def test_position_with_another_id_or_side_is_still_missing(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    renumber(broker, "t9001")
    ticket = broker.tickets[0]
    ticket.request = replace(ticket.request, client_order_id="fcxsomebodyelse00")
    reconcile()
    factories.pass_time(6)
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")


@pytest.mark.parametrize("is_split", [True, False])
def test_position_whose_id_is_carried_otherwise_is_not_missing(
    position: ExecutionPosition, broker: FakeBroker, *, is_split: bool
) -> None:
    """The new server has it in two parts, or under another name of its symbol: that is shown, and
    nothing is booked as closed."""
    renumber(broker, "t9001")
    ticket = broker.tickets[0]
    if is_split:
        ticket.held = D(60)
        broker.tickets.append(replace(ticket, number="t9002", held=D(40)))
    else:
        ticket.request = replace(ticket.request, symbol="EURUSD.x")
    for _ in range(3):
        reconcile()
        factories.pass_time(6)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (100, "")
    assert {kind for kind, _ in drift_items()} == {"UNKNOWN_POSITION"}

    broker.tickets.clear()
    for _ in range(2):
        reconcile()
        factories.pass_time(6)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")


def test_second_ticket_of_an_entry_does_not_hide_that_the_first_was_closed(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    """The broker has executed the entry twice, and the owner closes what is ours."""
    twin = replace(broker.tickets[0], number="t9002")
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    broker.tickets.append(twin)
    broker.fills_horizon = None
    reconcile()
    position.refresh_from_db()
    assert position.quantity == 100, "which of them it is, only the executions can show"


def test_read_for_an_exit_finds_the_renumbered_position(position: ExecutionPosition) -> None:
    ours = OurPosition(
        position.pk, position.connection_id, "EURUSD", "BUY", D(100), "t1", "fcx00000000000010"
    )
    theirs = BrokerPosition(
        "t9001", "EURUSD", Side.BUY, D(100), D("1.1"), client_order_id="fcx00000000000010"
    )
    found = broker_quantity_of(ours, [ours], [theirs], {})
    assert found == broker_positions.BrokerQuantity(D(100), "t9001", is_shared=False)
    other = ours._replace(id=ours.id + 1, broker_position_id="t9001")
    assert broker_quantity_of(ours, [ours, other], [theirs], {}).quantity == 0
