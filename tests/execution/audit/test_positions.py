"""The audit: orphans, ghosts, reversed and naked positions."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from brokers.journal import Journal
from brokers.messages import CloseCause
from common.clocks import market_now
from common.sql import run
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.models import DriftItem, Order
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.execution import cast
from tests.execution.audit.hands import entry, wrong
from tests.execution.book import Ticket
from tests.execution.double import Double

pytestmark = pytest.mark.django_db


def test_orphan(signal: Signal, broker: Double) -> None:
    request = broker.tickets[0].request
    broker.receive(replace(request, client_order_id="devx00000000000000"))
    assert wrong() == {"ORPHAN": 1}
    assert wrong(signal.pk) == {}


def held_by_nobody(broker: Double, client_order_id: str) -> Ticket:
    """A position at the broker of which we have no row."""
    ticket = broker.receive(replace(broker.tickets[0].request, client_order_id=client_order_id))
    broker.execute(ticket)
    return ticket


def test_orphan_position(signal: Signal, broker: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker keeps the position and not the order (any more)."""
    lost = held_by_nobody(broker, "devx0000000000000")
    held_by_nobody(broker, "byhand")  # its owner's own
    monkeypatch.setattr(broker, "journal", without_orders(broker))
    assert wrong() == {"ORPHAN": 1}
    assert audit().examples["ORPHAN"] == [
        f"position {lost.number} on connection {lost.request.connection_id}"
    ]
    assert wrong(signal.pk) == {}


def test_a_position_that_we_call_closed_is_an_orphan_once_nothing_moves(
    signal: Signal, broker: Double, alice: ExecutionConnection
) -> None:
    positions = ExecutionPosition.objects.filter(connection=alice)
    run("UPDATE execution_fill SET quantity = 0.01")  # another counter; only ORPHAN is of interest
    positions.update(quantity=0)
    Order.objects.filter(connection=alice).update(done_at=None)
    positions.update(touched_at=market_now() - timedelta(minutes=1))
    assert "ORPHAN" not in wrong()  # its entry is under way
    an_hour_ago = market_now() - timedelta(hours=1)
    Order.objects.filter(connection=alice).update(done_at=an_hour_ago)
    assert wrong()["ORPHAN"] == 1
    positions.update(touched_at=market_now() + timedelta(minutes=1))
    assert "ORPHAN" not in wrong()  # it has just moved


def without_orders(broker: Double) -> Callable[[str], Awaitable[Journal]]:
    async def journal(tag: str) -> Journal:
        return replace(await Double.journal(broker, tag), accepted=())

    return journal


@pytest.mark.parametrize("kind", ["UNKNOWN_ORDER", "FORGOTTEN_ORDER"])
def test_an_orphan_that_somebody_has_decided_is_none(
    kind: str, signal: Signal, broker: Double, alice: ExecutionConnection
) -> None:
    request = replace(broker.tickets[0].request, client_order_id="devx00000000000000")
    broker.receive(request)
    item = DriftItem.objects.create(
        kind=kind, connection_id=request.connection_id, key=request.client_order_id
    )
    assert wrong() == {"ORPHAN": 1}  # told, and nobody has decided
    DriftItem.objects.filter(pk=item.pk).update(state="IGNORED", decision="IGNORE")
    assert wrong() == {}


def test_ghost(signal: Signal, broker: Double) -> None:
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, broker.tickets[0].held)
    assert wrong() == {"GHOST": 1}


def test_a_position_that_is_being_closed_or_has_just_moved_is_no_ghost(
    signal: Signal, broker: Double, alice: ExecutionConnection
) -> None:
    (lot,) = (t for t in broker.tickets if t.request.connection_id == str(alice.pk))
    broker.exit_by_itself(lot, CloseCause.EXTERNAL, lot.held)
    positions = ExecutionPosition.objects.filter(connection=alice)
    close_position(positions.get().pk)
    cast.claim_all()
    assert wrong() == {}
    Order.objects.exits().delete()
    assert wrong() == {"GHOST": 1}
    positions.update(touched_at=market_now() + timedelta(minutes=1))
    assert wrong() == {}


def test_reversed_by_our_own_fills(signal: Signal, alice: ExecutionConnection) -> None:
    position = ExecutionPosition.objects.get(connection=alice)
    run(
        "UPDATE execution_order SET position_id = %s, leg = 'close-1' WHERE id = %s",
        (position.pk, entry(alice).pk),
    )
    assert wrong()["REVERSED"] == 1


def test_reversed_at_the_broker(signal: Signal, broker: Double) -> None:
    lot = broker.tickets[0]
    lot.request = replace(lot.request, side=lot.request.side.opposite)
    assert wrong() == {"REVERSED": 1}


def test_naked(signal: Signal, alice: ExecutionConnection) -> None:
    positions = ExecutionPosition.objects.filter(connection=alice)
    positions.update(sl_guardian="")
    assert wrong() == {}
    cast.pass_time(6)
    assert wrong() == {"NAKED": 1}
    positions.update(sl_guardian="BROKER")
    assert wrong() == {"NAKED": 1}
    positions.update(sl_guardian="BROKER", broker_sl=1)
    assert wrong() == {}
